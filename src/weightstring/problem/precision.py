"""Tensors in another precision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Dtypes(NamedTuple):
    """In what floating numbers of a data set are kept.

    Args:
        inputs: of the inputs; None: as they are.
        targets: of the targets; None: as the inputs.
    """

    inputs: torch.dtype | None
    targets: torch.dtype | None = None

    def of(self, tensors: int) -> tuple[torch.dtype | None, ...]:
        """Of each of so many tensors, the last of which are the targets."""
        return (*(self.inputs for _ in range(tensors - 1)), self.targets or self.inputs)


def named(dtype: torch.dtype) -> str:
    """A dtype by its plain name.

    >>> named(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def in_precision(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Real numbers as ``dtype``, complex ones in the like (``to(dtype)`` drops imaginary parts); others as they are.

    Without a dtype all stay as they are.

    >>> in_precision(torch.tensor([1 + 2j]), torch.float64)
    tensor([1.+2.j], dtype=torch.complex128)
    >>> in_precision(torch.tensor([1, 2]), torch.float64)
    tensor([1, 2])
    """
    return tensor.to(precision_of(tensor.dtype, dtype))


def precision_of(given: torch.dtype, dtype: torch.dtype | None) -> torch.dtype:
    """In what numbers of a ``given`` dtype are kept where real ones are kept as ``dtype`` (None: as they are).

    >>> precision_of(torch.complex64, torch.float64), precision_of(torch.uint8, torch.float64)
    (torch.complex128, torch.uint8)
    """
    if dtype is None:
        return given
    if given.is_complex:
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if given.is_floating_point else given
