r"""How long a matrix makes a vector: ‖W‖₂ from above, rigorously.

For any Q that nearly diagonalises G = WᵀW, with B = QᵀGQ and ε ≥ ‖QᵀQ − I‖_∞ < 1,

    ‖W‖₂² = ‖Q⁻ᵀ B Q⁻¹‖₂ ≤ ‖B‖₂ ‖Q⁻¹‖₂² ≤ ‖B‖_∞ / (1 − ε),

as a symmetric matrix's norm is at most its largest absolute row sum. Q need not be right: it is what ``eigh`` gives,
and a bad one makes the bound larger, not wrong. γ_n of every product is added. A norm is convex, so that along the line
of an interval's weights the larger end bounds all.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.proof.enclose.groups import UNSEEN
from weightstring.proof.enclose.rounding import gamma


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
