"""Entries of curves moved about, chosen, or told to be of another dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from weightstring.proof.verify.curves import Array, Axis, Curve, norm_of
from weightstring.proof.verify.losses import Missed, Winner
from weightstring.proof.verify.operations import OPERATIONS, At, Loss, NotVerifiable, array, curve_of, tensor

RESHAPED = {
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int",
}  # fmt: skip
EXCHANGED = {
    "permute.default", "transpose.int", "t.default", "movedim.int", "movedim.intlist", "swapaxes.default",
    "swapdims.default", "mT.default", "numpy_T.default",
}  # fmt: skip
CHOSEN = {"select.int", "slice.Tensor", "narrow.default", "unbind.int", "index_select.default"}
SPLIT = {"split.Tensor", "unsafe_split.Tensor", "split_with_sizes.default", "chunk.default"}
OTHERS = {
    "squeeze.dim", "squeeze.dims", "squeeze.default", "unsqueeze.default", "flip.default", "expand.default",
    "expand_as.default", "repeat.default", "repeat_interleave.self_int", "roll.default", "tril.default", "triu.default",
    "diagonal.default", "broadcast_to.default",
}  # fmt: skip
MOVES = RESHAPED | EXCHANGED | CHOSEN | SPLIT | OTHERS
"""What puts numbers elsewhere, or leaves them out."""


@OPERATIONS.register(*sorted(MOVES))
def moved(at: At, x: Any, *settings: Any, **named: Any) -> Any:
    """What torch does to each part."""

    def apply(v: Any) -> Any:
        if at.name.startswith("expand_as"):
            return np.broadcast_to(v, at.shape)
        found = at.target(
            tensor(v), *(tensor(one) if isinstance(one, np.ndarray) else one for one in settings), **named
        )
        return found.numpy() if isinstance(found, torch.Tensor) else [part.numpy() for part in found]

    if isinstance(x, np.ndarray):
        return apply(x)
    z = curve_of(x)
    parts = [apply(part) for part in z.parts]
    norms = _norms(at, z, settings, named)
    if not isinstance(parts[0], list):
        return Curve.of(parts, *norms)
    return [Curve.of(each, *norms) for each in zip(*parts, strict=True)]


def _norms(at: At, z: Curve, settings: Sequence[Any], named: Any) -> tuple[Array | None, Axis]:
    """The norm of what is moved and its axis, where the axis stays whole or is cut."""
    if z.norm is None:
        return None, -1
    if not isinstance(z.axis, int):
        return _of_images(z, at.shape) if at.name in RESHAPED else (None, -1)
    if at.name in RESHAPED:
        return _reshaped(z, at.shape)
    if at.name in EXCHANGED:
        marks = at.target(torch.empty(list(range(1, 1 + z.value.ndim))), *settings, **named).shape
        axis = list(marks).index(1 + z.axis % z.value.ndim) - z.value.ndim
        return (at.target(tensor(z.norm), *settings, **named).numpy(), axis) if axis in (-1, -2) else (None, -1)
    if at.name in SPLIT and settings and (*settings[1:], 0)[0] % z.value.ndim == z.axis % z.value.ndim:
        return z.norm, z.axis
    ahead = settings and isinstance(settings[0], int) and settings[0] - z.value.ndim * (settings[0] >= 0) < z.axis
    if at.name in ("select.int", "slice.Tensor", "squeeze.dim", "unsqueeze.default") and ahead:
        return at.target(tensor(z.norm), *settings, **named).numpy(), z.axis
    return None, -1


def _of_images(z: Curve, shape: Sequence[int]) -> tuple[Array | None, Axis]:
    """Of all numbers of each example, or of all examples, that are laid out otherwise."""
    assert z.norm is not None
    rank, kept = z.value.ndim, len(z.norm)
    whole = all(length == 1 for length in z.norm.shape[1:]) and len(shape) > 1 and shape[0] == z.shape[0]
    if not whole or rank < 2:
        return None, -1
    axes = tuple(range(-1, -len(shape) - (kept < len(z.value)), -1))
    return z.norm.reshape(kept, *(1,) * (len(shape) - 1)), axes if len(axes) > 1 else axes[0]


def _reshaped(z: Curve, shape: Sequence[int]) -> tuple[Array | None, int]:
    """Of a last axis that stays, is cut into several, or joined with those before it."""
    assert z.norm is not None
    before, after = z.shape, tuple(shape)
    if z.axis != -1 or not after:
        return None, -1
    if before[-1] == after[-1]:
        return z.norm.reshape(*after[:-1], 1), -1
    for axes in range(2, max(len(before), len(after)) + 1):
        if math.prod(after[-axes:]) == before[-1] and axes <= len(after):
            wide = np.broadcast_to(z.norm.reshape(*after[:-axes], *(1,) * axes), (*after[:-1], 1))
            return wide, -1
        if math.prod(before[-axes:]) == after[-1] and axes <= len(before):
            squares = z.norm.reshape(*after[:-1], -1)
            return norm_of(squares, -1), -1
    return None, -1


@OPERATIONS.register("cat.default", "stack.default", "hstack.default", "concat.default")
def joined(at: At, parts: Sequence[Any], axis: int = 0) -> Any:
    """Side by side."""
    join = np.stack if at.name.startswith("stack") else np.concatenate
    if all(isinstance(part, np.ndarray) for part in parts):
        return join(parts, axis)
    curves = [curve_of(part) for part in parts if not (isinstance(part, np.ndarray) and part.shape == (0,))]
    return Curve.of(join(column, axis) for column in zip(*(curve.parts for curve in curves), strict=True))


@OPERATIONS.register("index.Tensor")
def indexed(at: At, x: Any, places: Sequence[Any]) -> Curve:
    """Entries at places that data give."""
    chosen = tuple(slice(None) if place is None else place for place in places)
    if not all(isinstance(place, slice | np.ndarray) for place in chosen):
        raise NotVerifiable("its places depend on θ")
    return curve_of(x).moved(lambda v: at.target(tensor(v), [None if p is None else tensor(p) for p in places]).numpy())


@OPERATIONS.register("gather.default")
def gathered(at: At, x: Any, axis: int, places: Any, *_: Any, **__: Any) -> Curve:
    """Entries along an axis at places that data give."""
    if not isinstance(places, np.ndarray):
        raise NotVerifiable("its places depend on θ")
    return curve_of(x).moved(lambda v: np.take_along_axis(np.asarray(v), places, axis))


@OPERATIONS.register("constant_pad_nd.default", "pad.default")
def padded(at: At, x: Any, pads: Sequence[int], *settings: Any) -> Curve:
    """Numbers around."""
    value = next((float(one) for one in settings if isinstance(one, int | float)), 0.0)
    if any(isinstance(one, str) and one != "constant" for one in settings) or not math.isfinite(value):
        raise NotVerifiable("it pads with other numbers than a constant")
    z = curve_of(x)
    pad = torch.ops.aten.constant_pad_nd.default
    return Curve.of(pad(tensor(part), pads, value if i == 0 else 0.0).numpy() for i, part in enumerate(z.parts))


@OPERATIONS.register("dropout.default")
def dropout(at: At, x: Any, share: float, training: bool) -> Any:
    """Nothing, in evaluation mode."""
    if training and share:
        raise NotVerifiable("it draws at random")
    return x


@OPERATIONS.register(
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "detach_.default", "lift_fresh_copy.default", "identity.default", "to.device",
)  # fmt: skip
def same(at: At, x: Any, *settings: Any, **named: Any) -> Any:
    """The same numbers in another dtype, which changes data, and is refused where it would cut what depends on θ."""
    dtype = next((one for one in (*settings, *named.values()) if isinstance(one, torch.dtype)), None)
    if dtype is None:
        return x
    if isinstance(x, np.ndarray):
        return array(torch.from_numpy(np.ascontiguousarray(x).reshape(x.shape)).to(dtype))
    # Which decisions miss is a yes or no in any dtype; which class wins is a whole number.
    wide = isinstance(x, Missed) or (isinstance(x, Winner) and dtype in (torch.int32, torch.int64))
    real = isinstance(x, Curve | Loss)
    if not (dtype.is_floating_point and (real or isinstance(x, Winner))) and not wide:
        raise NotVerifiable("it cuts numbers to whole ones")
    if real and torch.finfo(dtype).eps > torch.finfo(at.dtype).eps:
        raise NotVerifiable(f"it rounds what depends on θ to {dtype}")
    return x


@OPERATIONS.register("broadcast_tensors.default")
def broadcast(at: At, parts: Sequence[Any]) -> list[Any]:
    """In one shape."""
    shape = np.broadcast_shapes(*(np.shape(part) if isinstance(part, np.ndarray) else part.shape for part in parts))
    return [np.broadcast_to(p, shape) if isinstance(p, np.ndarray) else p.widened(shape) for p in parts]


@OPERATIONS.register("getitem")
def item(at: At, parts: Sequence[Any], which: int) -> Any:
    """One of several."""
    return parts[which]
