"""How long a convolution makes an image: its norm from above, by the symbol on a torus that the image fits in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from weightstring.proof.verify.curves import LEAST, Array, gamma

SQUARINGS = 5
"""Times that a matrix is multiplied by itself: of n rows its norm is then found to n^(1/64) of itself."""

MOST = 2.0**300
"""Numbers beyond which nothing is found."""


def convolution_norm(
    kernel: Array, image: Sequence[int], steps: Sequence[int], spread: Sequence[int], groups: int = 1
) -> float:
    """No less than ‖K‖₂ of a convolution of images with zeros around, by a kernel (out, in, …).

    On a torus as long as the image and the kernel together nothing meets itself, so that the convolution is a part of
    that of the torus, whose Fourier transform is a matrix K̂(ω) for each of the torus's frequencies. Every s-th pixel of
    the result has that of the mean of K̂ K̂* over the s frequencies that are told apart no more (Parseval).
    """
    parts = np.split(kernel, groups)
    shape = tuple(parts[0].shape)
    settings = (tuple(image), tuple(steps), tuple(spread))
    return max(_known(np.ascontiguousarray(part).tobytes(), shape, *settings) for part in parts)


@lru_cache(maxsize=64)
def _known(
    content: bytes, shape: tuple[int, ...], image: tuple[int, ...], steps: tuple[int, ...], spread: tuple[int, ...]
) -> float:
    kernel = np.frombuffer(content).reshape(shape)
    largest = float(np.abs(kernel).max(initial=0.0))
    if not largest < MOST:
        return math.inf
    scale = 2.0 ** math.frexp(largest)[1] if largest else 1.0
    return _of_symbol(kernel / scale, image, steps, spread) * scale * (1 + gamma(0)) + kernel.size * LEAST


def _of_symbol(kernel: Array, image: Sequence[int], steps: Sequence[int], spread: Sequence[int]) -> float:
    """Of a kernel of numbers up to 1."""
    symbol, lengths = kernel.astype(np.complex128), []
    for n, taps, step, apart in zip(image, kernel.shape[2:], steps, spread, strict=True):
        length = n + (taps - 1) * apart
        length += -length % step
        waves = np.exp(2j * np.pi * np.outer(np.arange(taps) * apart % length, np.arange(length)) / length)
        symbol = np.tensordot(symbol, waves, (2, 0))
        lengths.append(length)
    # Frequency j·(length/s) + m: told apart no more are those of one m.
    rows, columns = symbol.shape[:2]
    for length, step in zip(lengths, steps, strict=True):  # each axis in turn goes to the end: they keep their order
        split = symbol.reshape(rows, symbol.shape[1], step, length // step, *symbol.shape[3:])
        symbol = np.moveaxis(split, 3, -1).reshape(rows, symbol.shape[1] * step, *symbol.shape[3:], length // step)
    first = symbol.shape[2]
    half = symbol[:, :, : first // 2 + 1]  # at −ω it is the conjugate, and as long
    matrices = np.moveaxis(half.reshape(rows, symbol.shape[1], -1), -1, 0) / math.sqrt(math.prod(steps))
    small = matrices @ matrices.conj().swapaxes(1, 2)
    if matrices.shape[2] < rows:
        small = matrices.conj().swapaxes(1, 2) @ matrices
    # Of the symbol's own rounding, and that of its square, by the sizes of all terms.
    sizes = np.abs(kernel).reshape(rows, columns, -1).sum(2)
    lost = 8 * gamma(8 * (kernel[0].size + matrices.shape[2])) * (float((sizes * sizes).sum()) + LEAST)
    return math.sqrt(_largest(small, SQUARINGS) + lost) * (1 + gamma(0))


def _largest(matrices: NDArray[np.complex128], squarings: int) -> float:
    """No less than the spectral norm of any of Hermitian matrices, whose powers' norms are those of its powers."""
    lengths = np.sqrt((np.abs(matrices) ** 2).sum((1, 2)))
    top = float(lengths.max(initial=0.0)) * (1 + gamma(matrices[0].size))
    if not squarings or not 0 < top < math.inf:
        return top
    near = matrices / top
    square = near.conj().swapaxes(1, 2) @ near
    lost = 8 * gamma(4 * len(matrices[0]))  # times ‖near‖² ≤ 1
    return min(top, top * math.sqrt(_largest(square, squarings - 1) + lost) * (1 + gamma(0)))
