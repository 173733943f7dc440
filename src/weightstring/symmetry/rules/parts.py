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
