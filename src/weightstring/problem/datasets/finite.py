"""Data that are no numbers are refused: they make every loss NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.arrays import in_blocks
from weightstring.errors import InvalidData
from weightstring.problem.datasets.data import Examples


def check_finite(examples: Examples, name: str, where: str = "") -> None:
    """Refuse NaN and infinities; −inf among the inputs is how attention masks are written.

    Args:
        examples: what is looked at, a block at a time.
        name: what messages call the set.
        where: in which of its rows, where these are not all.

    Raises:
        InvalidData: there are some.
    """
    for what, tensors in (("inputs", examples.leaves), ("targets", (examples.targets,))):
        for tensor in tensors:
            if not all(_usable(block, masks=what == "inputs") for block in in_blocks(tensor)):
                wrong = sum(int((~block.isfinite()).sum()) for block in in_blocks(tensor))
                raise InvalidData(
                    f"{name}: {wrong} of {tensor.numel()} numbers in the {what}{where} are NaN or infinite as "
                    f"{tensor.dtype}: remove or replace them"
                )


def _usable(tensor: Tensor, masks: bool) -> bool:
    """Whether all numbers are finite, or −inf where that ``masks``."""
    # A sum is finite only if all its terms are, and takes a fraction of the time.
    if not (tensor.is_floating_point() or tensor.is_complex()) or bool(tensor.sum().isfinite()):
        return True
    finite = torch.isfinite(tensor)
    return bool(finite.all()) or (masks and not tensor.is_complex() and bool((finite | tensor.isneginf()).all()))
