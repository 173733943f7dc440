"""Which operations let a linear map of an axis pass: those that are linear along it, and lengths.

Any other operation leaves its axes to permutations and factors.
"""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, factors
from weightstring.symmetry.rules import pointwise, reductions
from weightstring.symmetry.rules.base import RULES, Call, Labels, Rule, labels_in
from weightstring.symmetry.rules.shapes import nothing

LINEAR = pointwise.LINEAR | {
    "add", "add_", "addmm", "baddbmm", "bmm", "broadcast_tensors", "broadcast_to", "cat", "chunk", "concat",
    "concatenate", "dot", "einsum", "embedding", "expand", "expand_as", "flatten", "linear", "matmul", "mean", "mm",
    "moveaxis", "movedim", "mT", "mv", "narrow", "numpy_T", "permute", "repeat_interleave", "reshape", "reshape_as",
    "rsub", "scaled_dot_product_attention", "select", "slice", "split", "split_with_sizes", "squeeze", "squeeze_",
    "stack", "sub", "sub_", "sum", "swapaxes", "swapdims", "t", "tensor_split", "transpose", "unbind", "unflatten",
    "unsafe_chunk", "unsafe_split", "unsqueeze", "unsqueeze_", "_unsafe_view", "vdot", "view", "view_as", "zeros",
    "zeros_like", "new_zeros",
}  # fmt: skip
"""What the rule for factors says of them holds for linear maps too."""


def rule_for(call: Call, rule: Rule | None) -> Rule | None:
    """The rule for an operation in which linear maps are tied, given that for factors."""
    if call.op in SPECIAL:
        return SPECIAL[call.op]
    if call.op in LINEAR or rule is None or rule is nothing:
        return rule

    def restricted(call: Call) -> Labels:
        labels = rule(call)
        call.unscaled(*(axis for label in (*call.tensors(), *labels_in(labels)) for axis in label.axes))
        return labels

    return restricted


def _multiplied(call: Call) -> Labels:
    """The product x · y: maps of an axis that only the one has pass."""
    x, y = call.given.get("self"), call.given.get("other")
    if not isinstance(x, Label) or not isinstance(y, Label) or call["rounding_mode"]:
        return pointwise.pointwise(call)
    if x is y and call.summed and call.op.startswith("mul"):
        return _squares(call, x)
    ndim = len(call.shape)
    one, other = (((),) * (ndim - len(label)) + label.axes for label in (x, y))
    for label, vector in ((one, y), (other, x)):
        if _trainable(call, vector) and call.op.startswith("mul"):
            call.ties.unit.append((vector, label[-1]))
            return Label(label)
    return Label(tuple(_product(call, *axes) for axes in zip(one, other, strict=True)))


def _product(call: Call, one: Axis, other: Axis) -> Axis:
    """An axis of a product, or of a quotient."""
    if not factors(one) or not factors(other):
        if call.op.startswith("div"):
            call.unscaled(other)
        return one if factors(one) else other
    if call.op.startswith("mul"):
        for axis, by in ((one, other), (other, one)):
            if all(cell.fixed for cell, _ in factors(by)):
                call.ties.bind(axis, apart=True)
                return axis
    call.unscaled(one, other)
    return one


def _trainable(call: Call, vector: Label) -> bool:
    """Whether a tensor is a trainable vector."""
    return any(vector is own for own in call.ties.vectors)


def _powered(call: Call) -> Labels:
    """Squares that are then summed: of a length only orthogonal maps take nothing away."""
    exponent = call["exponent"] if call.op.startswith("pow") else 2
    if not call.summed or exponent != 2:
        return _restricted(call)
    return _squares(call, call.label("self"))


def _squares(call: Call, x: Label) -> Label:
    axes = list(x.axes)
    for dim in range(len(x)):
        if dim in call.summed:
            call.ties.bind(axes[dim], orthogonal=True)
            axes[dim] = call.ties.fresh(call.shape[dim])
        else:
            call.unscaled(axes[dim])
    return Label(tuple(axes))


def _restricted(call: Call) -> Labels:
    """A function number by number that no map passes."""
    labels = pointwise.pointwise(call)
    call.unscaled(*(axis for label in labels_in(labels) for axis in label.axes))
    return labels


def _length(call: Call) -> Labels:
    """Lengths of vectors, as of :func:`_squares`."""
    x, dims = call.label("self"), call["dim"]
    order = call["ord"] if call.op == "linalg_vector_norm" else call["p"]
    chosen = range(len(x)) if dims in (None, []) else [d % len(x) for d in ([dims] if isinstance(dims, int) else dims)]
    if order not in (2, None):
        call.unscaled(*x.axes)
        return reductions.reduced(call)
    for dim, axis in enumerate(x.axes):
        if dim in chosen:
            call.ties.bind(axis, orthogonal=True)
        else:
            call.unscaled(axis)
    axes = (() if dim in chosen else axis for dim, axis in enumerate(x.axes) if call["keepdim"] or dim not in chosen)
    return Label(tuple(axes))


def _normalised(call: Call) -> Labels:
    """LayerNorm and RMSNorm over one axis: orthogonal maps, which leave the mean where that is taken away."""
    x, weight, shift = call.label("input"), call["weight"], call["bias"]
    call.unscaled(*x.axes[:-1])
    if len(call["normalized_shape"]) != 1:
        call.unscaled(x.axes[-1])
    call.mixes(x, [len(x) - 1])
    call.ties.bind(x.axes[-1], orthogonal=True, centred=call.op == "layer_norm")
    if isinstance(weight, Label) and _trainable(call, weight):
        call.ties.unit.append((weight, x.axes[-1]))
    elif isinstance(weight, Label):
        call.unscaled(x.axes[-1])
    if isinstance(shift, Label):
        for axis, own in zip(x.axes[len(x) - len(shift) :], shift.axes, strict=True):
            call.ties.same(axis, own)
    return x


def _convolved(call: Call) -> Labels:
    """A convolution is linear along channels, unless these are in groups."""
    labels = RULES[call.op](call)
    if (call["groups"] or 1) != 1:
        call.unscaled(*(axis for label in (*call.tensors(), *labels_in(labels)) for axis in label.axes))
    return labels


SPECIAL: dict[str, Rule] = {
    **dict.fromkeys(("mul", "mul_", "div", "div_"), _multiplied),
    **dict.fromkeys(("pow", "square"), _powered),
    **dict.fromkeys(("norm", "linalg_vector_norm"), _length),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution"), _convolved),
}
