"""Operations to which the order along a dimension means something."""

from __future__ import annotations

from weightstring.symmetry.axes import Label, size_of
from weightstring.symmetry.rules.base import RULES, Call, Labels


@RULES.register("roll", "flip", "cumsum", "cumprod", "logcumsumexp")
def turned(call: Call) -> Labels:
    """Indices of some dimensions reordered, or accumulated, in a fixed order."""
    x = call.label("self")
    dims = call["dims"] if call["dims"] is not None else call["dim"]
    chosen = (
        range(len(x))
        if dims is None or dims == []
        else [d % len(x) for d in ([dims] if isinstance(dims, int) else dims)]
    )
    call.freeze(*(x.axes[dim] for dim in chosen))
    if call.op in ("cumprod", "logcumsumexp"):
        call.unscaled(*x.axes)
    # Not the same axis any more: what lies at one of its indices now lay at another.
    axes = (call.ties.fixed(size_of(axis)) if dim in chosen else axis for dim, axis in enumerate(x.axes))
    return Label(tuple(axes))


@RULES.register("sort")
def ordered(call: Call) -> Labels:
    """Numbers in ascending or descending order along a dimension."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim])
    call.unscaled(*x.axes)
    if 1 in call.used:
        call.freeze(*x.axes)
    label = x.replace(dim, call.ties.fixed(size_of(x.axes[dim])))
    return label, label


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
        call.unscaled(*axes)
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
        for index, (axis, partner) in enumerate(zip(x.axes, other.axes, strict=True)):
            if index == dim:
                call.freeze(partner)
            else:
                call.ties.same(axis, partner)
    return x.replace(dim, call.ties.fixed(call.shape[dim]))
