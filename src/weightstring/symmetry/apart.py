"""How far apart the outputs of two models are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from weightstring.symmetry.outputs import Path

MASK = 1e4
"""Numbers this many times the usual size are no results but masks, such as −1e9 before a softmax: they are compared one
by one, and do not set the scale of the others."""


class Apart:
    """How far apart one output of two models is, block by block."""

    def __init__(self) -> None:
        self._difference = self._size = self._masks = self._reach = 0.0
        self._largest = -1.0
        self._seen = 0
        self.index = 0
        """The input on which they differ most."""

    def add(self, x: Tensor, y: Tensor) -> None:
        """A further block."""
        difference, size, masks = parts(x, y)
        self._difference += difference
        self._size += size
        self._masks = max(self._masks, masks)
        each = (x - y).nan_to_num().abs().reshape(len(x), -1).amax(1) if x.ndim else (x - y).abs()[None]
        if float(each.max()) > self._largest:
            self._largest, self.index = float(each.max()), self._seen + int(each.argmax())
        self._reach = max(self._reach, float(x.nan_to_num(0.0, 0.0, 0.0).abs().max()))
        self._seen += len(each)

    @property
    def at_most(self) -> float:
        """The largest |x − y| over the largest |x|."""
        return self._largest / self._reach if self._reach else (torch.inf if self._largest else 0.0)

    @property
    def relative(self) -> float:
        """‖x − y‖ / ‖x‖ of the usual numbers, or the largest relative difference of masks."""
        return max(ratio(self._difference, self._size), self._masks)


def ratio(difference: float, size: float) -> float:
    """The root of a ratio of squared lengths; ∞ where only the size is 0."""
    return (difference / size) ** 0.5 if size else (torch.inf if difference else 0.0)


def parts(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """‖x − y‖² and ‖x‖² of the usual numbers, and the largest relative difference of masks; ∞: infinities differ."""
    finite = x.isfinite()
    if not bool((finite == y.isfinite()).all()) or not bool((x[~finite] == y[~finite])[~x[~finite].isnan()].all()):
        return 0.0, 0.0, torch.inf
    x, y = numbers_in(finite, x), numbers_in(finite, y)
    sizes = x.abs()
    nonzero = sizes[sizes > 0]
    if not len(nonzero):
        return float(y.square().sum()), 0.0, 0.0
    mask = sizes > MASK * nonzero.median()
    if not bool(mask.any()):
        return float((x - y).square_().sum()), float(sizes.square_().sum()), 0.0
    masks = float(((x - y).abs() / sizes)[mask].max())
    return float((x - y)[~mask].square().sum()), float(x[~mask].square().sum()), masks


def numbers_in(these: Tensor, x: Tensor) -> Tensor:
    """These numbers (k,), or a tensor itself if they are all."""
    return x if bool(these.all()) else x[these]


def floating(
    paths: Sequence[Path], one: Sequence[Tensor], other: Sequence[Tensor]
) -> Iterator[tuple[Path, Tensor, Tensor]]:
    """The floating and complex outputs of two models, in double precision."""
    for path, *both in zip(paths, one, other, strict=True):
        x, y = (torch.view_as_real(each) if each.is_complex() else each for each in both)
        if x.is_floating_point() and x.numel():
            yield path, x.to(torch.float64), y.to(torch.float64)
