"""Operations number by number: permutations pass, scales only where the function is homogeneous or odd."""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, factors, size_of
from weightstring.symmetry.rules.base import RULES, Call, Labels

LINEAR = {
    "_to_copy", "alias", "alpha_dropout", "clone", "contiguous", "detach", "detach_", "dropout", "dropout_",
    "feature_alpha_dropout", "feature_dropout", "identity", "lift_fresh", "lift_fresh_copy", "neg", "negative",
    "positive", "to", "type_as",
}  # fmt: skip
"""f(cx) = c f(x) for every c."""

HOMOGENEOUS = {"relu", "leaky_relu", "abs", "rrelu", "maximum", "minimum", "max", "min"}
"""f(cx) = c f(x) for c > 0."""

ODD = {"tanh", "sin", "sinh", "asinh", "arctan", "atan", "erf", "tan", "hardshrink", "softshrink", "sign", "sgn"}
"""f(−x) = −f(x)."""

UNTAGGED = ("hardswish", "hardswish_", "log_sigmoid")
"""Operations number by number that torch does not say are."""


def broadcast(call: Call, labels: list[Label], ndim: int) -> Label:
    """Tie the axes of tensors that are combined number by number; axes of length 1 are repeated."""
    axes: list[Axis] = [()] * ndim
    for label in labels:
        for dim, axis in enumerate(label.axes, start=ndim - len(label)):
            if factors(axes[dim]) and factors(axis):
                call.ties.same(axes[dim], axis)
            elif size_of(axis) != 1:  # more than one, or none
                axes[dim] = axis
    return Label(tuple(axes))


def combined(call: Call, labels: list[Label], ndim: int) -> Label:
    """As :func:`broadcast`, for sums and choices: where one tensor repeats a number, another cannot be scaled."""
    result = broadcast(call, labels, ndim)
    for label in labels:
        repeated = ((),) * (ndim - len(label)) + label.axes
        call.unscaled(*(axis for axis, given in zip(result.axes, repeated, strict=True) if not factors(given)))
    return result


@RULES.register(*UNTAGGED, *sorted((LINEAR | HOMOGENEOUS | ODD) - {"max", "min"}))
def pointwise(call: Call) -> Labels:
    """Any operation number by number."""
    tensors = call.tensors()
    name = call.op.removesuffix("_")
    result = combined(call, tensors, len(call.shape))
    numbers = [v for key, v in call.given.items() if key in ("other", "value") and isinstance(v, int | float)]
    linear = name in LINEAR or (name in ("add", "sub", "rsub") and not any(numbers))
    if not call.result.is_floating_point() or call["rounding_mode"]:
        call.unscaled(*result.axes)
    elif linear or (name in ("mul", "div") and len(tensors) == 1):
        pass  # a number times x is linear in x
    else:
        for axis in result.axes:
            call.ties.restrict(axis, positive=name in HOMOGENEOUS, negative=name in ODD)
    return result


@RULES.register("mul", "mul_", "div", "div_")
def multiplied(call: Call) -> Labels:
    """The product x · y: the scale of either passes where the other has none."""
    x, y = call.given.get("self"), call.given.get("other")
    if not (call.ties.rescaling and isinstance(x, Label) and isinstance(y, Label)) or call["rounding_mode"]:
        return pointwise(call)
    ndim = len(call.shape)
    padded = [Label(((),) * (ndim - len(label)) + label.axes) for label in (x, y)]
    axes: list[Axis] = []
    for one, other in zip(padded[0].axes, padded[1].axes, strict=True):
        first, second = factors(one), factors(other)
        if first and second:
            # Which of the two is free is known now; scales that both have are given up.
            rigid = [not any(cell.positive or cell.negative for cell, _ in axis) for axis in (first, second)]
            if rigid == [False, True] and call.op.startswith("mul"):
                axes.append(first)
                continue
            if rigid == [True, False] and call.op.startswith("mul"):
                axes.append(second)
                continue
            call.unscaled(first, second)
        axes.append(first or second)
        if call.op.startswith("div"):
            call.unscaled(second)
    return Label(tuple(axes))


@RULES.register("masked_fill", "masked_fill_")
def masked(call: Call) -> Labels:
    """Some numbers replaced by one value."""
    x, mask = call.label("self"), call.label("mask")
    result = broadcast(call, [x, mask], len(call.shape))
    call.unscaled(*mask.axes)
    if call["value"] not in (0, 0.0):
        call.unscaled(*result.axes)
    return result


@RULES.register("where")
def chosen(call: Call) -> Labels:
    """``where``: numbers of the one or the other."""
    labels = call.tensors()
    result = combined(call, labels, len(call.shape))
    if not all(isinstance(call[name], Label) or not call[name] for name in ("self", "other")):
        call.unscaled(*result.axes)
    call.unscaled(*call.label("condition").axes)
    return result


@RULES.register("prelu", "_prelu_kernel")
def slopes(call: Call) -> Labels:
    """PReLU: a slope for all, or for each channel."""
    x, weight = call.label("self"), call.label("weight")
    call.unscaled(*weight.axes)
    for axis in x.axes:
        call.ties.restrict(axis, positive=True)
    if len(x) > 1 and factors(weight.axes[0]) and not call.ties.rescaling:
        call.ties.same(x.axes[1], weight.axes[0])
    return x


@RULES.register("glu")
def gated(call: Call) -> Labels:
    """GLU: the first half times the sigmoid of the second."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    half = call.shape[dim]
    first, second = call.ties.sliced(x, dim, [0, half, 2 * half])
    if call.ties.rescaling:
        call.unscaled(second.axes[dim])
        for index, axis in enumerate(x.axes):
            if index != dim:
                call.unscaled(axis)
    else:
        for one, other in zip(first.axes, second.axes, strict=True):
            call.ties.same(one, other)
    return first


@RULES.register("copy_", "copy")
def written(call: Call) -> Labels:
    """Numbers written over others, in place."""
    x, source = call.label("self"), call.label("src")
    result = broadcast(call, [x, source], len(x))
    call.unscaled(*result.axes)
    return result
