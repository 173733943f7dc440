"""A string measured by a problem that had no part in finding it: the same points, other numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.surfaces import Ring

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(12, 2, generator=GENERATOR)
Y = X.sum(1, keepdim=True).sin()


def net(hidden: int = 3, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, hidden, bias=bias), nn.Tanh(), nn.Linear(hidden, 1))


def absolute(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output - targets).abs().mean()


def problem(shift: float = 0.0, **more: object) -> ws.ModuleProblem:
    return ws.ModuleProblem(net(), nn.functional.mse_loss, (X, Y), (X + shift, Y), engine="loop", **more)


@pytest.fixture(scope="module")
def string() -> ws.WeightString:
    found = problem()
    return ws.WeightString(found, torch.stack([found.initial(seed) for seed in range(3)]))


def test_other_data_and_metrics_are_measured_at_the_same_points(string):
    before = string.curve
    other = problem(shift=0.7, metrics={"absolute": absolute})
    curve = string.measure_on(other)
    assert (curve.s, curve.segment, curve.t) == (before.s, before.segment, before.t)
    assert "absolute" in curve.values
    assert string.curve is before
    for row in (0, 5, len(curve.t) - 1):
        theta = string.segments[curve.segment[row]].point(curve.t[row])
        naive = net()
        naive.load_state_dict(other.unflatten(theta))
        with torch.no_grad():
            output = naive(X + 0.7)
        assert curve.values["loss"][row] == pytest.approx(float(nn.functional.mse_loss(output, Y)), rel=1e-5)
        assert curve.values["absolute"][row] == pytest.approx(float((output - Y).abs().mean()), rel=1e-5)


def test_batches_of_any_form_measure_it_too(string):
    def loss(net, batch):
        return (net(batch["x"]) - batch["y"]).square().sum(), batch["y"].numel()

    batches = [{"x": X[:5], "y": Y[:5]}, {"x": X[5:], "y": Y[5:]}]
    other = ws.ModuleProblem.from_batches(net(), batches, loss=loss)
    assert string.measure_on(other).values["loss"] == pytest.approx(
        string.measure_on(problem()).values["loss"], rel=1e-5
    )


def test_the_same_problem_gives_the_same_numbers(string):
    assert string.measure_on(problem()).values["loss"] == pytest.approx(string.curve.values["loss"], rel=1e-6)


def test_a_string_that_nobody_measured_is_measured_where_the_problem_would(string):
    beads = ws.WeightString(None, string.beads)
    assert beads.measure_on(problem()) == ws.WeightString(problem(), string.beads).curve


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: net(hidden=4), r"parameter 0 is 0.weight \(3, 2\), the problem's 0.weight \(4, 2\)"),
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1, bias=False), nn.Linear(1, 1, bias=False)),
         "parameter 3 is 2.bias .*3.weight"),
    ],
)  # fmt: skip
def test_other_parameters_are_refused(string, other, words):
    with pytest.raises(InvalidCheckpoint, match=words):
        string.measure_on(ws.ModuleProblem(other(), nn.functional.mse_loss, (X, Y), engine="loop"))


def test_a_run_read_back_without_its_problem_knows_its_parameters(string, tmp_path):
    found = problem()
    ws.connect(found, string[0], string[1], threshold=1e3, store=tmp_path / "run")
    read = ws.load(tmp_path / "run").string
    assert read.measure_on(problem(shift=0.7)).t == read.curve.t
    other = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1, bias=False), nn.Linear(1, 1, bias=False))
    with pytest.raises(InvalidCheckpoint, match="parameter 3"):
        read.measure_on(ws.ModuleProblem(other, nn.functional.mse_loss, (X, Y), engine="loop"))


def test_another_dtype_is_refused():
    ring = Ring()
    string = ws.WeightString(ring, torch.stack(list(ring.ends)))
    line = ws.ModuleProblem(nn.Linear(2, 1, bias=False), nn.functional.mse_loss, (X, Y))
    with pytest.raises(InvalidCheckpoint, match=r"float64.*float32"):
        string.measure_on(line)
