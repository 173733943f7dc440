"""Checkpoints in another dtype than the module computes in: converted, and said so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.flat import DTYPES
from weightstring.problem.precision import named

CONVERTED = (*DTYPES, torch.complex64, torch.complex128)
"""Dtypes that can be converted: numbers that need no scale beside them."""


@dataclass(frozen=True)
class Conversion:
    """From which dtypes a checkpoint was converted, to which, and what that changed.

    Args:
        given: dtypes in the checkpoint.
        computed: dtypes in the module.
        change: length of the difference over that of the numbers converted.

    >>> print(Conversion((torch.bfloat16,), (torch.float32,), 0.0))
    bfloat16, computed as float32
    >>> print(Conversion((torch.float32,), (torch.bfloat16,), 0.0017))
    float32, computed as bfloat16: rounding moves its numbers by 0.17 % of their length
    """

    given: tuple[torch.dtype, ...]
    computed: tuple[torch.dtype, ...]
    change: float

    def __str__(self) -> str:
        rounded = f": rounding moves its numbers by {100 * self.change:.2g} % of their length" if self.change else ""
        given, computed = (" and ".join(map(named, dtypes)) for dtypes in (self.given, self.computed))
        return f"{given}, computed as {computed}{rounded}"


def conversion(
    given: Mapping[str, Tensor], computed: Mapping[str, torch.dtype], asked: Mapping[str, torch.dtype]
) -> Conversion | None:
    """What converting a checkpoint's tensors does; None where nothing is converted, or only as asked, without a change.

    Args:
        given: the checkpoint's tensors by name.
        computed: the module's dtypes by name.
        asked: the dtypes of the user's own module, from which ``dtype=`` asks to convert.

    Raises:
        InvalidCheckpoint: no number of the one kind is one of the other, or the module's dtype cannot hold it.
    """
    told: dict[torch.dtype, None] = {}
    into: dict[torch.dtype, None] = {}
    moved = length = 0.0
    for name, tensor in given.items():
        wanted = computed.get(name, tensor.dtype)
        if tensor.dtype == wanted:
            continue
        change, size = _change(name, tensor, wanted)
        moved, length = moved + change, length + size
        if change or tensor.dtype != asked.get(name):
            told[tensor.dtype] = into[wanted] = None
    return Conversion(tuple(told), tuple(into), math.sqrt(moved / length) if moved else 0.0) if told else None


def _change(name: str, given: Tensor, wanted: torch.dtype) -> tuple[float, float]:
    """Squared lengths of what a conversion changes in a tensor, and of the tensor."""
    if not {given.dtype, wanted} <= set(CONVERTED) or given.dtype.is_complex != wanted.is_complex:
        raise InvalidCheckpoint(
            f"{name!r} is {given.dtype} where {wanted} is expected: convert the checkpoint by its own rules"
        )
    if torch.promote_types(given.dtype, wanted) == wanted:  # holds every number of the other
        return 0.0, 0.0
    exact = given.detach().to(torch.complex128 if wanted.is_complex else torch.float64)
    rounded = exact.to(wanted)
    if bool((exact.isfinite() & ~rounded.isfinite()).any()):
        raise InvalidCheckpoint(
            f"{name!r} holds numbers of up to {float(exact.abs().nan_to_num(0, 0, 0).max()):.3g}, more than "
            f"{named(wanted)} can: pass dtype={given.dtype} to the problem"
        )
    difference = (exact - rounded.to(exact.dtype)).nan_to_num(0, 0, 0)
    return float(difference.abs().square().sum()), float(exact.nan_to_num(0, 0, 0).abs().square().sum())
