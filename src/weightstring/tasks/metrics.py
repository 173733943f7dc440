"""What the built-in tasks measure beside their loss."""

from __future__ import annotations

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.problem.engines.criteria import EACH, misclassified


def error_rate(output: Float[Tensor, "N classes"], target: Int64[Tensor, " N"]) -> Float64[Tensor, ""]:
    """Share of examples whose largest output is not their class.

    >>> import torch
    >>> error_rate(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).item()
    0.5
    """
    return (output.argmax(-1) != target).double().mean()


EACH[error_rate] = misclassified
