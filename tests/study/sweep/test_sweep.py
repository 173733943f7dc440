"""A sweep: its rows are its runs, what is there is used again, and nothing is dropped."""

from __future__ import annotations

import csv
import json
import math
from functools import partial

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.path import WeightString
from weightstring.store.records import TaskRef
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.plan import Plan, variants
from weightstring.study.sweep.sampling import maximum_interval
from weightstring.study.sweep.summary import beads_law
from weightstring.study.sweep.table import COLUMNS, as_csv, read_table
from weightstring.study.sweep.trivial import trivial_levels

from . import lines

line = partial(lines.line, nn.ReLU)


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return line()


@pytest.fixture(scope="module")
def swept(problem, tmp_path_factory):
    store = tmp_path_factory.mktemp("sweeps") / "one"
    return store, ws.sweep(problem, [0.03, 0.1], pairs=3, store=store)


@pytest.mark.slow
def test_there_is_a_row_for_each_pair_and_threshold(swept):
    _, found = swept
    assert [(row.threshold, row.pair) for row in found.rows] == [(t, p) for t in (0.1, 0.03) for p in range(3)]
    assert all(row.outcome in ("connected", "unresolved") for row in found.rows)


@pytest.mark.slow
def test_rows_say_what_the_runs_say(swept, problem):
    store, found = swept
    for row in found.rows:
        result = ws.load(store / row.run, problem)
        assert row.connected == result.connected
        assert row.beads == len(result.string)
        assert row.normalized_length == pytest.approx(result.string.normalized_length)
        assert row.largest == result.largest <= row.threshold
        assert row.barrier_over_mean == pytest.approx(result.string.barrier("over_mean"))
        assert (row.gradients, row.threshold) == (result.steps, result.threshold)


def test_ends_reach_their_threshold(swept):
    _, found = swept
    assert all(max(row.end_a, row.end_b) <= row.threshold for row in found.rows)


def test_the_table_is_read_by_any_reader_of_csv(swept):
    store, found = swept
    with (store / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [float(own["normalized_length"]) for own in lines] == [row.normalized_length for row in found.rows]
    assert read_table(store / "table.csv") == list(found.rows)


def test_the_same_sweep_again_computes_nothing(swept, problem, monkeypatch):
    store, found = swept
    monkeypatch.setattr("weightstring.study.sweep.part.connect_all", None)
    again = ws.sweep(problem, [0.03, 0.1], pairs=3, store=store)
    assert again.rows == found.rows


@pytest.mark.slow
def test_more_pairs_and_thresholds_use_what_is_there(problem, tmp_path):
    first = ws.sweep(problem, [0.1], pairs=2, store=tmp_path / "s")
    more = ws.sweep(problem, [0.05], pairs=3, store=tmp_path / "s")
    assert [(row.threshold, row.pair) for row in more.rows] == [(0.1, 0), (0.1, 1), (0.05, 0), (0.05, 1), (0.05, 2)]
    assert more.rows[:2] == first.rows
    record = SweepDirectory(tmp_path / "s").record()
    assert (record.thresholds, record.pairs) == ((0.1, 0.05), 3)


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_to_the_same_table(problem, tmp_path):
    whole = ws.sweep(problem, [0.1, 0.03], pairs=2, store=tmp_path / "whole")
    ws.sweep(problem, [0.1, 0.03], pairs=2, store=tmp_path / "cut")
    (tmp_path / "cut" / "table.csv").unlink()
    for run in (tmp_path / "cut").rglob("result.json"):
        run.unlink()
    again = ws.sweep(problem, [0.1, 0.03], pairs=2, store=tmp_path / "cut")
    same = ("outcome", "beads", "normalized_length", "largest", "gradients", "largest_low")
    for one, two in zip(whole.rows, again.rows, strict=True):
        assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]


@pytest.mark.slow
def test_in_memory_it_is_the_same(problem, swept):
    _, kept = swept
    found = ws.sweep(problem, [0.03, 0.1], pairs=3)
    assert [row.beads for row in found.rows] == [row.beads for row in kept.rows]
    assert {row.run for row in found.rows} == {""}


def test_another_sweep_is_not_mixed_in(swept, problem):
    store, _ = swept
    with pytest.raises(InvalidRun, match="another sweep: seed"):
        ws.sweep(problem, [0.1], pairs=1, seed=5, store=store)
    with pytest.raises(InvalidRun, match="another problem"):
        ws.sweep(line(7), [0.1], pairs=1, store=store)


def test_other_files_are_left_alone(problem, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidRun, match=r"'mine\.txt' but no sweep"):
        ws.sweep(problem, [0.1], pairs=1, store=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_damaged_files_are_refused_in_one_line(problem, tmp_path, refused):
    ws.sweep(problem, [0.1], pairs=1, store=tmp_path / "s")
    for name, words in (("sweep.json", "damaged"), ("table.csv", "damaged")):
        path = tmp_path / "s" / name
        kept = path.read_text()
        path.write_text(kept[: len(kept) // 2])
        with refused(InvalidRun, words):
            ws.sweep(problem, [0.1, 0.05], pairs=1, store=tmp_path / "s")
        path.write_text(kept)


@pytest.mark.slow
def test_networks_that_never_reach_a_threshold_are_counted_and_replaced():
    problem = line(2)
    found = ws.sweep(problem, [0.05], pairs=2, tries=6)
    (summary,) = found.summary
    (failed,) = found.failed.values()
    assert summary.failed_ends == len(failed) > 0
    used = {seed for row in found.rows for seed in (row.seed_a, row.seed_b)}
    assert not used & set(failed)
    assert used | set(failed) == set(range(len(used) + len(failed)))


@pytest.mark.slow
def test_a_threshold_out_of_reach_has_no_pairs_and_is_shown(problem):
    found = ws.sweep(problem, [1e-9], pairs=1, tries=2)
    (summary,) = found.summary
    assert (summary.pairs, summary.failed_ends) == (0, 4)
    assert math.isnan(summary.connected.value)


def test_unresolved_pairs_are_counted_and_not_averaged(problem):
    found = ws.sweep(problem, [0.01], pairs=3, stop=ws.MaxBeads(2))
    (summary,) = found.summary
    connected = [row for row in found.rows if row.connected]
    assert summary.unresolved == 3 - len(connected) > 0
    assert summary.connected.value == pytest.approx(len(connected) / 3)
    assert {row.reason for row in found.rows if not row.connected} <= {"beads", "depth"}


@pytest.mark.slow
def test_forms_of_a_task_are_swept_side_by_side(tmp_path):
    problems = {f"hidden={width}": line(width) for width in (4, 8)}
    found = ws.sweep(problems, [0.1], pairs=2, store=tmp_path / "s")
    assert [(row.variant, row.pair) for row in found.rows] == [(name, pair) for name in problems for pair in range(2)]
    assert {row.parameters for row in found.rows} == {13, 25}
    assert len(found.summary) == 2


def test_carried_networks_go_on_and_fresh_ones_begin_again(problem):
    for ends, expected in (("carried", True), ("afresh", False)):
        plan = Plan((0.1, 0.03), pairs=1, ends=ends)
        trainer = EndTrainer(problem, plan)
        trainer.train()
        high, low = trainer.at(0.1), trainer.at(0.03)
        starts = trainer._above(0.03)
        assert starts == ({0: 0.1, 1: 0.1} if expected else {})
        assert torch.equal(trainer.thetas_of(0.1, [0])[0], high.thetas[0])
        assert float(problem.measure(low.thetas)["loss"][0]) <= 0.03


def test_ends_and_fit_train_by_the_training_recipe_and_beads_by_the_other():
    x = torch.linspace(0, 1, 8).unsqueeze(1)
    cycle = ws.Recipe.one_cycle(200, lr=0.1)
    problem = ws.ModuleProblem(
        nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x), batch_size=None, training_recipe=cycle
    )
    assert problem.recipe == ws.Recipe.tuned()
    assert torch.equal(problem.fit(0, 0.01), problem.fit(0, 0.01, recipe=cycle))
    slow = ws.Recipe("sgd", {"lr": 1e-6}, max_steps=1)
    stuck = ws.ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x), batch_size=None, training_recipe=slow)
    trainer = EndTrainer(stuck, Plan((1e-3,), pairs=1, tries=2))
    trainer.train()
    assert not trainer.at(1e-3).seeds


@pytest.mark.parametrize(
    "setting",
    [{"thresholds": []}, {"thresholds": [0.0]}, {"thresholds": [math.inf]}, {"pairs": 0}, {"tries": 0}, {"ends": "x"}],
)
def test_settings_out_of_range_are_refused(problem, setting, refused):
    given = {"thresholds": [0.1], **setting}
    with refused(InvalidSetting, "sweep"):
        ws.sweep(problem, **given)


def test_variants_are_all_combinations():
    found = variants(
        TaskRef(name="polynomial", options={"loss": "absolute"}), {"width": ["4", "8"], "target": ["cubic"]}
    )
    assert [own.name for own in found] == ["width=4,target=cubic", "width=8,target=cubic"]
    assert found[1].task.options == {"loss": "absolute", "width": "8", "target": "cubic"}


def test_the_law_of_beads_is_that_of_connected_pairs(swept):
    _, found = swept
    law = beads_law(found.rows)
    assert law.points == sum(row.connected for row in found.rows)


# The maximum as an estimate


def test_losses_of_examples_average_to_the_loss(problem):
    thetas = torch.stack([problem.initial(seed) for seed in range(2)])
    each = torch.stack([problem.measure_each(theta) for theta in thetas])
    assert each.shape == (2, 20)
    assert torch.allclose(each.mean(1), problem.measure(thetas)["loss"], rtol=1e-5)


def test_metrics_that_return_numbers_are_taken_one_by_one():
    x = torch.linspace(-1, 1, 12).unsqueeze(1)
    problem = ws.ModuleProblem(
        nn.Linear(1, 2),
        nn.functional.cross_entropy,
        (x, (x[:, 0] > 0).long()),
        metrics={"error": lambda output, target: (output.argmax(1) != target).float().mean().item()},
    )
    theta = problem.initial(0)
    each = problem.measure_each(theta, "error")
    assert set(each.tolist()) <= {0.0, 1.0}
    assert float(each.mean()) == pytest.approx(float(problem.measure(theta[None], ("error",))["error"]))


def test_the_interval_of_a_maximum_holds_it_and_narrows_with_examples():
    widths = []
    for count in (20, 2000):
        x = torch.linspace(-1, 1, count).unsqueeze(1)
        noise = torch.randn(count, 1, generator=torch.Generator().manual_seed(0))
        problem = ws.ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (x, x + noise))
        string = WeightString(problem, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        found = maximum_interval(string)
        assert found.low < found.value < found.high
        assert found.value == pytest.approx(string.max_loss)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 5


# Trivial predictors


def test_trivial_predictors_of_a_line():
    x = torch.linspace(-1, 2, 21, dtype=torch.float64).unsqueeze(1)
    problem = ws.ModuleProblem(nn.Linear(1, 1, dtype=torch.float64), nn.functional.mse_loss, (x, 3 * x - 1))
    levels = trivial_levels(problem)
    assert levels["best constant"] == pytest.approx(float((3 * x - 1).var(correction=0)))
    assert levels["best linear"] == pytest.approx(0, abs=1e-10)


def test_the_papers_cubic_has_its_spike_at_the_best_constant():
    from weightstring.tasks import load_task

    problem = load_task("polynomial", {"target": "cubic", "loss": "absolute"})
    assert trivial_levels(problem)["best constant"] == pytest.approx(0.1582, abs=1e-4)


def test_words_have_no_linear_predictor():
    tokens = torch.arange(24).view(8, 3) % 5  # both classes, whatever is drawn elsewhere
    net = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    problem = ws.ModuleProblem(net, nn.functional.cross_entropy, (tokens, tokens[:, 0] % 2))
    levels = trivial_levels(problem)
    assert levels["best linear"] is None
    assert 0 < levels["best constant"] <= math.log(2) + 1e-6


def test_a_table_writes_what_is_not_a_number(swept):
    _, found = swept
    from dataclasses import replace

    row = replace(found.rows[0], largest_low=math.nan)
    assert ",nan," in as_csv([row])


def test_trivial_levels_lie_beside_the_table(swept):
    store, _ = swept
    told = json.loads((store / "trivial.json").read_text())
    assert set(told["all"]) == {"best constant", "best linear"}
