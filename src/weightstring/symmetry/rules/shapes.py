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
    call.plain(axis)
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


@RULES.register("cat", "concat", "concatenate")
def joined(call: Call) -> Labels:
    """Tensors one after the other along a dimension."""
    labels = [label for label in labels_in(call["tensors"]) if all(size_of(axis) for axis in label.axes)]
    first, *others = labels
    dim = (call["dim"] or 0) % len(first)
    for other in others:
        for index, (axis, own) in enumerate(zip(first.axes, other.axes, strict=True)):
            if index != dim:
                call.ties.same(axis, own)
    return first.replace(dim, call.ties.joined([label.axes[dim] for label in labels]))


@RULES.register("stack")
def stacked(call: Call) -> Labels:
    """Tensors side by side along a new dimension."""
    labels = labels_in(call["tensors"])
    dim = (call["dim"] or 0) % (len(labels[0]) + 1)
    which: Axis = ()
    axes: list[Axis] = []
    for own in zip(*(label.axes for label in labels), strict=True):
        outer, axis = call.ties.family(own) if factors(own[0]) else ((), ())
        if factors(which) and factors(outer):
            call.ties.same(which, outer)
        which = which or outer
        axes.append(axis)
    return Label((*axes[:dim], which or call.ties.fixed(len(labels)), *axes[dim:]))


@RULES.register("split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_split", "unsafe_chunk")
def parted(call: Call) -> Labels:
    """A tensor cut into pieces along a dimension."""
    x = call.label("tensor" if "tensor" in call.given else "self")
    dim = (call["dim"] or 0) % len(x)
    bounds = [0]
    for piece in call.result:
        bounds.append(bounds[-1] + (1 if call.op == "unbind" else piece.shape[dim]))
    pieces = call.ties.sliced(x, dim, bounds)
    return tuple(piece.replace(dim) if call.op == "unbind" else piece for piece in pieces)


@RULES.register("slice", "narrow")
def sliced(call: Call) -> Labels:
    """One run of indices of a dimension."""
    x = call.label("self")
    dim = (call["dim"] or 0) % len(x)
    size = size_of(x.axes[dim])
    if call.op == "narrow":
        start, stop, step = call["start"] % size, call["start"] % size + call["length"], 1
    else:
        start, stop, step = slice(call["start"], call["end"], call["step"] or 1).indices(size)
    if (start, stop, step) == (0, size, 1):
        return x
    if step != 1 or stop <= start:
        call.freeze(x.axes[dim])
        return x.replace(dim, call.ties.fixed(call.shape[dim]))
    return call.ties.run(x, dim, start, stop)


@RULES.register("select")
def selected(call: Call) -> Labels:
    """One index of a dimension."""
    x = call.label("self")
    dim = (call["dim"] or 0) % len(x)
    size = size_of(x.axes[dim])
    index = call["index"] % size
    return call.ties.run(x, dim, index, index + 1).replace(dim)


@RULES.register("index")
def indexed(call: Call) -> Labels:
    """Numbers picked by indices along some dimensions, the others left whole."""
    x, indices = call.label("self"), list(call["indices"])
    if any(index is not None and not isinstance(index, Label) for index in indices):
        return picked(call)
    used = [dim for dim, index in enumerate(indices) if index is not None]
    if len(indices) > len(x) or used != list(range(used[0], used[-1] + 1)):
        return picked(call)  # what is picked comes first, or masks take several dimensions
    call.freeze(*(x.axes[dim] for dim in used))
    call.plain(*(axis for index in indices if index is not None for axis in index.axes))
    many = len(call.shape) - (len(x) - len(used))
    which = call.fixed(call.shape[used[0] : used[0] + many]).axes
    return Label((*x.axes[: used[0]], *which, *x.axes[used[-1] + 1 :]))


@RULES.register("index_select")
def index_selected(call: Call) -> Labels:
    """Indices of one dimension."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim])
    return x.replace(dim, call.ties.fixed(call.shape[dim]))


@RULES.register("gather", "take", "index_put", "scatter")
def picked(call: Call) -> Labels:
    """Numbers picked by an index: all axes are fixed."""
    for label in call.tensors():
        call.freeze(*label.axes)
    return call.fixed()


@RULES.register("roll", "flip", "cumsum", "cumprod", "logcumsumexp")
def turned(call: Call) -> Labels:
    """Indices of some dimensions in another fixed order."""
    x = call.label("self")
    dims = call["dims"] if call["dims"] is not None else call["dim"]
    chosen = (
        range(len(x))
        if dims is None or dims == []
        else [d % len(x) for d in ([dims] if isinstance(dims, int) else dims)]
    )
    call.freeze(*(x.axes[dim] for dim in chosen))
    if call.op in ("cumprod", "logcumsumexp"):
        call.plain(*x.axes)
    # Not the same axis any more: what lies at one of its indices now lay at another.
    axes = (call.ties.fixed(size_of(axis)) if dim in chosen else axis for dim, axis in enumerate(x.axes))
    return Label(tuple(axes))


@RULES.register("sort")
def ordered(call: Call) -> Labels:
    """Numbers in ascending or descending order along a dimension."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim])
    call.plain(*x.axes)
    if 1 in call.used:
        call.freeze(*x.axes)
    found = x.replace(dim, call.ties.fixed(size_of(x.axes[dim])))
    return found, found


@RULES.register("tril", "triu")
def triangular(call: Call) -> Labels:
    """The part of matrices below or above a diagonal."""
    x = call.label("self")
    call.freeze(*x.axes[-2:])
    return x


@RULES.register("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d")
def padded(call: Call) -> Labels:
    """More indices at the ends of the last dimensions."""
    x = call.label("self")
    amounts = list(call["pad"] if call["pad"] is not None else call["padding"])
    changed = [len(x) - 1 - index // 2 for index, amount in enumerate(amounts) if amount]
    call.freeze(*(x.axes[dim] for dim in changed))
    axes = [call.ties.fixed(size) if dim in changed else x.axes[dim] for dim, size in enumerate(call.shape)]
    if call["value"]:
        call.plain(*axes)
    return Label(tuple(axes))


@RULES.register("pixel_shuffle")
def shuffled(call: Call) -> Labels:
    """Pixel shuffle: channels (c, r, r) become pixels."""
    x = call.label("self")
    channels = call.shape[1]
    front, behind = call.ties.split(x.axes[1], channels)
    call.freeze(behind, *x.axes[2:])
    return Label((x.axes[0], front, *call.fixed(call.shape[2:]).axes))


@RULES.register("pixel_unshuffle")
def unshuffled(call: Call) -> Labels:
    """The other way round: pixels become channels (c, r, r)."""
    x = call.label("self")
    call.freeze(*x.axes[2:])
    channels = (*x.axes[1], *call.ties.fixed(call.shape[1] // size_of(x.axes[1])))
    return Label((x.axes[0], channels, *call.fixed(call.shape[2:]).axes))


@RULES.register("diff")
def subtracted(call: Call) -> Labels:
    """Differences of neighbours along a dimension, whose order means something."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    for other in call.tensors():
        for index, (axis, own) in enumerate(zip(x.axes, other.axes, strict=True)):
            if index == dim:
                call.freeze(own)
            else:
                call.ties.same(axis, own)
    return x.replace(dim, call.ties.fixed(call.shape[dim]))


@RULES.register("zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full")
def constant(call: Call) -> Labels:
    """A tensor of one number, wherever it is looked at."""
    axes = tuple(call.ties.fresh(size) for size in call.shape)
    if not call.op.startswith("zeros"):
        call.plain(*axes)
    return Label(axes)


@RULES.register("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "_set_grad_enabled")
def nothing(call: Call) -> Labels:
    """A check, which returns nothing."""
    return None
