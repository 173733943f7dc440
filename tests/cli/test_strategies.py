"""Strategies and the estimate of Γ on the command line."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.cli.options.strategy import add_strategy, chosen_strategy
from weightstring.errors import InvalidSetting
from weightstring.search import STRATEGIES


@dataclass(frozen=True)
class Halving(ws.AsInThePaper):
    """A strategy from outside."""


@pytest.mark.slow
def test_a_constrained_run_is_shortened_and_resumed(cli, workshop, tmp_path):
    run = tmp_path / "run"
    arguments = ("connect", workshop.task, workshop.a, workshop.b, "--strategy", "constrained", "--shorten")
    cut = cli(*arguments, "--constraint", "spring:0.001+hyperplane", "--max-steps", "1", "--out", run, "--json")
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["strategy"]["name"] == "shortened"
    assert manifest["strategy"]["strategy"]["constraint"] == "spring:0.001+hyperplane"
    done = cli("resume", run, "--max-steps", "100000", "--json")
    assert cut.code in (0, 3)
    assert done.code in (0, 3)
    string = json.loads(done.out)["string"]
    if done.code == 0:
        assert string["length"] <= string["length_before"]


@pytest.mark.slow
def test_breadth_first_from_random_models(cli, workshop, tmp_path):
    run = tmp_path / "run"
    done = cli(
        "connect", workshop.task, "random:4", "random:5", "--strategy", "breadth-first", "--ends", "free",
        "--updates", "red-black", "--threshold", "0.2", "--out", run,
    )  # fmt: skip
    assert done.code in (0, 3), done.err
    rounds = json.loads((run / "result.json").read_text())["rounds"]
    assert all(r["level"] is not None and len(r["values"]) == r["beads"] for r in rounds)


@pytest.mark.slow
def test_the_papers_own_algorithm_and_what_is_kept_of_it(cli, workshop, tmp_path):
    run = tmp_path / "run"
    search = ("connect", workshop.task, workshop.a, workshop.b, "--strategy", "as-in-the-paper", "--alpha", "0.9")
    done = cli(*search, "--max-depth", "3", "--out", run)
    assert done.code in (0, 3), done.err
    assert json.loads((run / "manifest.json").read_text())["strategy"]["name"] == "as-in-the-paper"
    found = ws.load(run)
    assert found.unpruned is found.string
    told = json.loads(cli("show", run, "--json").out)
    assert tuple(told["by_depth"]) == found.by_depth
    assert told["string"]["beads"] == told["string"]["beads_before_pruning"] == len(found.string)
    assert f"{found.by_depth[0]:.4g}" in cli("show", run).out.partition("Γ̃ by depth")[2]
    assert "Γ̃ by depth" in (run / "report.html").read_text()
    assert cli("resume", run).code == done.code


@pytest.mark.slow
def test_minimax_says_what_is_known_of_gamma(cli, workshop, tmp_path):
    run = tmp_path / "run"
    done = cli("minimax", workshop.task, workshop.a, workshop.b, "--out", run)
    assert done.code == 0
    assert "Γ" in done.out
    assert "sampled" in done.out
    assert ws.load(run).threshold == max(end["loss"] for end in ws.load(run).ends)


def test_an_option_of_another_strategy_is_refused_in_one_line(refused, workshop):
    said = refused("connect", workshop.task, workshop.a, workshop.b, "--updates", "jacobi")
    assert "--updates is for --strategy breadth-first or sinking, not persistent: leave it out" in said
    said = refused(
        "connect", workshop.task, workshop.a, workshop.b, "--strategy", "constrained", "--constraint", "rope"
    )
    assert "constraint 'rope': choose free, hyperplane, spring:ZETA or soft:KAPPA" in said


def test_a_registered_strategy_is_chosen_by_name_with_the_options_that_it_has(monkeypatch):
    parser = argparse.ArgumentParser()
    add_strategy(parser)
    monkeypatch.setitem(STRATEGIES._entries, "halving", Halving)
    assert chosen_strategy(parser.parse_args(["--strategy", "halving", "--alpha", "0.7"])) == Halving(0.7)
    with pytest.raises(InvalidSetting, match=r"--bends is for --strategy bezier or .*, not halving"):
        chosen_strategy(parser.parse_args(["--strategy", "halving", "--bends", "2"]))


def test_what_stops_a_search_is_said_with_the_curvature_there(cli, workshop, tmp_path):
    done = cli(
        "connect", workshop.task, workshop.a, workshop.b, "--strategy", "constrained", "--max-depth", "0",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 3
    assert "at its maximum" in done.out
    assert "across the string" in done.out
    evidence = json.loads((tmp_path / "run" / "result.json").read_text())["outcome"]["evidence"]
    assert evidence["curvature"]["examples"] > 0


@pytest.mark.slow
def test_compare_puts_all_strategies_in_one_table(cli, workshop, tmp_path):
    line = ("compare", workshop.task, workshop.a, workshop.b, "--threshold", "0.2", "--out", tmp_path)
    done = cli(*line)
    assert done.code == 0, done.err
    for name in (
        "greedy",
        "as-in-the-paper",
        "hyperplane",
        "spring",
        "soft",
        "breadth-first",
        "bezier",
        "poly-chain",
        "autoneb",
    ):
        assert name in done.out
    assert max(len(line) for line in done.out.splitlines() if "report.html" not in line) <= 80
    rows = json.loads(cli(*line, "--json").out)
    assert len(rows) == 9
    assert all(row["length"] <= row["length_before"] * (1 + 1e-9) for row in rows)
    assert all(row["loss"] <= 0.2 for row in rows if row["verdict"] == "connected")


REGISTERED = """

from dataclasses import dataclass

from weightstring.search import STRATEGIES


@STRATEGIES.register("patient")
@dataclass(frozen=True)
class Patient(ws.Greedy):
    retries: int = 9
"""


@pytest.mark.slow
def test_a_strategy_that_the_tasks_file_registers_is_chosen_by_its_name(cli, refused, workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))
    task = tmp_path / "patient.py"
    task.write_text(Path(workshop.task.partition(":")[0]).read_text() + REGISTERED)
    search = ("connect", f"{task}:task", workshop.a, workshop.b, "--threshold", 0.051, "--strategy", "patient")
    assert "--updates is for --strategy" in refused(*search, "--updates", "jacobi")
    done = cli(*search, "--alpha", "0.9", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    strategy = json.loads((tmp_path / "run" / "manifest.json").read_text())["strategy"]
    assert (strategy["name"], strategy["retries"], strategy["alpha"]) == ("patient", 9, 0.9)
    assert "The recursion" in (tmp_path / "run" / "report.html").read_text()
    del STRATEGIES._entries["patient"]  # another process, which the task has not been named to
    assert cli("report", tmp_path / "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The search is not drawn step by step: its strategy &#39;patient&#39; is not registered here." in page
