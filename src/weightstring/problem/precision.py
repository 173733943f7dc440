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
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
