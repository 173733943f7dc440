"""Checks of rules: nothing lies outside an enclosure, and a permuted copy computes the same.

They run a whole problem whose module uses the operation, so that a rule is tried with what stands before and behind it.
A check that passes is evidence, no proof: a certificate is as true as the rules that it was made with.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.proving import certify
from weightstring.proof.verify import verify
from weightstring.proof.verify.replay import Replay
from weightstring.randomness import generator
from weightstring.symmetry.copies import mapped_copy, permuted_copy, rescaled_copy
from weightstring.symmetry.finding import find
from weightstring.symmetry.outputs import own_theta, what_is_read
from weightstring.tracing.program import trace_mean

SPREADS = (0.01, 0.06, 0.34, 2.0)
"""How far the models of a check lie from the module's own θ, in each parameter."""

INTERVALS = 48
PLACES = 40
"""Samples in each interval, its ends among them."""

SAMPLED = 1e-13
"""What the samples' own rounding may put outside, relative to 1 + their size."""

SAME = 1e-12
"""How far outputs of copies may differ by rounding, relative to the largest."""

MAX_BYTES = 1 << 28


def check_certificate_rule(problem: ModuleProblem, *, quantity: str = "loss", seed: int = 0) -> None:
    """Try the certificate rules of a module's operations on random models, intervals and places in them.

    Every sampled output of every example must lie in its enclosure, and no sampled value above its bound.

    Args:
        problem: its module uses the operation and returns one tensor, with ``dtype=torch.float64`` and few examples.
        quantity: whose criterion is tried with it.
        seed: of models, intervals and places.

    Raises:
        AssertionError: with the interval, the place and the numbers that contradict the rule.
        InvalidSetting: the problem is not in float64.
        Unsupported: an operation has no rule, or refuses how it is called.
    """
    beads, draw = _beads(problem, seed), generator(seed, "check of a certificate rule")
    enclosed = enclosing(problem, beads, quantity, MAX_BYTES)
    intervals = _intervals(len(beads) - 1, draw)
    net, criterion, examples, block = problem.traceable(quantity)
    sizes = {len(part) for part in examples.chunks(block)}
    outputs_alone = replace(enclosed, program=trace_mean(net, lambda output, _: output, examples, sizes))
    found, bounds = outputs_alone.outputs(intervals), enclosed.bounds(intervals)
    sigmas = torch.cat([torch.tensor([-1.0, 0.0, 1.0]), 2 * torch.rand(PLACES - 3, generator=draw) - 1]).double()
    places = zip(intervals.segments.tolist(), intervals.low.tolist(), intervals.high.tolist(), strict=True)
    for index, (first, low, high) in enumerate(places):
        where = f"t from {low:.6g} to {high:.6g} of segment {first}, seed {seed}"
        thetas = torch.lerp(beads[first], beads[first + 1], ((low + high) / 2 + (high - low) / 2 * sigmas).unsqueeze(1))
        outputs = torch.stack([_output(problem, theta) for theta in thetas])
        centre = _polynomial([node[index] for node in found.nodes], sigmas)
        outside = float((((outputs - centre).abs() - found.radius[index]) / (1 + outputs.abs())).max())
        _require(outside <= SAMPLED, f"an output lies {outside:.3g} outside its enclosure, {where}")
        value = max(float(criterion(output, examples.targets)) for output in outputs)
        bound = float(bounds[index])
        _require(_under(value, bound), f"{quantity} is {value!r}, over its bound {bound!r}, {where}")


def check_verification_rule(problem: ModuleProblem, *, quantity: str = "loss", seed: int = 0) -> None:
    """Try the rules by which ``verify`` checks certificates, and whether it proves a certificate again.

    Args:
        problem: see :func:`check_certificate_rule`.
        quantity: likewise.
        seed: likewise.

    Raises:
        AssertionError: a sampled value lies above its bound, or a certificate is not verified.
        InvalidSetting: the problem is not in float64.
        NotVerifiable: an operation has no rule, or refuses how it is called.
    """
    beads, draw = _beads(problem, seed), generator(seed, "check of a verification rule")
    replay = Replay(problem, quantity)
    for _ in range(INTERVALS // 4):
        low, high = sorted(torch.rand(2, generator=draw, dtype=torch.float64).tolist())
        a, b = beads[int(torch.randint(len(beads) - 1, (), generator=draw))], beads[-1]
        thetas = torch.lerp(a, b, torch.linspace(low, high, PLACES, dtype=torch.float64).unsqueeze(1))
        value = float(problem.measure(thetas, [quantity])[quantity].max())
        for generators in (0, 1, replay.generators) if replay.generators else (0,):
            bound = replay.bound(a.numpy(), b.numpy(), low, high, generators)
            where = f"t from {low:.6g} to {high:.6g}, by {generators} generators, seed {seed}"
            _require(_under(value, bound), f"{quantity} is {value!r}, over verify's bound {bound!r}, {where}")
    string = WeightString(problem, beads[:3])
    verification = verify(problem, string, certify(problem, string, quantity=quantity, tol=0.03, max_intervals=400))
    _require(verification.ok, str(verification))


def check_symmetry_rule(problem: ModuleProblem, *, seed: int = 0, copies: int = 3) -> None:
    """Try the symmetry rules of a module's operations: random copies compute the same function.

    Units are permuted, scaled and mixed wherever the rules say that they may be. A rule that ties too much is not
    found out by this: compare ``find(problem).log10_permutations`` with the number that you expect.

    Args:
        problem: its module uses the operation, with ``dtype=torch.float64``.
        seed: of the model and the copies.
        copies: how many of each kind.

    Raises:
        AssertionError: a copy computes something else, or none differs from the model although units may be permuted.
        InvalidSetting: the problem is not in float64.
        NotEquivalent: as permuted_copy itself finds out; it names the group of units.
        Unsupported: an operation has no rule, or is called in a way that its rule does not cover.
    """
    theta = _beads(problem, seed)[-2]
    expected = _numbers(problem, theta)
    permuted = [permuted_copy(problem, theta, seed + k) for k in range(copies)]
    others = (make(problem, theta, seed + k) for k in range(copies) for make in (rescaled_copy, mapped_copy))
    for copy in (*permuted, *others):
        apart = float((_numbers(problem, copy) - expected).abs().max() / expected.abs().max())
        _require(apart < SAME, f"outputs of a copy differ by {apart:.3g} of the largest, seed {seed}")
    for copy in permuted:
        same = torch.equal(copy.sort().values, theta.sort().values)
        _require(same, f"a permuted copy holds other numbers, seed {seed}")
    moves = any(not torch.equal(copy, theta) for copy in permuted)
    _require(moves == bool(find(problem).log10_permutations), f"no copy differs from the model, seed {seed}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _under(value: float, bound: float) -> bool:
    return value <= bound + SAMPLED * (1 + abs(value))


def _beads(problem: ModuleProblem, seed: int) -> Thetas:
    if problem.dtype != torch.float64:
        raise InvalidSetting(
            f"rules are checked in float64, the problem is in {problem.dtype}: build it with dtype=torch.float64"
        )
    theta, draw = own_theta(problem), generator(seed, "models of a check")
    noise = torch.randn(len(SPREADS), len(theta), generator=draw, dtype=torch.float64)
    return torch.cat([theta[None], theta + torch.tensor(SPREADS, dtype=torch.float64).unsqueeze(1) * noise])


def _intervals(segments: int, draw: torch.Generator) -> Intervals:
    width = 0.5 ** torch.randint(0, 9, (INTERVALS,), generator=draw).double()
    low = (torch.rand(INTERVALS, generator=draw).double() / width).floor() * width
    return Intervals(torch.randint(segments, (INTERVALS,), generator=draw), low, low + width)


def _output(problem: ModuleProblem, theta: Theta) -> Tensor:
    with torch.no_grad():
        found = problem.evaluating(theta, problem.observed(), problem.statistics(theta))
    if not isinstance(found, Tensor):
        raise InvalidSetting(f"rules are checked on a module that returns one tensor, not a {type(found).__name__}")
    return found


def _numbers(problem: ModuleProblem, theta: Theta) -> Tensor:
    """All that the loss and the metrics read of the outputs, one after the other."""
    with torch.no_grad():
        output = problem.evaluating(theta, problem.observed(), problem.statistics(theta))
    return torch.cat([tensor.flatten().double() for tensor in what_is_read(problem)(output)])


def _polynomial(nodes: list[Tensor], sigmas: Tensor) -> Tensor:
    """(places, n, …): the polynomial with these values at σ = −1, 1 or −1, 0, 1."""
    sigma = sigmas.view(-1, *(1,) * nodes[0].ndim)
    if len(nodes) == 2:
        return nodes[0] * (1 - sigma) / 2 + nodes[1] * (1 + sigma) / 2
    low, middle, high = nodes
    return low * sigma * (sigma - 1) / 2 + middle * (1 - sigma**2) + high * sigma * (sigma + 1) / 2
