"""A sweep over given checkpoints, by another recipe, aligned, elsewhere; and what belongs to its identity."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.cli.main import build_parser
from weightstring.errors import InvalidCheckpoint, InvalidRun, InvalidSetting
from weightstring.report.sweep.command import repeating
from weightstring.store.records import TaskRef
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import variants
from weightstring.symmetry.copies import permuted_copy

from . import lines

line = partial(lines.line, nn.Tanh)


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return line()


@pytest.fixture(scope="module")
def models(problem: ws.ModuleProblem) -> list[torch.Tensor]:
    """Two low ones, one high, two low ones again."""
    low = [problem.fit(seed, until=0.04) for seed in range(4)]
    return [*low[:2], problem.initial(9), *low[2:]]


@pytest.mark.slow
def test_pairs_are_of_the_checkpoints_that_reach_a_threshold_in_their_order(problem, models, tmp_path):
    found = ws.sweep(problem, [0.05, 9.0], checkpoints=models[:4], store=tmp_path)
    assert [(row.threshold, row.seed_a, row.seed_b) for row in found.rows] == [(9.0, 0, 1), (9.0, 2, 3), (0.05, 0, 1)]
    assert found.failed[("all", 0.05)] == (2,)
    assert found.plan.ends == "given"
    for row in found.rows:
        beads = ws.load(tmp_path / row.run, problem).string.beads
        assert torch.equal(beads[0], models[row.seed_a])
        assert torch.equal(beads[-1], models[row.seed_b])
    more = ws.sweep(problem, [0.05], checkpoints=models, store=tmp_path)  # further ones come after those known
    new = [(row.threshold, row.seed_a, row.seed_b) for row in more.rows]
    assert new == [(9.0, 0, 1), (9.0, 2, 3), (0.05, 0, 1), (0.05, 3, 4)]
    with pytest.raises(InvalidRun, match="all has another checkpoints there"):
        ws.sweep(problem, [0.05], checkpoints=models[::-1], store=tmp_path)
    with pytest.raises(InvalidRun, match="holds another sweep: ends is 'given' there"):
        ws.sweep(problem, [0.05], pairs=1, store=tmp_path)


@pytest.mark.slow
def test_another_recipe_searches_between_the_same_ends_and_is_another_sweep(problem, tmp_path):
    own = ws.sweep(problem, [0.05], pairs=1, store=tmp_path / "own")
    slow = ws.Recipe("sgd", {"lr": 0.05}, check_every=10, max_steps=600)
    other = ws.sweep(problem, [0.05], pairs=1, recipe=slow, store=tmp_path / "other")
    ends = [ws.load(tmp_path / name / "runs/all/0.05/pair-0000", problem).string for name in ("own", "other")]
    assert torch.equal(ends[0].beads[[0, -1]], ends[1].beads[[0, -1]])
    manifest = json.loads((tmp_path / "other/runs/all/0.05/pair-0000/manifest.json").read_text())
    assert manifest["strategy"]["recipe"]["optimizer"] == "sgd"
    assert own.rows[0].end_a == other.rows[0].end_a
    with pytest.raises(InvalidRun, match="all has another recipe there"):
        ws.sweep(problem, [0.05], pairs=1, store=tmp_path / "other")
    assert ws.sweep(problem, [0.05], pairs=1, recipe=slow, store=tmp_path / "other").rows == other.rows


@pytest.mark.slow
def test_an_aligned_pair_of_copies_is_one_model(problem, models, tmp_path):
    copy = permuted_copy(problem, models[0], seed=1)
    pair = [models[0], copy]
    plain = ws.sweep(problem, [0.05], checkpoints=pair)
    aligned = ws.sweep(problem, [0.05], checkpoints=pair, align=True, store=tmp_path)
    assert aligned.rows[0].distance < 1e-3 * plain.rows[0].distance
    assert aligned.rows[0].connected
    assert ws.load(tmp_path / aligned.rows[0].run).alignment is not None
    assert ws.sweep(problem, [0.05], checkpoints=pair, align=True, store=tmp_path).rows == aligned.rows
    with pytest.raises(InvalidRun, match="holds another sweep: align is True there, False here"):
        ws.sweep(problem, [0.05], checkpoints=pair, store=tmp_path)


def test_an_executor_runs_the_jobs(problem, models):
    with ThreadPoolExecutor(1) as pool:
        (row,) = ws.sweep(problem, [0.05], checkpoints=models[:2], executor=pool, stop=ws.MaxBeads(3)).rows
    (own,) = ws.sweep(problem, [0.05], checkpoints=models[:2], stop=ws.MaxBeads(3)).rows
    assert (row.outcome, row.beads) == (own.outcome, own.beads)
    assert row.largest == pytest.approx(own.largest, rel=1e-4)


def test_the_command_that_repeats_it_says_all_of_that(models, tmp_path):
    forms = variants(TaskRef(name="polynomial", options={}), {"width": ["4"]})
    own = {forms[0].name: line()}
    recipe = ws.Recipe("rmsprop", {"lr": 0.01, "momentum": 0.5}, clip=2.0)
    ws.sweep(own, [0.05], checkpoints=models[:2], recipe=recipe, align=True, store=tmp_path, variants=forms)
    (command,) = repeating(SweepDirectory(tmp_path).record())
    options = build_parser().parse_args(command.split()[1:])
    assert options.align is True
    assert options.checkpoints == ["MODELS"]
    assert (options.optimizer, options.optimizer_options) == ("rmsprop", [("lr", 0.01), ("momentum", 0.5)])
    assert (options.clip, options.descent_steps, options.warmup) == (2.0, 10_000, 0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"recipe": {"adam": None}}, "sweep.recipe=.*'adam' is none of the problems, which are .'all'."),
        ({"recipe": 3}, "sweep.recipe=3.: give a ws.Recipe, or several"),
        ({"recipe": {"all": 3}}, "sweep.recipe=3.: pass a ws.Recipe"),
        ({"recipe": ws.Recipe("sgd", {"lr": -1.0})}, "refuses its options"),
        ({"checkpoints": torch.ones(3)}, "checkpoints=tensor"),
        ({"checkpoints": {}}, "none for 'all'"),
        ({"checkpoints": []}, "needs two models or more"),
        ({"align": "both"}, "sweep.align='both'.: give True or False"),
        ({"ends": "given"}, "give the models, checkpoints="),
        ({"executor": 3, "pairs": 1}, "executor=3"),
    ],
)
def test_what_no_sweep_can_do_is_refused(problem, tmp_path, setting, said):
    with pytest.raises(InvalidSetting, match=said) as caught:
        ws.sweep(problem, [9.0], **setting)
    assert "\n" not in str(caught.value)


def test_a_model_of_another_problem_is_refused_by_its_number(problem, models):
    with pytest.raises(InvalidCheckpoint, match="sweep: checkpoint 1 of all has shape"):
        ws.sweep(problem, [0.05], checkpoints=[models[0], models[1][:-1]])


def test_a_sweep_begun_before_there_were_recipes_checkpoints_and_blocks_goes_on(problem, tmp_path, monkeypatch):
    before = ws.sweep(problem, [0.05], pairs=1, store=tmp_path)
    record = json.loads((tmp_path / "sweep.json").read_text())
    del record["align"], record["block"]
    for name in ("recipe", "checkpoints", "asked"):
        del record["variants"][0][name]
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    for path in (tmp_path / "ends" / "all" / "seeds-0000").iterdir():
        path.rename(tmp_path / "ends" / "all" / path.name)
    shutil.rmtree(tmp_path / "rows")
    for name in ("connect_all", "trivial_levels"):
        monkeypatch.setattr(f"weightstring.study.sweep.part.{name}", None)  # nothing is computed again
    monkeypatch.setattr(EndTrainer, "_train", None)
    assert ws.sweep(problem, [0.05], pairs=1, store=tmp_path).rows == before.rows
