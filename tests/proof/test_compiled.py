"""Bounds by compiled code: never below the loss, near those by operations, and asked of what it was written for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.native import choosing
from weightstring.proof.enclose.native.compiled import Compiled
from weightstring.proof.enclose.native.plain import plain

N, CLASSES, INPUTS = 70, 4, 5
DTYPES = [torch.float32, torch.float64]
WAYS = [(torch.float32, 0), (torch.float64, 0), (torch.float32, 2), (torch.float64, 2)]
"""Dtypes, and how many generators an example has."""

Loss = Callable[[Tensor, Tensor], Tensor]


def network(*sizes: int) -> nn.Sequential:
    layers = [part for a, b in pairwise(sizes[:-1]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def data(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    inputs = scale * torch.randn(N, INPUTS, generator=draw)
    inputs[3:6] = inputs[2]  # the same example several times
    return inputs, torch.randint(CLASSES, (N,), generator=draw)


def problem_of(net: nn.Module, loss: Loss = nn.functional.cross_entropy) -> ws.ModuleProblem:
    return ws.ModuleProblem(net.double(), loss, data(), dtype=torch.float64, batch_size=None)


@cache
def plain_problem(*hidden: int) -> ws.ModuleProblem:
    """One with hidden layers of these widths, for all tests of this file: it is traced once."""
    return problem_of(network(INPUTS, *hidden, CLASSES))


def enclosed(problem: ws.ModuleProblem, scale: float = 1.0) -> Enclosing:
    beads = scale * torch.randn(3, problem.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    beads[1, ::7] = 0.0
    beads[2, ::3] = beads[1, ::3]
    return enclosing(problem, beads, "loss", 1 << 28)


def intervals() -> Intervals:
    low = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.5, 0.0], dtype=torch.float64)
    width = torch.tensor([1.0, 2.0**-3, 0.0, 2.0**-30, 2.0**-9, 2.0**-5], dtype=torch.float64)
    return Intervals(torch.tensor([0, 1, 0, 1, 1, 0]), low, low + width)


def compiled(of: Enclosing, dtype: torch.dtype, generators: int = 0) -> Compiled:
    network = plain(of)
    assert network is not None
    try:
        return Compiled(of, network, dtype, generators)
    except choosing.Unavailable:
        pytest.skip("nothing can be compiled here")


def highest(of: Enclosing, at: Intervals, problem: ws.ModuleProblem, places: int = 65) -> Tensor:
    """(I,) the largest loss met on each interval, in float64."""
    net = problem.evaluating.module
    inputs, targets = (part.double() if part.is_floating_point() else part for part in data())

    def loss(theta: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(net, of.layout.views(theta), inputs), targets)

    shares = torch.linspace(0, 1, places, dtype=torch.float64)
    ts = (at.low.unsqueeze(1) + (at.high - at.low).unsqueeze(1) * shares).flatten().unsqueeze(1)
    first = at.segments.repeat_interleave(places)
    thetas = (1 - ts) * of.beads[first] + ts * of.beads[first + 1]
    return torch.func.vmap(loss)(thetas).view(-1, places).amax(1)


@pytest.mark.many(quick=8)
@pytest.mark.parametrize(("dtype", "generators"), WAYS)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-3, 0.5, 3.0])
@pytest.mark.parametrize("hidden", [(3,), (40,), (33, 17), (6, 5, 6, 5)])
def test_no_bound_lies_below_the_loss(
    hidden: tuple[int, ...], scale: float, dtype: torch.dtype, generators: int
) -> None:
    problem = plain_problem(*hidden)
    of = enclosed(problem, scale)
    bounds = compiled(of, dtype, generators).bounds(intervals())
    assert bool((bounds >= highest(of, intervals(), problem) * (1 - 1e-14)).all())


@pytest.mark.parametrize("generators", [1, 8])
def test_no_bound_of_a_deep_network_lies_below_the_loss(generators: int) -> None:
    problem = plain_problem(*(9,) * 8)
    of = enclosed(problem, 0.5)
    bounds, loss = compiled(of, torch.float64, generators).bounds(intervals()), highest(of, intervals(), problem)
    assert bool((bounds >= loss * (1 - 1e-14)).all())
    narrow = intervals().high - intervals().low < 2.0**-8
    torch.testing.assert_close(bounds[narrow], loss[narrow], rtol=1e-2, atol=0)


def test_generators_are_taken_where_a_rehearsal_finds_them_cheaper() -> None:
    found = {}
    for hidden, scale in (((9,) * 4, 1e-3), ((32,) * 10, 0.3)):
        of = enclosed(plain_problem(*hidden), scale)
        found[len(hidden)] = choosing.fastest(of, 1e-3, (0, 0.5))
    if not all(isinstance(way, Compiled) for way in found.values()):
        pytest.skip("nothing can be compiled here")
    assert [way.generators > 0 for way in found.values() if isinstance(way, Compiled)] == [False, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_are_near_those_by_operations(dtype: torch.dtype) -> None:
    of = enclosed(plain_problem(33, 17), 0.4)
    bounds, by_operations = compiled(of, dtype).bounds(intervals()), of.bounds(intervals())
    torch.testing.assert_close(bounds, by_operations, rtol=2e-3, atol=0)
    torch.testing.assert_close(bounds[2:], by_operations[2:], rtol=1e-4, atol=0)


@pytest.mark.many(quick=3)
@pytest.mark.parametrize(("dtype", "generators"), WAYS)
@pytest.mark.parametrize("power", [20, 60, 130, 300, 600])
def test_numbers_that_overflow_are_not_bounded(power: int, dtype: torch.dtype, generators: int) -> None:
    problem = plain_problem(9, 9)
    of = enclosed(problem, 2.0**power)
    bounds, loss = compiled(of, dtype, generators).bounds(intervals()), highest(of, intervals(), problem)
    assert not bool(bounds.isnan().any())
    assert bool((bounds >= loss.nan_to_num(torch.inf) * (1 - 1e-14)).all())


@pytest.mark.parametrize(("dtype", "generators"), WAYS)
def test_an_example_s_bound_does_not_depend_on_those_beside_it(dtype: torch.dtype, generators: int) -> None:
    of = compiled(enclosed(plain_problem(9, 9)), dtype, generators)
    ((_, everyone),) = of.examined(intervals(), of.order)
    ((_, some),) = of.examined(intervals(), of.order[5::3])
    assert torch.equal(everyone.each[..., 5::3], some.each)


def smoothed(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, target, label_smoothing=0.1)


OTHERS: dict[str, tuple[nn.Module, Loss]] = {
    "label smoothing": (network(INPUTS, 6, CLASSES), smoothed),
    "class weights": (network(INPUTS, 6, CLASSES), nn.CrossEntropyLoss(torch.ones(CLASSES))),
    "another activation": (
        nn.Sequential(nn.Linear(INPUTS, 6), nn.Tanh(), nn.Linear(6, CLASSES)),
        nn.CrossEntropyLoss(),
    ),
    "inputs that are changed": (nn.Sequential(nn.ReLU(), *network(INPUTS, 6, CLASSES)), nn.CrossEntropyLoss()),
    "one layer": (nn.Sequential(nn.Linear(INPUTS, CLASSES)), nn.CrossEntropyLoss()),
    "two layers in a row": (nn.Sequential(nn.Linear(INPUTS, 6), *network(6, 6, CLASSES)), nn.CrossEntropyLoss()),
    "many classes": (network(INPUTS, 6, 40), nn.CrossEntropyLoss()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_it_was_not_written_for_is_bounded_by_operations(name: str) -> None:
    net, loss = OTHERS[name]
    of = enclosed(problem_of(net, loss))
    assert plain(of) is None
    assert choosing.fastest(of, 1.0, (0, 0.5)) is of


def test_float32_is_taken_where_it_leaves_room() -> None:
    of = enclosed(plain_problem(9, 9), 0.3)
    found = [choosing.fastest(of, room, (0, 0.5)) for room in (1e-2, 1e-9)]
    if found[0] is of:
        pytest.skip("nothing can be compiled here")
    assert [way.dtype for way in found if isinstance(way, Compiled)] == DTYPES


def test_a_first_layer_of_inputs_most_of_which_are_usual_is_computed_from_the_others() -> None:
    draw = torch.Generator().manual_seed(2)
    inputs = torch.where(torch.rand(N, 30, generator=draw) < 0.8, -0.4, torch.randn(N, 30, generator=draw))
    problem = ws.ModuleProblem(network(30, 70, CLASSES), nn.functional.cross_entropy, (inputs, data()[1]))
    of = enclosing(problem, torch.randn(2, problem.size, generator=draw), "loss", 1 << 28)
    way = compiled(of, torch.float64)
    ((weight, _), _) = way.plain.layers(of.beads)
    assert way.plain.usual is not None
    torch.testing.assert_close(way._of_inputs(weight[0]), inputs.double() @ weight[0].mT, rtol=0, atol=1e-13)
