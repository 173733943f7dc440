"""Operations that pick or collect numbers by an index, as graph networks do along edges.

The axis that an index counts is fixed, since data say which of its numbers is which; all others are free.
"""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, size_of
from weightstring.symmetry.rules.base import RULES, Call, Labels
from weightstring.symmetry.rules.pointwise import combined

COLLECTING = ("index_add", "index_copy", "index_fill", "index_reduce", "scatter", "scatter_add", "scatter_reduce")

LINEAR = {None, "add", "sum", "mean"}
"""How numbers of one index are collected: c times all of them give c times the result."""

HOMOGENEOUS = {"amax", "amin"}
"""The same for c > 0."""


@RULES.register("index")
def indexed(call: Call) -> Labels:
    """Numbers picked by indices along some dimensions, the others left whole."""
    x, indices = call.label("self"), list(call["indices"])
    used = _run_of(indices)
    if used is None or len(indices) > len(x):
        return picked(call)  # what is picked comes first, or masks take several dimensions
    call.freeze(*(x.axes[dim] for dim in used))
    call.unscaled(*(axis for index in indices if index is not None for axis in index.axes))
    many = len(call.shape) - (len(x) - len(used))
    which = call.fixed(call.shape[used[0] : used[0] + many]).axes
    return Label((*x.axes[: used[0]], *which, *x.axes[used[-1] + 1 :]))


@RULES.register("index_put", "index_put_")
def put(call: Call) -> Labels:
    """Numbers written, or added, where indices say, along neighbouring dimensions."""
    x, values, indices = call.label("self"), call.label("values"), list(call["indices"])
    used = _run_of(indices)
    if used is None or any(len(index) > 1 for index in indices if index is not None):
        return picked(call)  # a mask may take several dimensions
    call.freeze(*(x.axes[dim] for dim in used))
    many = len(indices[used[0]])
    target = Label((*x.axes[: used[0]], *((),) * many, *x.axes[used[-1] + 1 :]))
    shift = len(target) - len(values)
    call.freeze(*(values.axes[dim - shift] for dim in range(max(used[0], shift), used[0] + many)))
    combined(call, [target, values], max(len(target), len(values)))
    return x


def _run_of(indices: list[Label | None]) -> list[int] | None:
    """The dimensions that indices count, if they are neighbours."""
    used = [dim for dim, index in enumerate(indices) if index is not None]
    known = all(index is None or isinstance(index, Label) for index in indices)
    return used if known and used == list(range(used[0], used[-1] + 1)) else None


@RULES.register("index_select")
def index_selected(call: Call) -> Labels:
    """Indices of one dimension."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim])
    return x.replace(dim, call.ties.fixed(call.shape[dim]))


@RULES.register("gather")
def gathered(call: Call) -> Labels:
    """out[i, j] = x[index[i, j], j]: the same index for all j, or those of each."""
    x, index = call.label("self"), call.label("index")
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim], index.axes[dim])
    return Label(tuple(_beside(call, dim, x, index, numbers=False)))


@RULES.register(*COLLECTING, *(f"{name}_" for name in COLLECTING))
def collected(call: Call) -> Labels:
    """Numbers added to, or written over, those at the places that an index counts along one dimension."""
    x, index = call.label("self"), call.label("index")
    source = next((call[name] for name in ("src", "source") if isinstance(call[name], Label)), None)
    dim = call["dim"] % len(x)
    call.freeze(x.axes[dim])
    if source is not None:
        call.freeze(source.axes[dim])
        _beside(call, dim, x, source)
    if len(index) == len(x):
        call.freeze(index.axes[dim])
        _beside(call, dim, x, index, numbers=False)
    if source is None and call["value"]:
        call.unscaled(*x.axes)
    if call["reduce"] not in LINEAR:
        for axis in x.axes:
            call.ties.restrict(axis, positive=call["reduce"] in HOMOGENEOUS)
    return x


def _beside(call: Call, dim: int, x: Label, other: Label, *, numbers: bool = True) -> list[Axis]:
    """Tie the dimensions beside ``dim``, of which the other tensor may have only the first indices; what it has.

    Args:
        call: the operation.
        dim: the dimension along which numbers are picked.
        x: the tensor that is picked from, or written to.
        other: another that lies beside it.
        numbers: whether its numbers scale with x's; those of an index do not.
    """
    axes: list[Axis] = []
    for index, (axis, partner) in enumerate(zip(x.axes, other.axes, strict=True)):
        if index == dim:
            axes.append(call.ties.fixed(size_of(partner)))
        elif size_of(axis) != size_of(partner):
            call.freeze(axis, partner)
            axes.append(partner)
        else:
            if numbers or not call.ties.rescaling:
                call.ties.same(axis, partner)
            axes.append(axis)
    return axes


@RULES.register("segment_reduce")
def segmented(call: Call) -> Labels:
    """Sums, means or maxima of runs of indices of one dimension."""
    x, dim = call.label("data"), call["axis"] or 0
    call.freeze(x.axes[dim])
    result = x.replace(dim, call.ties.fixed(call.shape[dim]))
    if call["reduce"] not in LINEAR or call["initial"]:
        for axis in result.axes:
            call.ties.restrict(axis, positive=not call["initial"] and call["reduce"] in {"max", "min"})
    return result


@RULES.register("take", "take_along_dim", "masked_scatter", "masked_scatter_", "put", "put_")
def picked(call: Call) -> Labels:
    """Numbers picked by an index: all axes are fixed."""
    for label in call.tensors():
        call.freeze(*label.axes)
    return call.fixed()
