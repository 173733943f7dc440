"""Metrics that see the inputs: told by their signature, measured over whole sets as anything else, never certified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem.losses.sighted import sighted
from weightstring.study.sweep.trivial import trivial_levels


def residual(output: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
    """How far u is from the 3 x + 0.5 of the points: a mean over examples, though nobody says so."""
    return (output - 3 * inputs[:, :1] - 0.5).square().mean()


def inner(output: Tensor, targets: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The error over the points inside of [-0.5, 0.5]: (sum, weight)."""
    inside = inputs[:, :1].abs() <= 0.5
    return ((output - targets).abs() * inside).sum(), inside.sum()


def largest(output: Tensor, targets: Tensor, *, inputs: Tensor) -> float:
    """The input at which the output is largest: a number, of all examples at once."""
    return float(inputs[output[:, 0].argmax(), 0])


def line(count: int) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1.3, 1.1, 2 * count, dtype=torch.float64).view(2, count).T
    return x, torch.sin(2 * x[:, :1])


METRICS: dict[str, Callable[..., Any]] = {"residual": residual, "inner": inner, "largest": largest}


def build(net: nn.Module | None = None, **settings: Any) -> ws.ModuleProblem:
    torch.manual_seed(3)
    net = net or nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    known = {"metrics": METRICS, "engine": "stack", "chunk": 4, "recipe": ws.Recipe("adam", {"lr": 0.02})}
    return ws.ModuleProblem(net, nn.functional.mse_loss, line(11), line(7), **{**known, **settings})


def naive(problem: ws.ModuleProblem, theta: Tensor, data: tuple[Any, Tensor]) -> dict[str, float]:
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    net.load_state_dict(problem.unflatten(theta))
    x, y = data
    with torch.no_grad():
        output = net(x)
        amount, weight = inner(output, y, x)
        return {
            "residual": float(residual(output, y, x)),
            "inner": float(amount / weight),
            "largest": largest(output, y, inputs=x),
            "loss": float(nn.functional.mse_loss(output, y)),
        }


@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
def test_values_are_those_of_one_pass_over_the_whole_set_by_every_engine(engine: str) -> None:
    problem = build(engine=engine, holdout={"far": line(13)})
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    measured = problem.measure(thetas, problem.quantities)
    for prefix, count in (("", 7), ("train_", 11), ("far_", 13)):
        for row, theta in enumerate(thetas):
            for name, value in naive(problem, theta, line(count)).items():
                assert float(measured[prefix + name][row]) == pytest.approx(value, rel=1e-12)


def test_along_a_segment_they_are_what_they_are_by_themselves() -> None:
    torch.manual_seed(1)
    wide = nn.Sequential(nn.Linear(600, 2, bias=False), nn.Linear(2, 1)).double()
    x = torch.randn(40, 600, dtype=torch.float64)
    problem = ws.ModuleProblem(
        wide, nn.functional.mse_loss, (x, x[:, :1]), engine="stack", metrics={"residual": residual, "largest": largest}
    )
    a, b, ts = problem.initial(0), problem.initial(1), torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    assert problem.shares_along
    along = problem.measure_along(a, b, ts, ("largest", "loss", "residual"))
    alone = problem.measure(torch.lerp(a, b, ts[:, None]), ("largest", "loss", "residual"))
    assert list(along) == ["largest", "loss", "residual"]
    for name, values in along.items():
        assert values.tolist() == pytest.approx(alone[name].tolist(), rel=1e-9)


class ByName(nn.Module):
    """A net that takes its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1).double()

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.layer(x) * scale


def test_inputs_come_in_the_form_in_which_the_net_takes_them() -> None:
    x, y = line(9)
    scale = torch.linspace(1, 2, 9, dtype=torch.float64)[:, None]

    def of_names(output: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        return (output / inputs["scale"]).max()

    def of_places(output: Tensor, targets: Tensor, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return (output / inputs[1]).max()

    for inputs, metric in (({"x": x, "scale": scale}, of_names), ((x, scale), of_places)):
        problem = ws.ModuleProblem(
            ByName(), nn.functional.mse_loss, (inputs, y), metrics={"top": metric}, chunk=2, engine="loop"
        )
        theta = problem.initial(4)
        expected = float((x @ theta[:2, None] + theta[2]).max())
        assert float(problem.measure(theta[None], ("top",))["top"]) == pytest.approx(expected, rel=1e-12)


def test_a_threshold_binds_one_and_all_that_measures_strings_measures_it(tmp_path: Any) -> None:
    problem = build(batch_size=None)
    a, b = (problem.fit(seed, until=0.2, quantity="inner") for seed in (0, 1))
    result = ws.connect(problem, a, b, 0.21, bind="inner", store=tmp_path, progress=False, stop=ws.MaxBeads(8))
    assert result.names == ("inner",)
    assert {"inner", "residual", "largest", "train_inner"} <= set(result.string.curve.values)
    assert ws.load(tmp_path).largest == result.largest
    merging = ws.merge(problem, result.string, points=2)
    x, y = line(7)
    with torch.no_grad():
        mean = torch.stack([problem.evaluating(end, problem.observed()) for end in (a, b)]).mean(0)
    assert merging.ensemble is not None
    assert merging.ensemble.values["residual"] == pytest.approx(float(residual(mean, y, x)), rel=1e-9)
    shares = problem.measure_each(a, "inner")
    assert float(shares.mean()) == pytest.approx(naive(problem, a, line(7))["inner"], rel=1e-12)
    assert len(shares) == 7
    assert trivial_levels(problem, "inner")["best linear"] is not None


def test_none_is_certified_and_that_is_said_before_the_search() -> None:
    problem = build()
    a, b = problem.initial(0), problem.initial(1)
    for name in METRICS:
        with pytest.raises(Unsupported, match=f"'{name}' sees the inputs, for which certificates have no rule"):
            ws.connect(problem, a, b, bind=name, certify=True, progress=False)
        with pytest.raises(Unsupported, match="sees the inputs"):
            ws.certify(problem, ws.WeightString(problem, [a, b]), 9.0, quantity=name)
    assert ws.certify(problem, ws.WeightString(problem, [a, b]), 99.0).holds  # the loss beside them is


def test_signatures_tell() -> None:
    class Module(nn.Module):
        def forward(self, output: Tensor, targets: Tensor, points: Tensor) -> Tensor:
            return points.mean()

    def optional(output: Tensor, targets: Tensor, threshold: float = 0.5) -> Tensor:
        return output.mean()

    def named(output: Tensor, targets: Tensor, inputs: Tensor | None = None) -> Tensor:
        return output.mean()

    def four(output: Tensor, targets: Tensor, points: Tensor, more: Tensor) -> Tensor:
        return output.mean()

    seeing = [residual, inner, largest, Module(), named, partial(four, more=torch.ones(1))]
    assert all(getattr(sighted(metric), "sees", False) for metric in seeing)
    blind = [nn.MSELoss(), nn.functional.mse_loss, nn.functional.cross_entropy, optional, max, torch.add]
    assert not any(getattr(sighted(metric), "sees", False) for metric in blind)


def writing(output: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
    return inputs.mul_(2).mean()


def means(output: Tensor, targets: Tensor, inputs: Tensor) -> tuple[Tensor, int]:
    return inputs.square().mean(), len(inputs)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (writing, "odd writes to its inputs: let it work on a copy"),
        (means, "odd returned .sum, weight. whose sum over 11 examples"),
        (lambda output, targets, inputs: inputs, "odd returned .*: it must return one number"),
    ],
)
def test_what_is_no_metric_of_examples_is_refused(metric: Callable[..., Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        build(metrics={"odd": metric})
    assert "\n" not in str(caught.value)
