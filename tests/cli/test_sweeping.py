"""``weightstring sweep`` and the page of what it keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from weightstring.cli.main import build_parser
from weightstring.study.sweep.plan import MAX_BEADS

SWEEP = ("sweep", "polynomial", "--set", "width=4")


@pytest.mark.slow
def test_command_line_and_page_draw_the_law_from_the_sweeps_seed(cli, tmp_path: Path) -> None:
    ran = cli(*SWEEP, "--thresholds", "0.1,0.05,0.02", "--pairs", 3, "--seed", 7, "--out", tmp_path / "s")
    assert ran.code == 0
    printed = re.search(r"with p = (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", ran.out)
    assert printed is not None
    cli("report", tmp_path / "s")
    page = (tmp_path / "s" / "report.html").read_text().replace("−", "-")
    shown = re.search(r"p(?:</i>)? = (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", page)
    assert shown is not None
    for one, other in zip(printed.groups(), shown.groups(), strict=True):
        assert float(one) == pytest.approx(float(other), abs=6e-4)


@pytest.mark.slow
def test_more_pairs_at_another_threshold_were_not_asked_for_at_the_first(cli, tmp_path: Path) -> None:
    cli(*SWEEP, "--thresholds", "0.1", "--pairs", 1, "--out", tmp_path / "s")
    ran = cli(*SWEEP, "--thresholds", "0.05", "--pairs", 2, "--out", tmp_path / "s")
    assert "only" not in ran.out


def test_another_limit_leaves_that_of_beads_as_it_was(cli, tmp_path: Path) -> None:
    cli(*SWEEP, "--thresholds", "0.2", "--pairs", 1, "--seconds", 600, "--out", tmp_path / "s")
    rules = json.loads((tmp_path / "s" / "sweep.json").read_text())["stop"]
    assert rules[0] == {"rule": "MaxBeads", "count": MAX_BEADS}
    commands = next(action for action in build_parser()._actions if action.dest == "command").choices
    assert f"beads on the string (default: {MAX_BEADS})" in " ".join(commands["sweep"].format_help().split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--over", "width=4", "--over", "width=8"), "--over width=... is given twice"),
        (("--over", "width="), "'width=' has no values"),
    ],
)
def test_forms_that_would_get_lost_are_refused(cli, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    ran = cli("sweep", "polynomial", "--thresholds", "0.1", *options, "--out", tmp_path / "s")
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_means_over_no_pairs_are_null_in_json(cli, tmp_path: Path) -> None:
    limits = ("--pairs", 1, "--max-beads", 2, "--json")
    ran = cli(*SWEEP, "--thresholds", "0.02", *limits, "--out", tmp_path / "s")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (summary,) = json.loads(ran.out, parse_constant=refuse)["summary"]
    assert summary["means"]["beads"] == [None, None, None]
    assert summary["unresolved"] == 1


@pytest.mark.slow
def test_a_sweep_without_a_pair_is_said_to_be_one(cli, tmp_path: Path) -> None:
    cli(*SWEEP, "--thresholds", "1e-9", "--tries", 1, "--pairs", 1, "--out", tmp_path / "s")
    for more in ((), ("--figures", tmp_path / "figures")):
        ran = cli("report", tmp_path / "s", *more)
        assert ran.code == 2
        assert re.search("no pair to show: 2 networks, and none reached its threshold", ran.err)
        assert len(ran.err.splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_was_resumed_by_itself_is_not_drawn_as_the_tables(cli, tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    cli(*SWEEP, "--thresholds", "0.02", "--pairs", 1, "--max-beads", 2, "--out", sweep)
    (own,) = sweep.glob("runs/*/*/pair-0000")
    cli("report", sweep)
    assert "Pair 0 at threshold 0.02, unresolved: the loss along its string" in (sweep / "report.html").read_text()
    ran = cli("resume", own, "--max-beads", 64)
    assert ran.code == 0
    assert ran.out.startswith("connected")
    cli("report", sweep)
    assert "the loss along its string" not in (sweep / "report.html").read_text()


@pytest.mark.slow
def test_checkpoints_a_recipe_alignment_and_workers_reach_the_sweep(cli, workshop, tmp_path):
    out = tmp_path / "sweep"
    words = ("sweep", workshop.task, "--thresholds", "0.051", "--checkpoints", workshop.a, workshop.b, "--out", out)
    done = cli(*words, "--align", "--lr", "0.01", "--max-beads", "3", "--workers", "1")
    assert done.code == 0, done.err
    assert max(len(line) for line in done.out.splitlines() if str(out) not in line) <= 80
    record = json.loads((out / "sweep.json").read_text())
    assert (record["pairs"], record["ends"], record["align"]) == (1, "given", True)
    assert record["variants"][0]["recipe"]["options"] == {"lr": 0.01}
    assert len(record["variants"][0]["checkpoints"]) == 2
    manifest = json.loads((out / "runs/all/0.051/pair-0000/manifest.json").read_text())
    assert manifest["strategy"]["recipe"]["check_every"] == 10  # the task's own
    other = cli(*words, "--align", "--max-beads", "3")
    assert other.code == 2
    assert "all has another recipe there" in other.err
    page = cli("report", out)
    assert page.code == 0, page.err
    assert "checkpoints that were given" in (out / "report.html").read_text()
