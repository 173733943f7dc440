"""A check of every operation on the way: no result lies outside its enclosure, no error is longer than its length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weightstring.problem import ModuleProblem
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.softmax import Probabilities
from weightstring.tracing.steps import filled

SAMPLED = 1e-12
"""What a sample's own rounding may put outside, relative to the largest number of the result."""


def check_every_step(problem: ModuleProblem, beads: Tensor, low: float, high: float, sigmas: Tensor) -> int:
    """Try all steps of a loss on one interval of the first segment, at places σ of it.

    Args:
        problem: in float64, of few examples that it takes in one block.
        beads: (n, P) of a string.
        low: t where the interval begins.
        high: t where it ends.
        sigmas: places, from −1 to 1.

    Returns:
        How many numbers were tried.

    Raises:
        AssertionError: with the operation whose result lies outside.
    """
    enclosed = enclosing(problem, beads, "loss", 1 << 28)
    ends = (torch.tensor([t], dtype=torch.float64) for t in (low, high))
    interval = Intervals(torch.tensor([0]), *ends)
    thetas = [torch.lerp(beads[0], beads[1], (low + high) / 2 + float(s) * (high - low) / 2) for s in sigmas]
    truth = [_values(problem, enclosed, theta) for theta in thetas]
    tried = 0
    for step, value in enclosed.walked(interval):
        parts = value if isinstance(value, list) else [value]
        for k, part in enumerate(parts):
            enclosure = part.enclosure if isinstance(part, Probabilities) else part
            if isinstance(enclosure, Enclosure):
                for sigma, values in zip(sigmas, truth, strict=True):
                    true = values[step.name][k] if isinstance(value, list) else values[step.name]
                    tried += _require_inside(enclosure, true, float(sigma), step.where)
    return tried


def _values(problem: ModuleProblem, enclosed: Enclosing, theta: Tensor) -> Mapping[str, Tensor]:
    """What torch makes of θ, step by step, examples in the enclosures' order."""
    program, order = enclosed.program, enclosed.order
    trace = program.traces[len(order)]
    views = problem.layout.views(theta)
    values = dict(program.constants) | {name: views[full] for name, full in program.parameters.items() if full in views}
    given = (enclosed.examples.targets, *enclosed.examples.leaves)
    values |= {name: leaf[order] for name, leaf in zip((program.targets, *program.leaves), given, strict=True)}
    for step in trace.steps:
        values[step.name] = step.target(*filled(step.args, values), **filled(dict(step.kwargs), values))
    return {
        name: value.movedim(program.axes[name], 0) if name in program.axes and isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def _require_inside(found: Enclosure, true: Tensor, sigma: float, where: str) -> int:
    if len(found.nodes) == 2:
        centre = torch.lerp(*found.nodes, (sigma + 1) / 2)
    else:
        centre = found.nodes[1] + sigma * (found.slope + sigma * found.top)
    apart = (true.reshape(centre.shape[1:]) - centre[0]).abs()
    spare = SAMPLED * (1 + float(true.abs().max()))
    outside = float((apart - found.radius[0]).nan_to_num(-1.0).max())
    if outside > spare:
        raise AssertionError(f"{where}: a number lies {outside:.3g} outside its enclosure at {sigma:.3g}")
    if found.norm is not None:
        reach = torch.linalg.vector_norm(apart.unsqueeze(0), dim=found.axes, keepdim=True)
        beyond = float((reach - found.norm).nan_to_num(-1.0).max())
        if beyond > spare * apart.numel() ** 0.5:
            raise AssertionError(f"{where}: an error is {beyond:.3g} longer than its length at {sigma:.3g}")
    return apart.numel()
