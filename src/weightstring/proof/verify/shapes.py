"""Entries of lines moved about, chosen, or told to be of another dtype."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from weightstring.proof.verify.lines import Given, Line, Path
from weightstring.proof.verify.losses import Missed, Winner
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, array, line_of


@OPERATIONS.register(
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int", "squeeze.dim",
    "squeeze.dims", "unsqueeze.default",
)  # fmt: skip
def reshaped(at: At, x: Any, *_: Any) -> Any:
    """Other shapes of each example's numbers."""
    if isinstance(x, Path):
        return Path(*(part.reshape(at.shape) for part in x))
    if isinstance(x, np.ndarray):
        return x.reshape(at.shape)
    if not at.counted:
        raise NotVerifiable("it combines examples")
    if isinstance(x, Given):
        return x.moved(lambda v: v.reshape(len(v), *at.shape[1:]))
    return line_of(x).moved(lambda v: v.reshape(len(v), *at.shape[1:]))


@OPERATIONS.register("permute.default", "transpose.int", "t.default", "select.int", "slice.Tensor", "flip.default")
def rearranged(at: At, x: Any, *settings: Any) -> Any:
    """Axes exchanged, entries chosen."""
    operator = getattr(torch.ops.aten, at.name.split(".")[0])

    def apply(v: Any) -> Any:
        return operator(torch.from_numpy(np.ascontiguousarray(v)), *settings).numpy()

    if isinstance(x, np.ndarray):
        return apply(x)
    if isinstance(x, Path):
        return Path(*map(apply, x))
    rank = line_of(x).value.ndim
    first: Any = settings[0] if settings else 0
    if at.name.startswith("permute"):
        still = first[0] % rank == 0
    elif at.name.startswith("transpose"):
        still = 0 not in (first % rank, settings[1] % rank)
    elif at.name.startswith("flip"):
        still = all(axis % rank for axis in first)
    else:
        start, end, step = (*settings[1:], *(None,) * 3)[:3]
        everything = start in (None, 0) and (end is None or end >= sys.maxsize) and step in (None, 1)
        if at.name.startswith("slice") and first % rank == 0 and everything:
            return x
        still = first % rank != 0
    if not still:
        raise NotVerifiable("it moves or chooses examples")
    return x.moved(apply) if isinstance(x, Given) else line_of(x).moved(apply)


@OPERATIONS.register("cat.default")
def joined(at: At, parts: Sequence[Any], axis: int = 0) -> Line:
    """Side by side."""
    if axis % len(at.shape) == 0:
        raise NotVerifiable("it joins examples")
    if not all(isinstance(part, Line | Given) for part in parts):
        raise NotVerifiable("it joins what is the same for all examples to them")
    lines = [line_of(part) for part in parts]
    return Line(*(np.concatenate(column, axis) for column in zip(*lines, strict=True)))


@OPERATIONS.register("dropout.default")
def dropout(at: At, x: Any, share: float, training: bool) -> Any:
    """Nothing, in evaluation mode."""
    if training and share:
        raise NotVerifiable("it draws at random")
    return x


@OPERATIONS.register(
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "detach_.default", "lift_fresh_copy.default", "identity.default",
)  # fmt: skip
def same(at: At, x: Any, *settings: Any, **named: Any) -> Any:
    """The same numbers in another dtype, which changes data, and is refused where it would cut what depends on θ."""
    dtype = next((one for one in (*settings, *named.values()) if isinstance(one, torch.dtype)), None)
    if dtype is None:
        return x
    if isinstance(x, Given):
        return x.moved(lambda v: same(at, v, dtype))
    if isinstance(x, np.ndarray):
        return array(torch.from_numpy(np.ascontiguousarray(x).reshape(x.shape)).to(dtype))
    # Which decisions miss is a yes or no in any dtype; which class wins is a whole number.
    wide = isinstance(x, Missed) or (isinstance(x, Winner) and dtype in (torch.int32, torch.int64))
    real = isinstance(x, Line | Path | Loss)
    if not (dtype.is_floating_point and (real or isinstance(x, Winner))) and not wide:
        raise NotVerifiable("it cuts numbers to whole ones")
    if real and torch.finfo(dtype).eps > torch.finfo(at.dtype).eps:
        raise NotVerifiable(f"it rounds what depends on θ to {dtype}")
    return x


@OPERATIONS.register("_assert_tensor_metadata.default")
def asserted(at: At, *_: Any, **named: Any) -> None:
    """Torch's own check."""


@OPERATIONS.register("broadcast_tensors.default")
def broadcast(at: At, parts: Sequence[Any]) -> list[Any]:
    """Nothing, for one shape."""
    shapes = {part.values.shape[1:] if isinstance(part, Given) else line_of(part).value.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise NotVerifiable("the shapes of outputs and targets differ")
    return list(parts)


@OPERATIONS.register("getitem")
def item(at: At, parts: Sequence[Any], which: int) -> Any:
    """One of several."""
    return parts[which]
