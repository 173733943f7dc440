r"""How long a matrix makes a vector: ‖W‖₂ from above, rigorously.

For any Q that nearly diagonalises G = WᵀW, with B = QᵀGQ and ε ≥ ‖QᵀQ − I‖_∞ < 1,

    ‖W‖₂² = ‖Q⁻ᵀ B Q⁻¹‖₂ ≤ ‖B‖₂ ‖Q⁻¹‖₂² ≤ ‖B‖_∞ / (1 − ε),

as a symmetric matrix's norm is at most its largest absolute row sum. Q need not be right: it is what ``eigh`` gives,
and a bad one makes the bound larger, not wrong. γ_n of every product is added. A norm is convex, so that along the line
of an interval's weights the larger end bounds all.

A convolution of an image with zeros around it is a part of that of a torus as long as image and kernel together, where
nothing meets itself. Of that the Fourier transform is a matrix K̂(ω) for each frequency, and its norm the largest of
these (Sedghi, Gupta, Long 2019); where a stride keeps every s-th pixel, of the matrices of the s frequencies that it no
longer tells apart side by side, divided by √s. Their norms are bounded by those of powers, ‖A‖₂ = ‖A A*‖₂^½ (Delattre
et al. 2023), within n^(1/128) for n rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.groups import UNSEEN, length
from weightstring.proof.enclose.rounding import gamma

SQUARINGS = 6
"""Times that matrices of a symbol are multiplied by themselves."""


def spectral_norm(weight: Float64[Tensor, "I out in"]) -> Float64[Tensor, " I"]:
    """No less than each matrix's largest singular value; the root of the sum of squares where nothing better is found.

    >>> norm = spectral_norm(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)).unsqueeze(0))
    >>> bool(3 <= norm) and bool(norm < 3 + 1e-9)
    True
    """
    count = weight.shape[1] * weight.shape[2]
    frobenius: Tensor = torch.linalg.vector_norm(weight, dim=(1, 2)) * (1 + gamma(count)) + count * UNSEEN
    if min(weight.shape[1:]) == 1 or not bool(frobenius.isfinite().all()):
        return frobenius
    scaled = weight / frobenius.view(-1, 1, 1)  # of norm 1 at most: nothing overflows
    tall = scaled if scaled.shape[1] >= scaled.shape[2] else scaled.mT
    terms, size = tall.shape[1], tall.shape[2]
    gram = tall.mT @ tall
    turn = torch.linalg.eigh((gram + gram.mT) / 2).eigenvectors
    # Of a product of two matrices of Frobenius norm f and g each entry is within γ f g, so a row sum within γ f g times
    # the root of its length; those of gram, turn and their product are at most 1, √size and √size.
    lost = gamma(terms + 2 * size) * 4 * size**2
    rows = (turn.mT @ gram @ turn).abs().sum(2).amax(1) + lost
    apart = (turn.mT @ turn - torch.eye(size, dtype=gram.dtype, device=gram.device)).abs().sum(2).amax(1) + lost
    found = (rows / (1 - apart)).sqrt() * frobenius * (1 + gamma(8))
    return torch.where((apart < 0.5) & found.isfinite(), torch.minimum(found, frobenius), frobenius)


def convolution_norm(
    kernel: Float64[Tensor, "I out in ..."],
    image: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Float64[Tensor, " I"]:
    """No less than the norm of a convolution of images of a size, whatever the zeros around them.

    >>> mean = torch.full((1, 1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    >>> 0.9 < float(convolution_norm(mean, [9, 9], [1, 1], [1, 1])) < 1.01
    True
    """
    if groups > 1:
        parts = kernel.chunk(groups, 1)
        return torch.stack([convolution_norm(part, image, stride, dilation) for part in parts]).amax(0)
    size = length(kernel.flatten(1), (-1,))
    if not bool(size.isfinite().all()):
        return torch.full_like(size.squeeze(-1), torch.inf)
    scaled = kernel / size.view(-1, *(1,) * (kernel.ndim - 1))  # nothing overflows
    symbol = _symbol(scaled, image, stride, dilation)
    if symbol.shape[2] > symbol.shape[3]:
        symbol = symbol.mT
    # Of the waves and their sums each number of the symbol is within γ of Σ|K|, whose squares sum to taps at most.
    taps = math.prod(kernel.shape[3:])
    lost = gamma(8 * taps) * math.sqrt(taps * math.prod(stride))
    found = (_largest(symbol, SQUARINGS) + lost) * size.squeeze(-1)
    return found * (1 + gamma(8))


def _symbol(kernel: Tensor, image: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """(I, frequencies, out, in): half of all frequencies, as K̂(−ω) is the conjugate of K̂(ω)."""
    symbol: Tensor = kernel.to(torch.complex128)
    sizes = kernel.shape[3:]
    for n, taps, step, apart in zip(image, sizes, stride, dilation, strict=True):
        around = n + (taps - 1) * apart
        around += -around % step
        places = torch.outer(torch.arange(taps) * apart, torch.arange(around)) % around
        turns = places.double() * (2 * math.pi / around)
        waves = torch.polar(torch.ones_like(turns), turns).to(kernel.device)
        # An axis goes to the end after the other; frequencies a multiple of around/step apart go to the inputs.
        found = torch.tensordot(symbol, waves, dims=([3], [0])).unflatten(-1, (step, around // step))
        symbol = found.movedim(-2, 3).flatten(2, 3) / math.sqrt(step)
    half = symbol.shape[3] // 2 + 1
    return symbol[:, :, :, :half].flatten(3).movedim(3, 1)


def _largest(matrices: Tensor, squarings: int) -> Tensor:
    """No less than the norm of any matrix (I, n, rows, columns) of each I.

    The norm of A is the root of that of A A*, and so on. On the way, matrices whose bound is already below the norm of
    another are left: they cannot be the largest. That norm need not be right, as the bound of each matrix is.
    """
    groups, each, _, columns = matrices.shape
    group = torch.arange(groups, device=matrices.device).repeat_interleave(each)
    powers = matrices.flatten(0, 1)
    sizes: list[Tensor] = []
    largest = torch.zeros(groups, dtype=torch.float64, device=matrices.device)
    for level in range(squarings):
        found = _add_size(sizes, powers, columns)
        if level == 1:
            first = torch.stack([torch.where(group == g, found, -1.0).argmax() for g in range(groups)])
            likely = torch.linalg.matrix_norm(matrices.flatten(0, 1)[first], 2) * (1 - 1e-9)
        if level:
            below = found < likely[group]
            largest = largest.scatter_reduce(0, group[below], found[below], "amax")
            group, powers, sizes = group[~below], powers[~below], [size[~below] for size in sizes]
        near = powers / sizes[-1][:, None, None]
        powers = near @ near.mH
    return largest.scatter_reduce(0, group, _add_size(sizes, powers, columns), "amax")


def _add_size(sizes: list[Tensor], powers: Tensor, columns: int) -> Tensor:
    """The bound on each matrix by the root of the sum of squares of its last power, which is noted among the sizes."""
    terms = 2 * powers.shape[-2] * powers.shape[-1]
    parts = torch.view_as_real(powers)
    found: Tensor = torch.linalg.vector_norm(parts, dim=(-3, -2, -1)) * (1 + gamma(terms)) + UNSEEN
    sizes.append(found)
    for level in range(len(sizes) - 2, -1, -1):
        # Of a complex product of n terms, whose factors' squares sum to 1 at most, the errors' squares do to γ_{4n}².
        lost = 4 * gamma(4 * (powers.shape[-2] if level else columns))
        found = torch.minimum((found + lost).sqrt() * sizes[level] * (1 + gamma(8)), sizes[level])
    return found
