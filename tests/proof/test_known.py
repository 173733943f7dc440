"""What theory says of two models: the theorems that apply, in the problem's own units, and their paths."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.proof.known import known
from weightstring.theory.deep_linear_barrier import barrier


def data(inputs: int, outputs: int, count: int = 17) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(count, inputs, generator=generator, dtype=torch.float64) + 0.3
    return x, x @ torch.randn(inputs, outputs, generator=generator, dtype=torch.float64) + 0.2


def linear(*widths: int, loss: nn.Module | None = None, dtype: torch.dtype = torch.float64) -> ws.ModuleProblem:
    layers = [nn.Linear(low, high, bias=False) for low, high in pairwise(widths)]
    return ws.ModuleProblem(
        nn.Sequential(*layers), loss or nn.MSELoss(), data(widths[0], widths[-1]), batch_size=None, dtype=dtype
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_wide_linear_networks_have_no_barrier(dtype: torch.dtype) -> None:
    problem = linear(3, 4, 5, 2, dtype=dtype)
    a, b = problem.initial(0), problem.initial(1)
    found = known(problem, a, b)
    (path,) = found.constructions
    assert path.name == "linear"
    assert path.bound == pytest.approx(max(found.losses), rel=1e-6)
    assert torch.equal(path.string[0], a)
    assert torch.equal(path.string[-1], b)
    top = ws.locate_maximum(problem, a, b).value
    assert path.string.max_loss <= path.bound + 1e-3 * max(top, path.bound) * (1 + 1e-4)
    assert set(found.refused) == {"sub-networks", "exchange"}


@pytest.mark.slow
def test_the_barrier_of_a_narrow_one_is_exact_and_in_the_units_of_its_own_loss() -> None:
    problem = linear(2, 2, 2)  # the mean over outputs too: half of the formula's sum
    x, y = data(2, 2)
    a = problem.fit(0, until=0.05)
    layers = problem.unflatten(a)
    layers["0.weight"] = layers["0.weight"][[1, 0]]
    layers["1.weight"] = layers["1.weight"][:, [1, 0]]  # two units exchanged: the same function
    b = problem.flatten(layers)
    found = known(problem, a, b)
    first, second = ([problem.unflatten(theta)[f"{k}.weight"] for k in (0, 1)] for theta in (a, b))
    exact = barrier(first, second, x.T, y.T).gamma / 2
    assert found.proof is not None
    assert found.at_least == pytest.approx(exact, rel=1e-6)
    assert found.at_most == pytest.approx(exact, rel=1e-9)
    assert found.constructions[0].name == "linear"
    assert found.at_most > 2 * max(found.losses)


def test_one_hidden_layer_is_joined_by_corners_and_nothing_else_is() -> None:
    x, y = data(2, 1)
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, y), batch_size=None)
    found = known(problem, problem.initial(0), problem.initial(1))
    assert [own.straight for own in found.constructions] == [True, True]
    assert all(own.string.max_loss <= own.bound * (1 + 1e-9) for own in found.constructions)
    bounds = [own.bound for own in found.constructions]
    assert bounds == sorted(bounds)
    assert max(found.losses) == found.at_least <= found.at_most == bounds[0]
    assert "not recognised as linear layers" in found.refused["linear"]


@pytest.mark.slow
def test_frozen_and_tied_layers_are_not_moved() -> None:
    tied = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(2)))
    tied[1].weight = tied[0].weight
    frozen = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(2)))
    frozen[1].weight.requires_grad_(False)
    for net in (tied, frozen):
        problem = ws.ModuleProblem(net, nn.MSELoss(), data(2, 2), batch_size=None, dtype=torch.float64)
        found = known(problem, problem.initial(0), problem.initial(1))
        assert not found.constructions
        assert "frozen or tied" in found.refused["linear"] or "not recognised" in found.refused["linear"]
        assert found.at_most == float("inf")


def test_what_theory_cannot_be_asked_is_refused() -> None:
    ring = Ring()
    with pytest.raises(InvalidSetting, match=r"theory: Ring has no traceable\(\), layout"):
        known(ring, *ring.ends)
    problem = linear(2, 3, 1)
    a = problem.initial(0)
    with pytest.raises(InvalidSetting, match="tolerance=0: give a positive share"):
        known(problem, a, a, tolerance=0)
    with pytest.raises(InvalidCheckpoint, match="the second model has shape"):
        known(problem, a, a[:-1])
