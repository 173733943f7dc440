"""Tensors in another precision."""

from __future__ import annotations

import torch
from torch import Tensor


def in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Real numbers as ``dtype``, complex ones in the like (``to(dtype)`` drops imaginary parts); others as they are.

    >>> in_precision(torch.tensor([1 + 2j]), torch.float64)
    tensor([1.+2.j], dtype=torch.complex128)
    >>> in_precision(torch.tensor([1, 2]), torch.float64)
    tensor([1, 2])
    """
    return tensor.to(precision_of(tensor.dtype, dtype))


def precision_of(given: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """In what numbers of a ``given`` dtype are kept where real ones are kept as ``dtype``.

    >>> precision_of(torch.complex64, torch.float64), precision_of(torch.uint8, torch.float64)
    (torch.complex128, torch.uint8)
    """
    if given.is_complex:
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if given.is_floating_point else given
