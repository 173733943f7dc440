"""Entries moved about, chosen, or told to be of another dtype."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.groups import length, reshaped
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Data, Decision, Logits, Wrong
from weightstring.tracing.program import TRACED


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
    lead, *rest = call.step.shape or (0,)
    if not call.per_example or lead % TRACED:
        raise call.refuse("it combines different examples")
    # Tokens of all examples side by side are as many for each.
    if isinstance(x, Data):
        return x.mapped(lambda values: values.reshape(-1, *rest), call.step.name)
    if isinstance(x, Logits) and rest[-1:] == [x.layer.outputs]:  # the last axis stays
        inner = (len(call.rows.rows) * (lead // TRACED), *rest[:-1], x.hidden.shape[-1])
        return replace(x, hidden=_reshaped(x.hidden, inner))
    return _reshaped(call.enclosed(x), (len(call.rows.rows) * (lead // TRACED), *rest))


def tokens_of(x: Logits) -> Logits:
    """The outputs of all tokens side by side, as many for each example."""
    shape = x.hidden.shape
    return replace(x, hidden=_reshaped(x.hidden, (shape[1] * shape[2], shape[3])))


def _reshaped(x: Enclosure, shape: Sequence[int]) -> Enclosure:
    """Each interval's numbers in another shape."""
    whole = (x.shape[0], *shape)
    found = x.each(lambda values: values.reshape(whole))
    return found if x.norm is None else replace(found, norm=reshaped(x.norm, x.shape, whole))


@rule("permute.default", "transpose.int", "t.default", "select.int", "slice.Tensor", "flip.default")
def moved(call: Call, x: object, *settings: Any) -> object:
    """Entries moved or chosen, example by example."""
    operator = getattr(torch.ops.aten, call.step.op.split(".")[0])
    if isinstance(x, Tensor):
        return operator(x, *settings)
    if isinstance(x, Weights):
        return Weights(torch.func.vmap(lambda one: operator(one, *settings))(x.beads))
    if isinstance(x, Logits) and call.deferred and len(call.step.shape) == 3 and {a % 3 for a in settings} == {1, 2}:
        return tokens_of(x)  # classes along axis 1, as torch's losses read them
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
    if values.norm is None:
        return values.each(each)
    return values.each(each, _of_groups(values, each, call, settings, rank))


def _of_groups(
    x: Enclosure, each: Callable[[Tensor], Tensor], call: Call, settings: Sequence[Any], rank: int
) -> Callable[[Tensor], Tensor]:
    """How lengths of groups move: of chosen numbers the group's still holds."""
    axis = settings[0] % rank + 1 if settings and isinstance(settings[0], int) else 0
    if not call.step.op.startswith(("select", "slice")) or x.norm is None or x.norm.shape[axis] != 1:
        return each

    def chosen(norm: Tensor) -> Tensor:
        sizes = [*norm.shape]
        sizes[axis] = x.shape[axis]
        found = each(norm.expand(sizes))
        return found.narrow(axis, 0, 1) if call.step.op.startswith("slice") else found

    return chosen


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
    """Side by side; torch leaves out what has no numbers and one axis, such as a cache before its first use."""
    parts = [part for part in parts if not (isinstance(part, Tensor) and part.shape == (0,))]
    if axis % len(call.step.shape) == 0:
        raise call.refuse("it joins examples")
    if not all(isinstance(part, Enclosure | Logits | Data) for part in parts):
        raise call.refuse("it joins what is the same for all examples to them")
    operands = [call.operand(part) for part in parts]
    at = axis % len(call.step.shape) + 1
    lead = [max(part.shape[k] for part in operands) for k in (0, 1)]

    def wide(values: Tensor) -> Tensor:
        return values.expand(*lead, *values.shape[2:])

    return _side_by_side([part.each(wide, wide) for part in operands], at)


def _side_by_side(parts: Sequence[Enclosure], axis: int) -> Enclosure:
    nodes = tuple(torch.cat(column, axis) for column in zip(*(part.nodes for part in parts), strict=True))
    size = torch.stack([part.size for part in parts]).amax(0)
    found = Enclosure(nodes, torch.cat([part.radius for part in parts], axis), size)
    axes = next((part.axes for part in parts if part.norm is not None), None)
    if axes is None:
        return found
    norm, along = torch.cat([part.over(axes) for part in parts], axis), axis - len(found.shape)
    return replace(found, norm=length(norm, (along,)) if along in axes else norm)


@rule("split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int", "unsafe_split.Tensor")
def split(call: Call, x: object, *settings: Any) -> list[object]:
    """Several parts along an axis of each example."""
    axis = settings[-1] if len(settings) > 1 or (call.step.op.startswith("unbind") and settings) else 0
    operator = getattr(torch.ops.aten, call.step.op.split(".")[0])
    if isinstance(x, Tensor):
        return list(operator(x, *settings))
    if isinstance(x, Weights):
        parts = torch.func.vmap(lambda one: tuple(operator(one, *settings)))(x.beads)
        return [Weights(part) for part in parts]
    shape = x.values.shape if isinstance(x, Data) else call.enclosed(x).shape[1:]
    at = axis % len(shape)
    if at == 0:
        raise call.refuse("it moves or chooses examples")
    counted = torch.arange(shape[at])
    found, ends = list[object](), list[tuple[int, int]]()
    for part in operator(counted, *settings[:-1], 0) if not call.step.op.startswith("unbind") else counted:
        low = int(part.flatten()[0])
        ends.append((low, low + part.numel()))
    whole = call.step.op.startswith("unbind")
    for low, high in ends:
        found.append(_cut(call, x, at, low, high, whole))
    return found


def _cut(call: Call, x: object, axis: int, low: int, high: int, dropped: bool) -> object:
    """What lies between two places along an axis, counted with the examples'."""

    def chosen(values: Tensor, at: int) -> Tensor:
        part = values.narrow(at, low, high - low)
        return part.squeeze(at) if dropped else part

    if isinstance(x, Data):
        return x.mapped(lambda values: chosen(values, axis), f"{call.step.name}/{low}")
    z = call.enclosed(x)

    def of_groups(norm: Tensor) -> Tensor:
        if norm.shape[axis + 1] != 1:
            return chosen(norm, axis + 1)
        return norm.squeeze(axis + 1) if dropped else norm

    return z.each(lambda values: chosen(values, axis + 1), of_groups)


@rule("stack.default")
def stacked(call: Call, parts: Sequence[object], axis: int = 0) -> object:
    """Side by side along an axis of their own."""
    rank = len(call.step.shape)
    if axis % rank == 0:
        raise call.refuse("it moves the examples")
    at = axis % rank + 1

    def opened(values: Tensor) -> Tensor:
        return values.unsqueeze(at)

    return _side_by_side([call.enclosed(part).each(opened, opened) for part in parts], at)


@rule("expand.default")
def expanded(call: Call, x: object, shape: Sequence[int], **_: object) -> object:
    """The same numbers repeated: those of a parameter for each example."""
    rank = len(call.step.shape)
    if isinstance(x, Tensor) and not call.per_example:
        return x.expand(call.step.shape)
    if isinstance(x, Weights) and not call.per_example:
        return Weights(
            x.beads.reshape(len(x.beads), *(1,) * (rank + 1 - x.beads.ndim), *x.beads.shape[1:]).expand(
                len(x.beads), *call.step.shape
            )
        )
    if isinstance(x, Data):
        return x.mapped(lambda values: values.expand(len(values), *call.step.shape[1:]), call.step.name)
    z = call.operand(x)
    whole = (len(call.intervals), len(call.rows.rows), *call.step.shape[1:])
    return z.each(lambda values: values.expand(whole))


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
