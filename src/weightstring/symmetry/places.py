"""Where units lie in tensors, by which groups of permutations, factors and linear maps are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weightstring.symmetry.blocks import Block
from weightstring.symmetry.spec import Symmetry

Place = tuple[str, int, int, int]
"""Parameter, axis, where on it the first unit is, and how far units are from each other."""


def places(symmetry: Symmetry, blocks: Sequence[Block]) -> dict[str, set[Place]]:
    """Where each group lies."""
    views = symmetry.layout.views(torch.empty(symmetry.layout.size, device="meta"))
    found: dict[str, set[Place]] = {}
    for block in blocks:
        for dim, factor in enumerate(block.factors):
            if factor.group is not None:
                found.setdefault(factor.group, set()).add(place(block, views[block.parameter], dim))
    return found


def place(block: Block, whole: Tensor, dim: int) -> Place:
    """Where the units along a dimension of a block lie in its tensor, which is contiguous."""
    part, axis = block.view(whole), block.factors[dim].axis
    offset = part.storage_offset() - whole.storage_offset()
    return block.parameter, axis, offset // whole.stride(axis) % whole.shape[axis], part.stride(dim)
