"""Beside exact rational arithmetic: an enclosure allows for its own rounding, with nothing added by the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.tracing.program import trace_mean

Number = Fraction
Vector = list[Fraction]

NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[Fraction], Fraction]]] = {
    "relu": (nn.ReLU, lambda v: max(v, Fraction(0))),
    "leaky relu": (lambda: nn.LeakyReLU(0.25), lambda v: v if v >= 0 else v / 4),
    "hardtanh": (nn.Hardtanh, lambda v: min(max(v, Fraction(-1)), Fraction(1))),
    "linear": (nn.Identity, lambda v: v),
}

SIGMAS = [Fraction(k, 7) for k in range(-7, 8)]
WIDTHS = [2.0**-k for k in (0, 1, 4, 12, 30, 46)]


def build(activation: str, seed: int, scale: float) -> tuple[ws.ModuleProblem, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(2, 2), NETS[activation][0](), nn.Linear(2, 2), NETS[activation][0](), nn.Linear(2, 1)
        ).double()
        data = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
        beads = torch.randn(2, 15, dtype=torch.float64) * scale
    return ws.ModuleProblem(net, nn.functional.mse_loss, data), beads


def exact_output(theta: Vector, x: Vector, activation: Callable[[Fraction], Fraction]) -> Fraction:
    """2-2-2-1, its parameters in the order of the module's: weight, bias, weight, …"""
    rest, values = list(theta), x
    for units in (2, 2, 1):
        weights = [[rest.pop(0) for _ in values] for _ in range(units)]
        values = [sum((w * v for w, v in zip(row, values, strict=True)), start=rest.pop(0)) for row in weights]
        values = [activation(v) for v in values] if units > 1 else values
    return values[0]


def exact(numbers: Tensor) -> Vector:
    return [Fraction(number) for number in numbers.flatten().tolist()]


def between(low: Vector, high: Vector, t: Fraction) -> Vector:
    return [a + (b - a) * t for a, b in zip(low, high, strict=True)]


def outputs_only(enclosed: Enclosing, problem: ws.ModuleProblem) -> Enclosing:
    net, _, examples, _ = problem.traceable("loss")
    return dataclasses.replace(enclosed, program=trace_mean(net, lambda output, _: output, examples))


@pytest.mark.slow
@pytest.mark.many(quick=1)
@pytest.mark.parametrize("activation", NETS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-6, 0.3, 1.0, 40.0, 1e9]))
def test_outputs_and_losses_of_a_tiny_network(activation: str, seed: int, scale: float) -> None:
    problem, beads = build(activation, seed, scale)
    enclosed = enclosing(problem, beads, "loss", 1 << 28)
    starts = torch.rand(len(WIDTHS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    widths = torch.tensor(WIDTHS, dtype=torch.float64)
    low = ((starts / widths).floor() * widths).clamp(max=1.0 - widths)
    intervals = Intervals(torch.zeros(len(WIDTHS), dtype=torch.int64), low, low + widths)
    found, bounds = outputs_only(enclosed, problem).outputs(intervals), enclosed.bounds(intervals)
    first, last = exact(beads[0]), exact(beads[1])
    _, _, examples, _ = problem.traceable("loss")
    inputs = [exact(row) for row in examples.leaves[0]]
    targets = exact(examples.targets)
    for i in range(len(intervals)):
        begin, end = Fraction(intervals.low[i].item()), Fraction(intervals.high[i].item())
        nodes = [exact(node[i]) for node in found.nodes]
        radius = exact(found.radius[i])
        for sigma in SIGMAS:
            theta = between(first, last, (begin + end) / 2 + (end - begin) / 2 * sigma)
            values = [exact_output(theta, x, NETS[activation][1]) for x in inputs]
            centres = between(nodes[0], nodes[1], (1 + sigma) / 2)
            assert all(abs(v - c) <= e for v, c, e in zip(values, centres, radius, strict=True))
            loss = sum((v - y) ** 2 for v, y in zip(values, targets, strict=True)) / len(values)
            assert loss <= Fraction(bounds[i].item())
