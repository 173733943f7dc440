"""Whether two models compute the same function, on real inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import NotEquivalent
from weightstring.problem import ModuleProblem
from weightstring.problem.data import sample
from weightstring.symmetry.finding import OBSERVED

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-1}
"""How far outputs may differ by rounding, relative to the largest."""


def check_equivalent(problem: ModuleProblem, one: Theta, other: Theta) -> tuple[float, int]:
    """The largest relative difference of two models' outputs on real inputs, and on how many.

    Raises:
        NotEquivalent: it is more than rounding.
    """
    examples = sample(problem.observed(), OBSERVED)
    with torch.no_grad():
        first, second = (
            _floating(problem.evaluating(theta, examples, problem.statistics(theta))) for theta in (one, other)
        )
    largest, difference = 0.0, 0.0
    for x, y in zip(first, second, strict=True):
        largest = max(largest, float(x.abs().max()) if x.numel() else 0.0)
        difference = max(difference, float((x - y).abs().max()) if x.numel() else 0.0)
    relative = difference / largest if largest else difference
    tolerance = TOLERANCES.get(problem.dtype, 1e-5)
    if not relative <= tolerance:
        raise NotEquivalent(
            f"align: on {len(examples)} inputs the aligned model's outputs differ by {relative:.3g} of the largest, "
            f"more than rounding ({tolerance:g}): the symmetry is not one of this module; correct the one given by hand"
        )
    return relative, len(examples)


def _floating(output: object) -> list[Tensor]:
    """All floating tensors of an output."""
    if isinstance(output, Tensor):
        return [output.to(torch.float64)] if output.is_floating_point() else []
    parts: Sequence[object] = ()
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = output
    return [tensor for part in parts for tensor in _floating(part)]
