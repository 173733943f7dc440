r"""How long a matrix makes a vector: ‖W‖₂ from above, rigorously.

For any Q that nearly diagonalises G = WᵀW, with B = QᵀGQ and ε ≥ ‖QᵀQ − I‖_∞ < 1,

    ‖W‖₂² = ‖Q⁻ᵀ B Q⁻¹‖₂ ≤ ‖B‖₂ ‖Q⁻¹‖₂² ≤ ‖B‖_∞ / (1 − ε),

as a symmetric matrix's norm is at most its largest absolute row sum. Q need not be right: it is what ``eigh`` gives,
and a bad one makes the bound larger, not wrong. γ_n of every product is added. A norm is convex, so that along the line
of an interval's weights the larger end bounds all.

A convolution of an image with zeros around it is a part of that of the whole plane, whose norm is the largest of its
symbol K̂(ω) = Σ_k K_k e^{ikω} (Sedghi, Gupta, Long 2019). One with a stride s takes s·s images of every s-th pixel. For
every vector v, |K̂(ω)v|² is a real trigonometric polynomial of degree d = length of K − 1 along each axis, and such a one
is nowhere above its largest value at N equally spaced places divided by cos(πd/N), N > 2d (Ehlich and Zeller 1964).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.groups import UNSEEN, length
from weightstring.proof.enclose.rounding import gamma

DENSITY = 8
"""Places of the grid for each degree: the bound is 8 % too high at most, for two axes."""


def spectral_norm(weight: Tensor) -> Float64[Tensor, " I"]:
    """No less than the largest singular value of real or complex matrices (I, out, in).

    Where nothing better is found, it is the root of the sum of squares.

    >>> norm = spectral_norm(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)).unsqueeze(0))
    >>> bool(3 <= norm) and bool(norm < 3 + 1e-9)
    True
    """
    count = weight.shape[1] * weight.shape[2]
    frobenius: Tensor = torch.linalg.vector_norm(weight, dim=(1, 2)) * (1 + gamma(count)) + count * UNSEEN
    if min(weight.shape[1:]) == 1 or not bool(frobenius.isfinite().all()):
        return frobenius
    scaled = weight / frobenius.view(-1, 1, 1)  # of norm 1 at most: nothing overflows
    tall = scaled if scaled.shape[1] >= scaled.shape[2] else scaled.mH
    terms, size = tall.shape[1], tall.shape[2]
    gram = tall.mH @ tall
    turn = torch.linalg.eigh((gram + gram.mH) / 2).eigenvectors
    # Of a product of two matrices of Frobenius norm f and g each entry is within γ f g, so a row sum within γ f g times
    # the root of its length; those of gram, turn and their product are at most 1, √size and √size.
    # A complex product of n terms is four real ones, of 2n terms together.
    lost = gamma(2 * terms + 4 * size) * 8 * size**2
    rows = (turn.mH @ gram @ turn).abs().sum(2).amax(1) + lost
    apart = (turn.mH @ turn - torch.eye(size, dtype=gram.dtype, device=gram.device)).abs().sum(2).amax(1) + lost
    found = (rows / (1 - apart)).sqrt() * frobenius * (1 + gamma(8))
    return torch.where((apart < 0.5) & found.isfinite(), torch.minimum(found, frobenius), frobenius)


def convolution_norm(
    kernel: Float64[Tensor, "I out in ..."], stride: Sequence[int], groups: int = 1
) -> Float64[Tensor, " I"]:
    """No less than the norm of a convolution, whatever the size of the images and the zeros around them.

    >>> mean = torch.full((1, 1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    >>> 1 <= float(convolution_norm(mean, [1, 1])) < 1.09
    True
    """
    if groups > 1:
        return torch.stack([convolution_norm(part, stride) for part in kernel.chunk(groups, 1)]).amax(0)
    kernel = _of_every_pixel(kernel, stride)
    count, lengths = len(kernel), kernel.shape[3:]
    degrees = [length - 1 for length in lengths]
    places = [DENSITY * degree if degree else 1 for degree in degrees]
    symbol: Tensor = kernel.to(torch.complex128)
    for size, grid in zip(lengths, places, strict=True):
        turns = torch.outer(torch.arange(size), torch.arange(grid)) * (2 * math.pi / grid)
        waves = torch.polar(torch.ones_like(turns, dtype=torch.float64), turns.double()).to(kernel.device)
        symbol = torch.tensordot(symbol, waves, dims=([3], [0]))  # an axis after the other: they keep their order
    flat = symbol.flatten(3).movedim(3, 1)[:, : _half(places)]  # K̂(−ω) is the conjugate of K̂(ω)
    found = spectral_norm(flat.flatten(0, 1)).view(count, -1).amax(1)
    # Of the waves' and the sums' rounding, number by number.
    lost = length(kernel.abs().flatten(3).sum(3).flatten(1) * gamma(4 * math.prod(lengths)), (-1,)).squeeze(-1)
    grown = math.prod(math.cos(math.pi * degree / grid) for degree, grid in zip(degrees, places, strict=True))
    return (found + lost) * (grown**-0.5 * (1 + gamma(8)))


def _half(places: Sequence[int]) -> int:
    """How many places of a grid, in order, hold ω or −ω for every ω."""
    return math.prod(places[1:]) * (places[0] // 2 + 1)


def _of_every_pixel(kernel: Tensor, stride: Sequence[int]) -> Tensor:
    """A convolution with strides as one without, of the images of every stride-th pixel side by side."""
    for axis, step in enumerate(stride):
        if step == 1:
            continue
        at = 3 + axis
        short = -kernel.shape[at] % step
        padded = torch.cat([kernel, kernel.new_zeros(*kernel.shape[:at], short, *kernel.shape[at + 1 :])], at)
        parts = padded.unflatten(at, (-1, step)).movedim(at + 1, 3)
        kernel = parts.flatten(2, 3)
    return kernel
