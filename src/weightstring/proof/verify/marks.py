"""What becomes of marks that say which example each number belongs to, operator by operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node

from weightstring.proof.verify.operations import NotVerifiable, tensor
from weightstring.proof.verify.shapes import MOVES

Marks: TypeAlias = NDArray[np.int64]
NOBODY = -1

MIXED = "it moves or combines examples"


def together(*parts: Marks) -> Marks:
    """The marks of what is computed of several, number by number."""
    found = parts[0]
    for other in parts[1:]:
        found, other = np.broadcast_arrays(found, other)
        if ((found != other) & (found != NOBODY) & (other != NOBODY)).any():
            raise NotVerifiable(MIXED)
        found = np.asarray(np.maximum(found, other))
    return found


def along(marks: Marks, axes: Sequence[int] | int | None) -> Marks:
    """Those of what is computed of all numbers along axes, each of length 1."""
    chosen: tuple[int, ...] = (axes,) if isinstance(axes, int) else tuple(range(marks.ndim) if axes is None else axes)
    if not chosen or not marks.size:
        return marks
    most: Marks = marks.max(chosen, keepdims=True)
    if ((marks != most) & (marks != NOBODY)).any():
        raise NotVerifiable(MIXED)
    return most


def wide(marks: Marks, shape: Sequence[int]) -> Marks:
    """Repeated."""
    return np.broadcast_to(marks, shape)


def pointwise(node: Node, *args: Any, **named: Any) -> Marks:
    """Each number is made of those in its place."""
    parts = [part for part in (*args, *named.values()) if isinstance(part, np.ndarray)]
    return wide(together(*parts), shape_of(node))


def _moved(node: Node, marks: Marks, *settings: Any, **named: Any) -> Any:
    name = name_of(node)
    if name == "expand_as.default":
        return wide(marks, shape_of(node))
    if name == "slice.Tensor":
        axis, start, end, step = (dict(enumerate(settings)).get(place, 0 if place == 0 else None) for place in range(4))
        everything = start in (None, 0) and (end is None or end >= np.iinfo(np.int64).max) and step in (None, 1)
        if not everything and (marks != marks.max(axis, keepdims=True)).any():
            raise NotVerifiable("it moves or chooses examples")
    if name in ("roll.default", "tril.default", "triu.default", "diagonal.default"):
        along(marks, (-2, -1) if name != "roll.default" else None)
        if name in ("tril.default", "triu.default"):
            return marks
    given = tensor(marks)
    found = node.target(given, *settings, **named)  # type: ignore[operator]
    parts = [found] if isinstance(found, torch.Tensor) else found
    everyone = set(np.unique(marks).tolist())
    for part in parts:
        if set(part.unique().tolist()) != everyone:
            raise NotVerifiable("it moves or chooses examples")
    return found.numpy() if isinstance(found, torch.Tensor) else [part.numpy() for part in found]


def _selected(node: Node, x: Marks, axis: int, index: Marks) -> Marks:
    """Entries of an axis along which no examples lie."""
    return wide(along(x, axis), shape_of(node))


def _joined(node: Node, parts: Sequence[Marks], axis: int = 0) -> Marks:
    join = np.stack if name_of(node).startswith("stack") else np.concatenate
    found: Marks = join([part for part in parts if part.shape != (0,)], axis)
    return found


def _along_one(place: int, default: Any = None) -> Callable[..., Marks]:
    """Of what is taken along an axis, or axes, that the argument at a place names."""

    def marks(node: Node, x: Marks, *settings: Any, **named: Any) -> Marks:
        axes = settings[place - 1] if len(settings) >= place else default
        axes = None if axes in (None, []) else axes
        most = along(x, axes)
        shape = shape_of(node)
        if len(shape) < x.ndim and most.size != math.prod(shape):
            raise NotVerifiable(MIXED)
        return most.reshape(shape) if len(shape) < x.ndim else wide(most, shape)

    return marks


def _last_axes(node: Node, x: Marks, shape: Sequence[int], *rest: Any, **named: Any) -> Any:
    found = wide(along(x, range(-len(shape), 0)), x.shape)
    return [found] * 3 if name_of(node).startswith("native") else found


def rows_alone(node: Node, x: Marks, *rest: Any, **named: Any) -> Any:
    """Each row is made of the same row."""
    if name_of(node).startswith("conv") and x.ndim != rest[0].ndim:
        raise NotVerifiable("its input has no axis of examples")
    if any(isinstance(part, np.ndarray) and (part != NOBODY).any() for part in rest):
        raise NotVerifiable(MIXED)
    rows = along(x, range(1, x.ndim)).reshape(-1)
    if not isinstance(node.meta["val"], torch.Tensor):
        return [wide(rows.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)]
    shape = shape_of(node)
    return wide(rows.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _linear(node: Node, x: Marks, weight: Marks, bias: Marks | None = None) -> Marks:
    parts = [along(x, -1), along(weight, None).reshape(-1)]
    return wide(together(*parts, *(() if bias is None else (along(bias, None).reshape(-1),))), shape_of(node))


def _product(node: Node, x: Marks, y: Marks) -> Marks:
    a, b = along(x, -1), along(y, -2 if y.ndim > 1 else -1)
    a = a[..., 0] if y.ndim == 1 else a
    if x.ndim == 1:
        b = b[..., 0, :] if y.ndim > 1 else b[0]
    return wide(together(a, b), shape_of(node))


def _shifted_product(node: Node, bias: Marks, x: Marks, y: Marks, **named: Any) -> Marks:
    return wide(together(bias, _product(node, x, y)), shape_of(node))


def _einsum(node: Node, equation: str, parts: Sequence[Marks], *_: Any) -> Marks:
    given, result = equation.replace(" ", "").split("->")
    found = []
    for marks, letters in zip(parts, map(str, given.split(",")), strict=True):
        if "." in letters:
            raise NotVerifiable(f"its formula is {equation}")
        kept = along(marks, [i for i, letter in enumerate(letters) if letter not in result])
        order = [letters.index(letter) for letter in result if letter in letters]
        turned = kept.transpose(*order, *(i for i in range(len(letters)) if i not in order))
        lengths = iter(turned.shape)
        found.append(turned.reshape([next(lengths) if letter in letters else 1 for letter in result]))
    return wide(together(*found), shape_of(node))


def _attention(
    node: Node, q: Marks, k: Marks, v: Marks, mask: Any = None, dropped: float = 0.0, causal: bool = False, **named: Any
) -> Marks:
    k, v = (along(part, (-2, -1)) for part in (k, v))
    if named.get("enable_gqa"):
        k, v = (part.repeat(q.shape[-3] // part.shape[-3], -3) for part in (k, v))
    return wide(together(along(q, -1), k, v, *(() if mask is None else (along(mask, -1),))), shape_of(node))


def _lookup(node: Node, weight: Marks, rows: Marks, *_: Any) -> Marks:
    return wide(together(rows[..., None], along(weight, None).reshape(-1)), shape_of(node))


def _indexed(node: Node, x: Marks, places: Sequence[Any]) -> Marks:
    chosen = [axis for axis, place in enumerate(places) if place is not None]
    marks = along(x, chosen)
    own = together(*(places[axis] for axis in chosen))
    if (own != NOBODY).any():
        if len(chosen) != chosen[-1] - chosen[0] + 1:
            raise NotVerifiable(MIXED)
        of_places = own.reshape(*own.shape, *(1,) * (x.ndim - 1 - chosen[-1]))
    else:
        of_places = np.full((), NOBODY)
    start = [None if place is None else torch.zeros(own.shape, dtype=torch.int64) for place in places]
    found: Marks = torch.ops.aten.index.Tensor(tensor(marks), start).numpy()
    return wide(together(found, of_places), shape_of(node))


def _gathered(node: Node, x: Marks, axis: int, places: Marks, *_: Any, **__: Any) -> Marks:
    return together(places, along(x, axis))


def _recurrent(node: Node, x: Marks, start: Any, weights: Any, *settings: Any) -> list[Marks]:
    batch = 0 if settings[-1] else 1
    rows = along(x, [axis for axis in range(3) if axis != batch]).reshape(-1)
    for part in start if isinstance(start, list) else [start]:
        together(rows, along(part, (0, 2)).reshape(-1))
    shapes = [tuple(part.shape) for part in node.meta["val"]]
    outputs = rows[:, None, None] if batch == 0 else rows[None, :, None]
    return [wide(outputs, shapes[0]), *(wide(rows[None, :, None], shape) for shape in shapes[1:])]


def of_loss(node: Node, x: Marks, target: Any = None, *rest: Any, **named: Any) -> Marks:
    """Of a mean or sum, of nobody; of each, as it comes."""
    classes = name_of(node).split(".")[0] in ("cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d")
    if classes and x.ndim > 1:
        x = along(x, 1)
        x = x[:, 0] if target.ndim < x.ndim else x
    if classes and target.ndim > 1 and target.ndim == x.ndim and x.shape[1] == 1 != target.shape[1]:
        target = along(target, 1)
    marks = x if not isinstance(target, np.ndarray) else together(x, target)
    if not isinstance(node.meta["val"], torch.Tensor) or shape_of(node):
        return wide(marks[:, 0] if marks.ndim > len(shape_of(node)) else marks, shape_of(node))
    found, counts = np.unique(marks, return_counts=True)
    if len(set(counts.tolist())) > 1 or (len(found) > 1 and NOBODY in found):
        raise NotVerifiable("examples do not enter it alike")
    return np.full((), NOBODY)


def name_of(node: Node) -> str:
    """The operator's."""
    return "getitem" if getattr(node.target, "__name__", "") == "getitem" else str(node.target).removeprefix("aten.")


def shape_of(node: Node) -> tuple[int, ...]:
    """Of a result; of what is no tensor, none."""
    return tuple(getattr(node.meta.get("val"), "shape", ()))


_AXIS = _along_one(1)
RULES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(MOVES, _moved),
    **dict.fromkeys(("cat.default", "stack.default", "concat.default"), _joined),
    **dict.fromkeys(
        (
            "mean.dim", "sum.dim_IntList", "var.dim", "var.correction", "std.dim", "std.correction", "amax.default",
            "amin.default", "softmax.int", "_softmax.default", "_safe_softmax.default", "log_softmax.int",
            "_log_softmax.default", "logsumexp.default", "cumsum.default", "argmax.default",
        ), _AXIS),
    **dict.fromkeys(("layer_norm.default", "native_layer_norm.default", "rms_norm.default"), _last_axes),
    **dict.fromkeys(
        (
            "conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding", "max_pool1d.default",
            "max_pool2d.default", "avg_pool1d.default", "avg_pool2d.default", "adaptive_avg_pool1d.default",
            "adaptive_avg_pool2d.default", "batch_norm.default", "_native_batch_norm_legit_no_training.default",
            "instance_norm.default", "constant_pad_nd.default", "pad.default",
        ), rows_alone),
    "group_norm.default": lambda node, x, groups, *rest: rows_alone(node, x, *rest),
    "linear.default": _linear,
    **dict.fromkeys(("matmul.default", "mm.default", "bmm.default", "mv.default", "dot.default"), _product),
    **dict.fromkeys(("addmm.default", "baddbmm.default"), _shifted_product),
    "einsum.default": _einsum,
    "scaled_dot_product_attention.default": _attention,
    "embedding.default": _lookup,
    "index.Tensor": _indexed,
    "gather.default": _gathered,
    "index_select.default": _selected,
    **dict.fromkeys(("lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input"), _recurrent),
    "getitem": lambda node, parts, which: parts[which],
    "broadcast_tensors.default": lambda node, parts: list(np.broadcast_arrays(*parts)),
}  # fmt: skip
"""What becomes of the marks; of other operators each number is made of those in its place, if torch says so."""

LOSSES = {
    "cross_entropy_loss.default", "nll_loss_nd.default", "nll_loss.default", "nll_loss2d.default", "mse_loss.default",
    "l1_loss.default", "huber_loss.default", "smooth_l1_loss.default", "binary_cross_entropy_with_logits.default",
    "binary_cross_entropy.default", "kl_div.default", "mean.default", "sum.default",
}  # fmt: skip
"""What sums over examples."""

IN_PLACE = {
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "dropout.default", "detach_.default", "lift_fresh_copy.default", "identity.default", "to.device",
    "masked_fill.Scalar", "masked_fill.Tensor", "log_sigmoid.default", "rsub.Scalar", "rsub.Tensor",
    "where.Scalar", "where.ScalarOther", "where.ScalarSelf",
}  # fmt: skip
"""What leaves every number where it is, as torch's pointwise operators do."""
