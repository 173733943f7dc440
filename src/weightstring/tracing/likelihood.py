"""``F.gaussian_nll_loss`` as its formula, which asks its variances nothing.

torch refuses a variance below 0, so that what it computes depends on numbers. Where it computes anything, it is this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.overrides import TorchFunctionMode

SIGNATURE = signature(F.gaussian_nll_loss)


class Unasked(TorchFunctionMode):
    """Takes the place of ``gaussian_nll_loss`` while a module is traced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the call returns."""
        kwargs = kwargs or {}
        if func is F.gaussian_nll_loss:
            given = SIGNATURE.bind(*args, **kwargs)
            given.apply_defaults()
            if isinstance(given.arguments["var"], Tensor | float):
                return _likelihood(given.arguments)
        return func(*args, **kwargs)


def _likelihood(given: Mapping[str, Any]) -> Tensor:
    """½ (log v + (x − y)² / v), and ½ log 2π if asked for, with v the variance, ε at least."""
    x, v, eps = given["input"], given["var"], given["eps"]
    squares: Tensor = (x - given["target"]) ** 2
    if isinstance(v, Tensor):
        v = (v.unsqueeze(-1) if v.shape == x.shape[:-1] else v).clamp(min=eps)
        found: Tensor = 0.5 * (v.log() + squares / v)
    else:
        v = max(v, eps)
        found = 0.5 * (squares / v + math.log(v))
    if given["full"]:
        found = found + 0.5 * math.log(2 * math.pi)
    if given["reduction"] == "none":
        return found
    return found.mean() if given["reduction"] == "mean" else found.sum()
