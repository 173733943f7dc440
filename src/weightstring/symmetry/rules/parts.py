"""Operations that join tensors, cut them, or choose some of their numbers."""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, factors, size_of
from weightstring.symmetry.rules.base import RULES, Call, Labels, labels_in


@RULES.register("cat", "concat", "concatenate")
def joined(call: Call) -> Labels:
    """Tensors one after the other along a dimension."""
    labels = [label for label in labels_in(call["tensors"]) if all(size_of(axis) for axis in label.axes)]
    first, *others = labels
    dim = (call["dim"] or 0) % len(first)
    for other in others:
        for index, (axis, partner) in enumerate(zip(first.axes, other.axes, strict=True)):
            if index != dim:
                call.ties.same(axis, partner)
    return first.replace(dim, call.ties.joined([label.axes[dim] for label in labels]))


@RULES.register("stack")
def stacked(call: Call) -> Labels:
    """Tensors side by side along a new dimension."""
    labels = labels_in(call["tensors"])
    dim = (call["dim"] or 0) % (len(labels[0]) + 1)
    which: Axis = ()
    axes: list[Axis] = []
    for partners in zip(*(label.axes for label in labels), strict=True):
        outer, axis = call.ties.family(partners) if factors(partners[0]) else ((), ())
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
    call.unscaled(*(axis for index in indices if index is not None for axis in index.axes))
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
