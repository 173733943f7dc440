"""Whether what is bounded is what the module computes: the traced operations run beside it, and its values in float64.

The operations that ``torch.export`` finds are those of the module while it is traced. So they are run as they are, in
the module's own dtype and on whole blocks of examples, where they must give what the module gives. And no bound may lie
under a value of the module in float64, whose own rounding every bound allows for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from weightstring.arrays import Theta, Thetas
from weightstring.errors import Unsupported
from weightstring.problem.buffers import fresh_statistics
from weightstring.problem.capabilities import Certifiable, Recalibrating, Recalibration, Traceable, certified_inputs
from weightstring.problem.tensors import named_tensors, slot_names
from weightstring.proof.enclose.bisection import Partition
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.samples import Sampled
from weightstring.tracing.faithful import run
from weightstring.tracing.program import Measured, program_of

AGREEMENT = 1000.0
"""Units of the module's own rounding by which the same operations, called in another way, may differ."""

PLACES = (0.382, 0.5, 0.71)
"""t at which a module and its traced operations are compared, each on a segment of its own where there are as many."""

MIDDLE = 0.5
"""t of the one of them where the module in float64 is held against what is proved at that point."""

COARSE = torch.finfo(torch.float32).eps
"""Rounding of what a metric may cast its numbers to."""

SUSPECTS = 8
"""Samples that are computed again in float64, at most: those that are furthest above their bounds."""

Value = Callable[[Theta], float]
Bound = Callable[[Intervals], Tensor]


def require_reproduced(problem: Traceable, quantity: str, beads: Thetas, bound: Bound, slack: Bound) -> None:
    """Run the module and what was traced of it at some places of a string, and bound it at one.

    Of three blocks of examples or more each place takes its share, so that all are looked at once.

    Args:
        problem: the module.
        quantity: what is measured of it.
        beads: (n, P) of the string.
        bound: upper bounds on intervals.
        slack: how far above its bound a value in float64 may be printed on intervals.

    Raises:
        Unsupported: they differ, or the module's value in float64 lies above the bound.
    """
    program, in_float64 = program_of(problem, quantity), value_in_float64(problem, quantity)
    (net, criterion, examples, block), estimated = certified_inputs(problem, quantity)
    whole = Measured(net, criterion, examples.keys)
    fixed, places = named_tensors(whole), slot_names(whole)
    parts = list(examples.chunks(block))
    shares = len(PLACES) if len(parts) >= len(PLACES) else 1
    for k, t in enumerate(PLACES):
        segment = k * (len(beads) - 2) // (len(PLACES) - 1)
        theta = torch.lerp(beads[segment], beads[segment + 1], t)
        tensors = fixed | {f"net.{name}": value for name, value in problem.layout.views(theta).items()}
        if estimated is not None and isinstance(problem, Recalibrating):
            tensors |= {f"net.{name}": value for name, value in problem.statistics(theta).items()}
        held = {name: tensor for name, tensor in tensors.items() if name in places}
        for part in parts[k % shares :: shares]:
            given = (part.targets, *part.leaves)
            with torch.no_grad():
                (again,) = run(program.traces[len(part)], tensors, given)
                value = functional_call(whole, held, given, tie_weights=False, strict=False)
            require_agreement(float(again), float(value), problem.dtype, f"t = {t} of segment {segment}", net)
        if t != MIDDLE:
            continue
        exact = torch.lerp(beads[segment].double(), beads[segment + 1].double(), t)
        at = torch.tensor([t], dtype=torch.float64)
        proved = float(bound(Intervals(torch.tensor([segment]), at, at)))
        require_bounded(quantity, in_float64(exact), segment, t, proved, slack)


def require_bounded(quantity: str, value: float, segment: int, t: float, proved: float, slack: Bound) -> None:
    """Refuse a value of the module in float64 that lies above the bound proved there; NaN says nothing."""
    if value > proved:
        at = torch.tensor([t], dtype=torch.float64)
        if value > proved + float(slack(Intervals(torch.tensor([segment]), at, at))):
            raise Unsupported(
                f"{quantity} is {value:.9g} at t = {t:.6g} of segment {segment}, above the proved bound {proved:.9g}: "
                "the traced operations do not reproduce the module; remove its side effects, or measure in float64"
            )


def require_agreement(again: float, value: float, dtype: torch.dtype, where: str, net: nn.Module) -> None:
    """Refuse a traced value that differs from the module's."""
    allowed = AGREEMENT * torch.finfo(dtype).eps * max(abs(again), abs(value))
    if not (abs(again - value) <= allowed or again == value or (math.isnan(again) and math.isnan(value))):
        raise Unsupported(
            f"{type(net).__name__} gives {value:.9g} at {where}, its traced operations {again:.9g}: they do not "
            "reproduce the module; it must not behave differently while it is traced (torch.compiler.is_compiling()), "
            "nor keep state from call to call"
        )


def held_to(
    problem: Certifiable, quantity: str, beads: Thetas, sampled: Sampled, partition: Partition, slack: Bound
) -> Partition:
    """A partition no bound of which lies below a sample: true of real arithmetic and of what was measured.

    Samples above their bounds are computed again in float64. If that value is above the bound too, the bound is wrong;
    if not, rounding of the module's own dtype put the sample there, and the bound is raised to it.

    Args:
        problem: what was measured and bounded.
        quantity: of it.
        beads: (n, P) of the string.
        sampled: the samples.
        partition: the bounds.
        slack: how far above its bound a value in float64 may be printed on intervals.

    Raises:
        Unsupported: a bound is wrong.
    """
    above = sampled.above(partition.intervals, partition.bounds)
    suspects = [int(k) for k in above.argsort(descending=True)[:SUSPECTS] if above[k] > 0]
    in_float64 = value_in_float64(problem, quantity) if suspects else None
    for k in suspects:
        assert in_float64 is not None
        place, sample = float(sampled.places[k]), float(sampled.values[k])
        segment = min(int(place), len(beads) - 2)
        t, bound = place - segment, sample - float(above[k])
        value = in_float64(beads[segment].double() * (1 - t) + beads[segment + 1].double() * t)
        if math.isnan(value):  # something is computed in a coarser dtype whatever the module's: what that leaves
            value = sample - COARSE**0.5 * abs(sample)
        elif beads.dtype == torch.float64:
            value = max(value, sample)
        require_bounded(quantity, value, segment, t, bound, slack)
    return replace(partition, bounds=_raised(partition, sampled))


def _raised(partition: Partition, sampled: Sampled) -> Tensor:
    """Bounds, none below a sample in its interval."""
    bounds = partition.bounds.clone()
    return bounds.scatter_reduce(0, sampled.owners(partition.intervals), sampled.values, "amax")


class Unrounded(TorchFunctionMode):
    """Raises where anything is computed in a dtype coarser than float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch calls it."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            raise TypeError(f"{func} gives {result.dtype}")
        return result


def value_in_float64(problem: Certifiable, quantity: str) -> Value:
    """The quantity as the module itself computes it in float64; NaN where it cannot."""
    if not isinstance(problem, Traceable):
        return lambda theta: float(problem.loss(theta.unsqueeze(0)))
    (net, criterion, examples, block), estimated = certified_inputs(problem, quantity)
    try:
        whole = copy.deepcopy(Measured(net, criterion, examples.keys)).double()
        estimating = None if estimated is None else copy.deepcopy(estimated.estimating).double()
    except Exception:  # whatever a stranger's module may raise
        return lambda theta: math.nan
    fixed, places = named_tensors(whole), slot_names(whole)

    def value(theta: Theta) -> float:
        tensors = fixed | {f"net.{name}": part for name, part in problem.layout.views(theta).items()}
        held = {name: tensor for name, tensor in tensors.items() if name in places}
        total = 0.0
        try:
            if estimated is not None and estimating is not None:
                held |= _statistics_in_float64(estimated, estimating, problem.layout.views(theta))
            for part in examples.chunks(block):
                given = [x.double() if x.is_floating_point() else x for x in (part.targets, *part.leaves)]
                with torch.no_grad(), Unrounded():
                    total += len(part) * float(
                        functional_call(whole, held, tuple(given), tie_weights=False, strict=False)
                    )
        except Exception:  # whatever a stranger's module may raise
            return math.nan
        return total / len(examples)

    return value


def _statistics_in_float64(
    recalibration: Recalibration, estimating: nn.Module, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Running statistics at a model, by their names in what is measured, as the module itself estimates them."""
    buffers = {name: value for name, value in named_tensors(estimating).items() if name in recalibration.names}
    statistics = fresh_statistics(next(iter(parameters.values())).flatten(), buffers)
    examples = recalibration.examples
    held = {**parameters, **statistics}
    for part in examples.chunks(recalibration.chunk):
        args, kwargs = part.arguments
        given = tree_map(lambda x: x.double() if x.is_floating_point() else x, (args, kwargs))
        with torch.no_grad(), Unrounded():
            functional_call(estimating, held, *given, tie_weights=False, strict=False)
    return {f"net.{name}": value for name, value in statistics.items()}
