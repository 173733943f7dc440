"""Whether two ways to compute the same agree."""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.arrays import blocks
from weightstring.problem.tensors import identical


def close(first: Tensor, second: Tensor, tolerance: float) -> bool:
    """Whether two vectors agree relative to their largest number; non-finite entries must be equal."""
    first, second = first.detach(), second.detach()
    if torch.equal(first, second):
        return True
    scale = 0.0
    for part in blocks(len(first)):
        one, other = first[part].double(), second[part].double()
        finite = one.isfinite() & other.isfinite()
        if not identical(one[~finite], other[~finite]):
            return False
        if bool(finite.any()):
            scale = max(scale, float(torch.maximum(one[finite].abs(), other[finite].abs()).amax()))
    # What is not finite is the same: its difference is not a number, or 0.
    return not any(
        bool(((first[part].double() - second[part].double()).abs() > tolerance * scale).any())
        for part in blocks(len(first))
    )
