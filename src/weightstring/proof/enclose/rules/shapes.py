"""Entries moved about, chosen, or told to be of another dtype."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Data, Decision, Logits, Wrong


@rule(
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int", "squeeze.dim",
    "squeeze.dims", "unsqueeze.default",
)  # fmt: skip
def reshape(call: Call, x: object, *_: object) -> object:
    """Another shape of the same numbers, example by example."""
    if isinstance(x, Weights):
        return Weights(x.beads.reshape(len(x.beads), *call.step.shape))
    if isinstance(x, Tensor):
        return x.reshape(call.step.shape)
    shape = call.step.shape
    if not call.per_example:
        raise call.refuse("it combines different examples")
    if isinstance(x, Data):
        return x.mapped(lambda values: values.reshape(len(values), *shape[1:]), call.step.name)
    return call.enclosed(x).each(lambda v: v.reshape(*v.shape[:2], *shape[1:]))


@rule("permute.default", "transpose.int", "t.default", "select.int", "slice.Tensor", "flip.default")
def moved(call: Call, x: object, *settings: Any) -> object:
    """Entries moved or chosen, example by example."""
    operator = getattr(torch.ops.aten, call.step.op.split(".")[0])
    if isinstance(x, Tensor):
        return operator(x, *settings)
    if isinstance(x, Weights):
        return Weights(torch.func.vmap(lambda one: operator(one, *settings))(x.beads))
    values = call.enclosed(x) if not isinstance(x, Data) else x
    rank = values.values.ndim if isinstance(values, Data) else len(values.shape) - 1
    if settings and isinstance(settings[0], Sequence):
        axes = [axis % rank for axis in settings[0]]
        still = axes[0] == 0 if call.step.op.startswith("permute") else 0 not in axes
    else:
        named = settings[:2] if call.step.op.startswith("transpose") else settings[:1] or (0,)
        still = all(axis % rank != 0 for axis in named)
    whole = call.step.op.startswith("slice") and settings and settings[0] % rank == 0 and _whole(settings)
    if whole:
        return x
    if not still:
        raise call.refuse("it moves or chooses examples")
    if isinstance(values, Data):
        apply = torch.func.vmap(lambda v: _inside(operator, v, settings, rank, call))
        return values.mapped(apply, call.step.name)
    each = torch.func.vmap(torch.func.vmap(lambda v: _inside(operator, v, settings, rank, call)))
    return values.each(each)


def _whole(settings: Sequence[Any]) -> bool:
    start, end, step = (*settings[1:], *(None,) * 3)[:3]
    return start in (None, 0) and (end is None or end >= sys.maxsize) and step in (None, 1)


def _inside(operator: Callable[..., Tensor], value: Tensor, settings: Sequence[Any], rank: int, call: Call) -> Tensor:
    """An operator on one example: its axes counted without the examples'."""
    first, *rest = settings
    if call.step.op.startswith("permute"):
        return operator(value, [axis % rank - 1 for axis in first[1:]])
    if isinstance(first, Sequence):
        return operator(value, [axis % rank - 1 for axis in first])
    if call.step.op.startswith("transpose"):
        return operator(value, first % rank - 1, rest[0] % rank - 1)
    return operator(value, first % rank - 1, *rest)


@rule("cat.default")
def concatenate(call: Call, parts: Sequence[object], axis: int = 0) -> Enclosure:
    """Side by side."""
    if axis % len(call.step.shape) == 0:
        raise call.refuse("it joins examples")
    if not all(isinstance(part, Enclosure | Logits | Data) for part in parts):
        raise call.refuse("it joins what is the same for all examples to them")
    operands = [call.operand(part) for part in parts]
    at = axis % len(call.step.shape) + 1
    nodes = tuple(torch.cat(column, at) for column in zip(*(part.nodes for part in operands), strict=True))
    size = torch.stack([part.size for part in operands]).amax(0)
    return Enclosure(nodes, torch.cat([part.radius for part in operands], at), size)


@rule("dropout.default")
def dropout(call: Call, x: object, share: float, training: bool) -> object:
    """Nothing, in evaluation mode."""
    if training and share:
        raise call.refuse("it draws at random")
    return x


@rule(
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "detach_.default", "lift_fresh_copy.default", "identity.default",
)  # fmt: skip
def unchanged(call: Call, x: object, *settings: object, **named: object) -> object:
    """The same numbers in another dtype: data really change; what depends on θ is real, and may not be made coarser."""
    dtype = next((one for one in (*settings, *named.values()) if isinstance(one, torch.dtype)), None)
    if dtype is None or isinstance(x, Wrong):
        return x
    if isinstance(x, Tensor):
        return x.to(dtype)
    if isinstance(x, Data):
        return x.mapped(lambda values: values.to(dtype), call.step.name)
    if not (dtype.is_floating_point or (isinstance(x, Decision) and dtype in (torch.int32, torch.int64))):
        raise call.refuse("it cuts numbers to whole ones")
    coarser = dtype.is_floating_point and torch.finfo(dtype).eps > torch.finfo(call.dtype).eps
    if coarser and not isinstance(x, Decision):
        raise call.refuse(f"it rounds what depends on θ to {dtype}, coarser than its {call.dtype}")
    return x


@rule("_assert_tensor_metadata.default")
def asserted(call: Call, *_: object, **named: object) -> None:
    """Nothing: torch's own check."""
