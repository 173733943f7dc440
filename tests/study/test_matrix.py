"""Barriers of the lines between many models, beside lines measured one by one."""

from __future__ import annotations

import weakref
from itertools import combinations

import pandas as pd
import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidRun, InvalidSetting
from weightstring.path import BARRIERS
from weightstring.problem.surfaces import Ring

GENERATOR = torch.Generator().manual_seed(8)
X = torch.randn(32, 3, generator=GENERATOR)
Y = (X[:, :1] * X[:, 1:2]).tanh()


def absolute(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output - targets).abs().mean()


def task(**more) -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    settings = {"metrics": {"absolute": absolute}, "engine": "loop"} | more
    return ws.ModuleProblem(net, nn.functional.mse_loss, (X[:20], Y[:20]), (X[20:], Y[20:]), **settings)


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return task()


@pytest.fixture(scope="module")
def models(problem) -> dict[str, torch.Tensor]:
    first = problem.initial(0)
    return {"one": first, "two": problem.initial(1), "copy": ws.permuted_copy(problem, first, seed=5)}


class Counting:
    """A problem that counts what it measures, model by model."""

    def __init__(self, problem):
        self._problem = problem
        self.measured: list[bytes] = []

    def __getattr__(self, name):
        return getattr(self._problem, name)

    def measure(self, thetas, quantities=("loss",)):
        self.measured += [theta.numpy().tobytes() for theta in thetas]
        return self._problem.measure(thetas, quantities)


def test_barriers_are_those_of_each_line(problem, models):
    found = ws.matrix(problem, models)
    thetas = list(models.values())
    for i, j in combinations(range(3), 2):
        line = ws.WeightString(problem, [thetas[i], thetas[j]])
        top = ws.locate_maximum(problem, thetas[i], thetas[j]).value
        for name in BARRIERS:
            tables = [found.barriers(name)[i, j], found.barriers(name)[j, i]]
            assert [float(each) for each in tables] == pytest.approx([line.barrier(name)] * 2, rel=1e-4, abs=1e-6)
        assert found.barriers("max")[i, j].item() == pytest.approx(top, rel=1e-6)
        assert found.lengths()[i, j].item() == pytest.approx(line.length)
    losses = problem.measure(torch.stack(thetas))["loss"]
    assert found.barriers("max").diagonal().tolist() == pytest.approx(losses.tolist())
    assert found.barriers().diagonal().tolist() == [0.0] * 3


def test_each_model_is_measured_once_and_no_point_twice(problem, models):
    counting = Counting(problem)
    ws.matrix(counting, models)
    assert len(counting.measured) == len(set(counting.measured))
    assert [counting.measured.count(theta.numpy().tobytes()) for theta in models.values()] == [1, 1, 1]


def test_aligned_lines_are_beside_those_as_given(problem, models):
    found = ws.matrix(problem, models, align=True)
    assert found.barriers("over_mean", aligned=True)[0, 2].item() == pytest.approx(0, abs=1e-6)
    assert found.lengths(aligned=True)[0, 2].item() < 1e-5 < 1 < found.lengths()[0, 2].item()
    aligned = ws.align(problem, models["one"], models["two"])
    assert found.lengths(aligned=True)[0, 1].item() == pytest.approx(aligned.distance)
    assert "aligned" in str(found)


def test_rows_make_a_table(problem, models):
    table = pd.DataFrame(ws.matrix(problem, models, align=True).to_rows())
    assert list(table.aligned) == [False, True] * 3
    assert list(table.a[::2] + table.b[::2]) == ["onetwo", "onecopy", "twocopy"]
    assert set(BARRIERS) <= set(table.columns)
    assert ((table["max"] - table[["end_a", "end_b"]].max(axis=1)) - table.over_ends).abs().max() < 1e-12


def test_a_metric_can_be_what_is_looked_at(problem, models):
    found = ws.matrix(problem, models, bind="absolute")
    assert found.quantity == "absolute"
    top = max(found.lines[0, 1].given.values["absolute"])
    assert found.barriers("max")[0, 1].item() == top
    assert found.barriers("max", quantity="loss")[0, 0].item() == found.ends[0]["loss"]
    assert "train_loss" not in found.ends[0]


def test_batches_of_any_form_give_the_same_numbers(problem, models):
    def loss(net, batch):
        return (net(batch["x"]) - batch["y"]).square().sum(), batch["y"].numel()

    batches = [{"x": X[20:25], "y": Y[20:25]}, {"x": X[25:], "y": Y[25:]}]
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    other = ws.ModuleProblem.from_batches(net, batches, loss=loss)
    found, own = ws.matrix(other, models), ws.matrix(problem, models)
    assert (found.barriers() - own.barriers()).abs().max() < 1e-5
    assert found.evaluation == "train"


def test_models_are_loaded_when_they_are_needed(problem):
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def loader(seed):
        def load() -> torch.Tensor:
            nonlocal most
            theta = problem.initial(seed)
            alive.add(theta)
            most = max(most, len(alive))
            return theta

        return load

    found = ws.matrix(problem, [loader(seed) for seed in range(5)])
    assert len(found.lines) == 10
    assert most <= 3


class TestKept:
    def test_a_matrix_goes_on_where_it_was_interrupted(self, models, tmp_path):
        def stop(done: int, of: int) -> None:
            assert of == 3
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ws.matrix(task(), models, store=tmp_path, on_line=stop)
        counting = Counting(task())
        found = ws.matrix(counting, models, store=tmp_path)
        assert 0 < len(counting.measured) < 40  # one line of three
        assert found.to_rows() == ws.matrix(task(), models).to_rows()
        again = Counting(task())
        assert ws.matrix(again, models, store=tmp_path).to_rows() == found.to_rows()
        assert again.measured == []

    def test_further_models_and_alignment_add_to_it(self, problem, models, tmp_path):
        ws.matrix(problem, {name: models[name] for name in ("one", "two")}, store=tmp_path)
        counting = Counting(problem)
        found = ws.matrix(counting, models, store=tmp_path)
        assert counting.measured.count(models["one"].numpy().tobytes()) == 0
        assert found.names == ("one", "two", "copy")
        assert ws.matrix(problem, models, align=True, store=tmp_path).aligned
        assert not ws.matrix(problem, models, store=tmp_path).aligned

    def test_another_problem_is_refused(self, problem, models, tmp_path):
        ws.matrix(problem, models, store=tmp_path)
        with pytest.raises(InvalidRun, match="another matrix: its problem differs"):
            ws.matrix(task(batch_size=4), models, store=tmp_path)
        with pytest.raises(InvalidRun, match="its bind differs"):
            ws.matrix(problem, models, bind="train", store=tmp_path)

    def test_a_damaged_line_is_told(self, problem, models, tmp_path):
        ws.matrix(problem, models, store=tmp_path)
        next(tmp_path.glob("line-*.json")).write_text("{")
        with pytest.raises(InvalidRun, match=r"line-\w+-\w+\.json: damaged"):
            ws.matrix(problem, models, store=tmp_path)


def test_what_is_no_matrix_is_refused(problem, models):
    with pytest.raises(InvalidSetting, match="matrix of 1 models"):
        ws.matrix(problem, [models["one"]])
    with pytest.raises(InvalidSetting, match="a barrier is of one quantity"):
        ws.matrix(problem, models, bind="both")
    with pytest.raises(InvalidCheckpoint, match="model '1' has shape"):
        ws.matrix(problem, [models["one"], models["one"][:-1]])
    with pytest.raises(InvalidCheckpoint, match=r"'1' is a Linear: pass problem.flatten\(...\)"):
        ws.matrix(problem, [models["one"], torch.nn.Linear(1, 1)])
    with pytest.raises(InvalidSetting, match="no module to align"):
        ws.matrix(Ring(), Ring().ends, align=True)
    with pytest.raises(InvalidSetting, match="no aligned lines"):
        ws.matrix(Ring(), Ring().ends).barriers(aligned=True)
