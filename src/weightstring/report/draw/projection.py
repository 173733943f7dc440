"""Three fixed axes for many models: the principal components of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidRun

AXES = 3
NUMBERS = 1 << 17
"""Weights that are copied to float64 at a time: all models of a long search at once would fill the memory."""
COMPONENT, BEYOND = 1e-14, 1e-9
"""Shares of a squared length below which a component of the models, or what lies beyond the axes, is rounding."""


class Places(NamedTuple):
    """Where models lie on three axes, and what the axes are.

    Args:
        positions: one row for each model.
        explained: the share of the variance of the spanning models along each axis; 0 where they do not vary.
    """

    positions: Float64[Tensor, "N 3"]
    explained: tuple[float, ...]


def places(spanning: Sequence[Theta], others: Sequence[Theta] = ()) -> Places:
    """Project models onto the first three principal components of the spanning ones among them.

    Where the spanning models vary in fewer than three directions, further axes point, in turn, to that of the others
    which is farthest from the axes so far. Signs are fixed:
    the first axis points from the first spanning model to the last, the others to the spanning model farthest along.

    Only products with the spanning models are formed, not those of all pairs: P and the number of models may be large.

    Args:
        spanning: B models (P,), in order along the string.
        others: further ones.

    Returns:
        The places of all, the spanning ones first.

    Raises:
        InvalidRun: a model holds a weight that is not finite.

    >>> placed = places([torch.tensor([0.0, 0.0]), torch.tensor([4.0, 0.0])], [torch.tensor([1.0, 2.0])])
    >>> placed.positions[-1].round(decimals=9).tolist()
    [-1.0, 2.0, 0.0]
    """
    count, thetas = len(spanning), [*spanning, *others]
    products = torch.zeros(len(thetas), count, dtype=torch.float64)
    squares = torch.zeros(len(thetas), dtype=torch.float64)
    for block in _centred(thetas, count):
        products += block @ block[:count].T
        squares += block.square_().sum(dim=1)
    if not squares.isfinite().all():
        raise InvalidRun("a bead holds a weight that is not finite, so the search has no picture; check the beads")
    eigenvalues, vectors = torch.linalg.eigh(products[:count])
    total = float(eigenvalues.clamp(min=0).sum())
    positions = torch.zeros(len(thetas), AXES, dtype=torch.float64)
    explained = [0.0] * AXES
    axes = 0
    for value, vector in zip(eigenvalues.flip(0)[:AXES], vectors.flip(1).T[:AXES], strict=True):
        if float(value) > COMPONENT * total:
            positions[:, axes] = products @ vector / value.sqrt()
            explained[axes] = float(value) / total
            axes += 1
    _turn(positions, count)
    for axis in range(axes, AXES):
        beyond = squares - positions.square().sum(dim=1)
        farthest = int(beyond.argmax())
        if float(beyond[farthest]) <= BEYOND * float(squares.max()):
            break
        towards = torch.zeros_like(squares)
        for block in _centred(thetas, count):
            towards += block @ block[farthest]
        towards -= positions @ positions[farthest]
        positions[:, axis] = towards / beyond[farthest].sqrt()
    return Places(positions + 0.0, tuple(explained))


def _centred(thetas: Sequence[Theta], count: int) -> Iterator[Float64[Tensor, "N columns"]]:
    """All models less the mean of the first ``count``, in blocks of columns, each in the memory of the last."""
    size = len(thetas[0])
    width = min(size, max(1, NUMBERS // len(thetas)))
    held = torch.empty(len(thetas), width, dtype=torch.float64)
    for start in range(0, size, width):
        block = held[:, : min(width, size - start)]
        for row, theta in zip(block, thetas, strict=True):
            row.copy_(theta.detach()[start : start + width])
        block[1:] -= block[0]  # exactly zero where models agree; their mean would round
        block[0] = 0
        block -= block[:count].mean(dim=0)
        yield block


def _turn(positions: Float64[Tensor, "N 3"], count: int) -> None:
    spanning = positions[:count]
    if spanning[-1, 0] < spanning[0, 0]:
        positions[:, 0] *= -1
    for axis in range(1, AXES):
        if spanning[int(spanning[:, axis].abs().argmax()), axis] < 0:
            positions[:, axis] *= -1
