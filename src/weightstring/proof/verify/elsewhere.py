"""Operations of a module that has the examples along another axis than the first, as a sequence-first network does.

Lines have them along axis 0 always. What only moves numbers is done in the module's own layout, and brought back; of
the rest it is seen that it leaves examples apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from weightstring.proof.verify.lines import Array, Given
from weightstring.proof.verify.operations import OPERATIONS, At, NotVerifiable, line_of

EXCHANGES = {
    "permute.default", "transpose.int", "t.default", "movedim.int", "movedim.intlist", "swapaxes.default",
    "swapdims.default", "mT.default", "numpy_T.default",
}  # fmt: skip
CHOICES = {"select.int", "slice.Tensor", "squeeze.dim"}
SHAPES = {"view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int"}
PLACES = {
    "to.dtype", "to.dtype_layout", "_to_copy.default", "contiguous.default", "clone.default", "detach.default",
    "alias.default", "dropout.default",
}  # fmt: skip
"""What leaves every number where it is, as torch's pointwise operators do."""

MIXED = "it moves or combines examples"


def elsewhere(at: At, node: Node, axes: Mapping[str, int], args: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What an operation makes of lines.

    Args:
        at: where it stands; its shape has the examples first.
        node: as traced.
        axes: where the module has the examples, in each result and input that has them.
        args: its arguments, examples first.
        named: likewise.

    Raises:
        NotVerifiable: it may not leave the examples apart.
    """
    if node.name not in axes:
        raise NotVerifiable(MIXED)
    to, rank = axes[node.name], len(at.shape)
    if at.name in PLACES or torch.Tag.pointwise in getattr(node.target, "tags", ()):
        for used in node.all_input_nodes:
            own = _rank(used)
            if (axes[used.name], own) != (to, rank) if used.name in axes else own >= rank - to:
                raise NotVerifiable(MIXED)
        return OPERATIONS[at.name](at, *args, **named)
    if at.name == "cat.default":
        axis = (*args[1:], 0)[0] % rank
        if axis == to or any(axes.get(part.name) != to for part in node.all_input_nodes):
            raise NotVerifiable(MIXED)
        return OPERATIONS[at.name](at, args[0], _ahead(axis, to))
    first = node.args[0]
    if not isinstance(first, Node) or first.name not in axes:
        raise NotVerifiable(MIXED)
    place, before = axes[first.name], _rank(first)
    if at.name in ("linear.default", "matmul.default"):
        if place == before - 1 or any(used.name in axes for used in node.all_input_nodes[1:]):
            raise NotVerifiable(MIXED)
        return OPERATIONS[at.name](at, *args, **named)
    if at.name in ("mean.dim", "sum.dim_IntList"):
        chosen = [axis % before for axis in args[1] or range(before)]
        if place in chosen:
            raise NotVerifiable(MIXED)
        return OPERATIONS[at.name](at, args[0], [_ahead(axis, place) for axis in chosen], *args[2:], **named)
    _require_apart(at, node, first, place, to)

    def apply(values: Array) -> Array:
        own = torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, 0, place)))
        if at.name in SHAPES:
            shape = list(at.shape[1:])
            shape.insert(to, len(values))
            return np.moveaxis(own.reshape(shape).numpy(), to, 0)
        return np.moveaxis(node.target(own, *args[1:], **named).numpy(), to, 0)  # type: ignore[operator]

    return args[0].moved(apply) if isinstance(args[0], Given) else line_of(args[0]).moved(apply)


def _require_apart(at: At, node: Node, first: Node, place: int, to: int) -> None:
    """Refuse what is not known to move numbers within each example."""
    before = tuple(first.meta["val"].shape)
    if at.name in SHAPES:
        ahead = place + 1
        apart = place == to and before[:ahead] == tuple(node.meta["val"].shape)[:ahead]
    elif at.name in CHOICES:
        axis = node.args[1]
        apart = isinstance(axis, int) and axis % len(before) != place
    else:
        apart = at.name in EXCHANGES or at.name == "unsqueeze.default"
    if not apart:
        raise NotVerifiable(MIXED)


def _ahead(axis: int, examples: int) -> int:
    """Which axis it is once the examples are first."""
    return axis + (axis < examples)


def _rank(node: Node) -> int:
    return len(getattr(node.meta.get("val"), "shape", ()))
