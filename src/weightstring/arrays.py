"""Names for the shapes that travel through the package.

Letters used throughout: P parameters of one model, B models side by side,
N examples, n examples in a minibatch, T positions on a segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

Theta = Float[Tensor, " P"]
"""One model: its trainable parameters, flattened, in the order of ``net.parameters()``."""

Thetas = Float[Tensor, "B P"]
"""B models side by side."""

Moving = Float[Tensor, "K P"]
"""Those K of B models that move."""

Values = Float64[Tensor, " B"]
"""One float64 number for each of B models, on the CPU."""

Positions = Float64[Tensor, " T"]
"""Positions t on a segment, float64: float32 can place a point outside [0, 1]."""

Stretch = tuple[Theta, Theta, Float64[Tensor, " _"]]
"""Two models, and positions of others between them."""

Rows = Int64[Tensor, "B n"]
"""For each of B models, the training examples of its next minibatch."""

LINE = 128
"""Bytes: two of a processor's widest vectors, which loops over numbers take at a time."""
ADDRESS = 64
"""Bytes at a multiple of which PyTorch begins a tensor of its own."""


def room(size: int, itemsize: int) -> int:
    """Numbers that a row of ``size`` takes where each row begins at a new line.

    >>> room(3, 4), room(32, 4), room(33, 8)
    (32, 32, 48)
    """
    return -(-size * itemsize // LINE) * LINE // itemsize


def aligned(thetas: Thetas, least: int = 1) -> Float[Tensor, "A P"]:
    """The same models (B, P), each at the beginning of a line; the last is repeated up to the ``least`` number of rows.

    A product or a loop may round otherwise where numbers begin amid a line, or one model is alone: with this, what
    is computed of a model does not depend on its place among others.

    >>> import torch
    >>> aligned(torch.arange(6.0).view(2, 3)).stride(), aligned(torch.ones(1, 3), 2).shape
    ((32, 1), torch.Size([2, 3]))
    """
    count, size = thetas.shape
    step = thetas.stride(0) * thetas.element_size() if count > 1 else 0
    if count >= least and thetas.stride(1) == 1 and not (step % ADDRESS or thetas.data_ptr() % ADDRESS):
        return thetas
    rows = thetas.new_zeros(max(count, least), room(size, thetas.element_size()))[:, :size]
    rows[:count] = thetas
    rows[count:] = thetas[-1]
    return rows


def together(parts: Sequence[Float[Tensor, "_ P"]]) -> Thetas:
    """Models of several tensors (·, P) as the rows of one; those of a single one are not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


NUMPY = {torch.float64: np.float64, torch.float32: np.float32}
"""What θ may be."""

BLOCK = 1 << 20
"""Numbers of a model that are turned into float64 at a time."""


BLOCK_BYTES = 1 << 24
"""Bytes of consecutive rows that are read, or looked at, at a time."""


def blocks(size: int) -> Iterator[slice]:
    """Parts of a model's ``size`` numbers, in order, each of at most :data:`BLOCK`."""
    return (slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


def in_blocks(tensor: Tensor) -> Sequence[Tensor]:
    """Consecutive rows of a tensor, few enough that what is made of them takes at most :data:`BLOCK_BYTES`."""
    return torch.split(tensor, max(1, BLOCK_BYTES * len(tensor) // max(1, tensor.nbytes)))


def is_finite(numbers: Tensor) -> bool:
    """Whether no number is NaN or infinite, read once.

    >>> import torch
    >>> is_finite(torch.ones(2)), is_finite(torch.tensor([0.0, torch.nan])), is_finite(torch.ones(0))
    (True, False, True)
    """
    # Both extremes are NaN where any number is.
    return not numbers.numel() or all(bool(extreme.isfinite()) for extreme in numbers.aminmax())


def zeros(like: Thetas) -> Thetas:
    """Zeros in the form of models (B, P), which on a CPU take memory only as they are written to.

    >>> import torch
    >>> zeros(torch.ones(1, 2))
    tensor([[0., 0.]])
    """
    if like.device.type != "cpu":
        return torch.zeros_like(like)
    # NumPy leaves zeroing to the system, page by page; PyTorch writes them.
    return torch.from_numpy(np.zeros(like.shape, NUMPY[like.dtype]))


def dot(first: Theta, second: Theta) -> float:
    """⟨first, second⟩ of two models (P,), summed in float64.

    >>> import torch
    >>> dot(torch.full((3,), 0.5), torch.ones(3))
    1.5
    """
    one, other = _room(first), _room(second)
    return math.fsum(float(one(part) @ other(part)) for part in blocks(len(first)))


def distance(first: Theta, second: Theta) -> float:
    """‖second − first‖ of two models (P,), summed in float64.

    >>> import torch
    >>> distance(torch.zeros(2), torch.tensor([3.0, 4.0]))
    5.0
    """
    one, other = _room(first), _room(second)
    return math.hypot(*(float(other(part).sub_(one(part)).norm()) for part in blocks(len(first))))


def _room(theta: Theta) -> Callable[[slice], Float64[Tensor, " n"]]:
    """Parts of a model in float64, all in the same memory: getting it anew for each takes longer than the sums."""
    held = theta.new_empty(min(len(theta), BLOCK), dtype=torch.float64)
    return lambda part: held[: part.stop - part.start].copy_(theta.detach()[part])
