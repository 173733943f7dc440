"""Operations that move numbers without changing them, and constants."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weightstring.symmetry.axes import Axis, Label, factors, size_of
from weightstring.symmetry.rules.base import RULES, Call, Labels, labels_in


@RULES.register("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as")
def view(call: Call) -> Labels:
    """The same numbers in the same order: dimensions are regrouped where their products agree."""
    x = call.label("self")
    sizes = [size_of(axis) for axis in x.axes]
    axes: list[Axis] = []
    start = stop = 0
    wanted = list(call.shape)
    taken = 0
    while taken < len(wanted):
        # The shortest runs of dimensions that hold equally many numbers.
        end = taken + 1
        stop = start
        while True:
            have, want = math.prod(sizes[start:stop]), math.prod(wanted[taken:end])
            if have == want:
                break
            if have < want and stop < len(sizes):
                stop += 1
            elif end < len(wanted):
                end += 1
            else:
                call.freeze(*x.axes)
                return call.fixed()
        axes += call.ties.regroup(x.axes[start:stop], wanted[taken:end])
        start, taken = stop, end
    return Label(tuple(axes))


@RULES.register("permute", "transpose", "t", "numpy_T", "mT", "adjoint", "movedim", "moveaxis", "swapaxes", "swapdims")
def permuted(call: Call) -> Labels:
    """Dimensions in another order."""
    x = call.label("self")
    ndim = len(x)
    if call.op in ("t", "numpy_T", "mT", "adjoint"):
        order = list(range(ndim))
        order[-2:] = reversed(order[-2:])
    elif call.op == "permute":
        order = [dim % ndim for dim in call["dims"]]
    elif call.op in ("movedim", "moveaxis"):
        source, target = ([v] if isinstance(v, int) else list(v) for v in (call["source"], call["destination"]))
        rest = [dim for dim in range(ndim) if dim not in {d % ndim for d in source}]
        order = rest
        for to, dim in sorted(zip((t % ndim for t in target), (s % ndim for s in source), strict=True)):
            order.insert(to, dim)
    else:
        first, second = ("dim0", "dim1") if call["dim0"] is not None else ("axis0", "axis1")
        one, other = call[first] % ndim, call[second] % ndim
        order = list(range(ndim))
        order[one], order[other] = other, one
    return Label(tuple(x.axes[dim] for dim in order))


@RULES.register("squeeze", "squeeze_")
def squeezed(call: Call) -> Labels:
    """Dimensions of length 1 taken away."""
    x = call.label("self")
    dims = call["dim"]
    chosen = range(len(x)) if dims is None else [dim % len(x) for dim in ([dims] if isinstance(dims, int) else dims)]
    return Label(tuple(axis for dim, axis in enumerate(x.axes) if dim not in chosen or factors(axis)))


@RULES.register("unsqueeze", "unsqueeze_")
def unsqueezed(call: Call) -> Labels:
    """A dimension of length 1 more."""
    x = call.label("self")
    dim = call["dim"] % (len(x) + 1)
    return Label((*x.axes[:dim], (), *x.axes[dim:]))


@RULES.register("expand", "expand_as", "broadcast_to")
def expanded(call: Call) -> Labels:
    """Dimensions of length 1 repeated: copies may be exchanged at will."""
    return _expanded(call, call.label("self"), call.shape)


@RULES.register("broadcast_tensors")
def expanded_alike(call: Call) -> Labels:
    """Several tensors, each repeated to the shape of all."""
    labels = labels_in(call["tensors"])
    return tuple(_expanded(call, label, value.shape) for label, value in zip(labels, call.result, strict=True))


def _expanded(call: Call, x: Label, shape: Sequence[int]) -> Label:
    padded = ((),) * (len(shape) - len(x)) + x.axes
    axes = [
        axis if factors(axis) or size == 1 else _repeated(call, size) for axis, size in zip(padded, shape, strict=True)
    ]
    return Label(tuple(axes))


def _repeated(call: Call, size: int) -> Axis:
    axis = call.ties.fresh(size)
    call.unscaled(axis)
    return axis


@RULES.register("repeat")
def repeated(call: Call) -> Labels:
    """Tiles along each dimension."""
    x = call.label("self")
    padded = ((),) * (len(call.shape) - len(x)) + x.axes
    axes = [
        axis if size == size_of(axis) else (*_repeated(call, size // size_of(axis)), *axis)
        for axis, size in zip(padded, call.shape, strict=True)
    ]
    return Label(tuple(axes))


@RULES.register("repeat_interleave")
def interleaved(call: Call) -> Labels:
    """Each index repeated in place, as heads of keys that several queries share."""
    x = call.label("self")
    if not isinstance(call["repeats"], int) or call["dim"] is None:
        call.freeze(*x.axes)
        return call.fixed()
    dim = call["dim"] % len(x)
    return x.replace(dim, (*x.axes[dim], *_repeated(call, call["repeats"])))


@RULES.register("zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full")
def constant(call: Call) -> Labels:
    """A tensor of one number, wherever it is looked at."""
    axes = tuple(call.ties.fresh(size) for size in call.shape)
    if "zeros" not in call.op:
        call.unscaled(*axes)
    return Label(axes)


@RULES.register("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "_set_grad_enabled")
def nothing(call: Call) -> Labels:
    """A check, which returns nothing."""
    return None
