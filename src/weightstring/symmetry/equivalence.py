"""Whether two models compute the same function, on real inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import NotEquivalent
from weightstring.problem import ModuleProblem
from weightstring.problem.data import sample
from weightstring.symmetry.finding import OBSERVED
from weightstring.symmetry.outputs import what_is_read

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-1}
"""How far outputs may differ by rounding, relative in norm."""

MASK = 1e4
"""Numbers this many times the usual size are no results but masks, such as −1e9 before a softmax: they are compared one
by one, and do not set the scale of the others."""


def check_equivalent(problem: ModuleProblem, one: Theta, other: Theta) -> tuple[float, int]:
    """By how much two models' outputs differ on real inputs, relative in norm, and on how many inputs.

    ‖x − y‖ / ‖x‖ of each floating output that the loss or a metric reads by itself, the largest of them; where they
    read what cannot be found in the output, of the losses of the single examples.

    Raises:
        NotEquivalent: it is more than rounding, or infinite numbers are at other places.
    """
    examples = sample(problem.observed(), OBSERVED)
    read = what_is_read(problem)
    with torch.no_grad():
        first, second = (
            _floating(read(problem.evaluating(theta, examples, problem.statistics(theta)))) for theta in (one, other)
        )
    if read.elsewhere or not first:
        first, second = ([problem.measure_each(theta)] for theta in (one, other))
    relative = max(_difference(x, y) for x, y in zip(first, second, strict=True))
    tolerance = TOLERANCES.get(problem.dtype, 1e-5)
    if not relative <= tolerance:
        remedy = "a symmetry given by hand is wrong"
        if problem.dtype != torch.float64:
            remedy += ", or rounding is large in so deep a network: build the problem with dtype=torch.float64"
        raise NotEquivalent(
            f"align: on {len(examples)} inputs the aligned model's outputs differ by {relative:.3g} in norm, more than "
            f"rounding ({tolerance:g}): {remedy}"
        )
    return relative, len(examples)


def _difference(x: Tensor, y: Tensor) -> float:
    """‖x − y‖ / ‖x‖ of the usual numbers, the largest relative difference of masks, ∞ where infinities differ.

    >>> _difference(torch.tensor([3.0, -torch.inf]), torch.tensor([3.0, -torch.inf]))
    0.0
    """
    finite = x.isfinite()
    if not bool((finite == y.isfinite()).all()) or not bool((x[~finite] == y[~finite])[~x[~finite].isnan()].all()):
        return torch.inf
    x, y = x[finite], y[finite]
    sizes = x.abs()
    nonzero = sizes[sizes > 0]
    if not len(nonzero):
        return torch.inf if bool((y != 0).any()) else 0.0
    mask = sizes > MASK * nonzero.median()
    usual = float((x - y)[~mask].norm() / x[~mask].norm())
    return max(usual, float(((x - y).abs() / sizes)[mask].max()) if bool(mask.any()) else 0.0)


def _floating(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The floating and complex ones, as float64."""
    real = (torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors)
    return [tensor.to(torch.float64) for tensor in real if tensor.is_floating_point() and tensor.numel()]
