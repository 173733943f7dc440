"""Layers with weights: products, convolutions, embeddings and normalisations."""

from __future__ import annotations

from weightstring.symmetry.axes import Axis, Label, factors
from weightstring.symmetry.rules.base import RULES, Call, Labels


@RULES.register("linear")
def linear(call: Call) -> Labels:
    """The layer x Wᵀ + b."""
    x, weight = call.label("input"), call.label("weight")
    call.ties.inverse(x.axes[-1], weight.axes[1])
    call.virtual.append(Label((*x.axes[:-1], weight.axes[0], x.axes[-1])))
    if isinstance(call["bias"], Label):
        call.ties.same(weight.axes[0], call["bias"].axes[0])
        call.unscaled(*x.axes[:-1])  # a shift does not scale along
    return x.replace(-1, weight.axes[0])


@RULES.register("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def convolution(call: Call) -> Labels:
    """A convolution over the axes behind the channels, in groups; weight (out, in / groups, …)."""
    x, weight = call.label("input"), call.label("weight")
    batched = len(x) == len(weight)
    channels = x.axes[1 if batched else 0]
    out = weight.axes[0]
    groups = call["groups"] or 1
    if groups == 1:
        call.ties.inverse(channels, weight.axes[1])
    else:
        _in_groups(call, channels, out, weight.axes[1], groups)
    return _convolved(call, x, weight, out, batched)


@RULES.register("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed(call: Call) -> Labels:
    """A transposed convolution; weight (in, out / groups, …)."""
    x, weight = call.label("input"), call.label("weight")
    batched = len(x) == len(weight)
    channels = x.axes[1 if batched else 0]
    groups = call["groups"] or 1
    if groups == 1:
        call.ties.inverse(channels, weight.axes[0])
        return _convolved(call, x, weight, weight.axes[1], batched)
    outer, inner = call.ties.split(channels, groups)
    its_outer, its_inner = call.ties.split(weight.axes[0], groups)
    if call.ties.rescaling:
        call.unscaled(channels, *weight.axes)
    else:
        call.ties.same(outer, its_outer)
        call.ties.same(inner, its_inner)
    return _convolved(call, x, weight, (*its_outer, *weight.axes[1]), batched)


def _in_groups(call: Call, channels: Axis, out: Axis, within: Axis, groups: int) -> None:
    """Channels in groups, of which each has its own filters: groups move as wholes."""
    ties = call.ties
    outer, inner = ties.split(channels, groups)
    its_outer, _ = ties.split(out, groups)
    if ties.rescaling:
        # Both the inputs' and the outputs' scale would enter the filters, if each group has one input.
        call.unscaled(*(channels,) if not factors(inner) else (outer, its_outer))
        if factors(inner):
            call.unscaled(inner, within)
        return
    ties.same(outer, its_outer)
    ties.same(inner, within)


def _convolved(call: Call, x: Label, weight: Label, out: Axis, batched: bool) -> Label:
    if isinstance(call["bias"], Label):
        call.ties.same(out, call["bias"].axes[0])
        call.unscaled(*x.axes[: 1 if batched else 0])
    call.freeze(*x.axes[2 if batched else 1 :], *weight.axes[2:])
    spatial = call.fixed(call.shape[2 if batched else 1 :])
    return Label((*x.axes[: 1 if batched else 0], out, *spatial.axes))


@RULES.register("embedding")
def embedding(call: Call) -> Labels:
    """Rows of a table: which row is which is given by the data."""
    weight, indices = call.label("weight"), call.label("indices")
    call.freeze(weight.axes[0])
    return Label((*indices.axes, weight.axes[1]))


@RULES.register("embedding_bag", "_embedding_bag")
def bag(call: Call) -> Labels:
    """Sums or means of rows of a table."""
    weight = call.label("weight")
    call.freeze(weight.axes[0])
    if call["mode"] == 2:  # max
        call.ties.restrict(weight.axes[1], positive=True)
    outputs = call.result if isinstance(call.result, tuple | list) else [call.result]
    first = Label((call.ties.fixed(outputs[0].shape[0]), weight.axes[1]))
    return (first, *(call.fixed(tuple(other.shape)) for other in outputs[1:]))


@RULES.register("batch_norm", "instance_norm")
def batch_norm(call: Call) -> Labels:
    """Each channel normalised by its own statistics."""
    x = call.label("input")
    call.mixes(x, [dim for dim in range(len(x)) if dim != 1])
    return _affine(call, x, [1], ("weight", "bias"), ("running_mean", "running_var"))


@RULES.register("layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(call: Call) -> Labels:
    """Numbers of the last axes normalised together."""
    x = call.label("input")
    dims = list(range(len(x) - len(call["normalized_shape"]), len(x)))
    call.mixes(x, dims)
    return _affine(call, x, dims, ("weight", "bias"))


@RULES.register("group_norm")
def group_norm(call: Call) -> Labels:
    """Channels in groups, each normalised together: groups move as wholes."""
    x = call.label("input")
    call.ties.split(x.axes[1], call["num_groups"])
    call.freeze(*x.axes[2:])
    call.mixes(x, range(1, len(x)))
    return _affine(call, x, [1], ("weight", "bias"))


def _affine(call: Call, x: Label, dims: list[int], learned: tuple[str, ...], statistics: tuple[str, ...] = ()) -> Label:
    """A normalisation over ``dims``: what was scaled before it no longer is; its own weights scale what comes after."""
    given = [call[name] for name in (*learned, *statistics) if isinstance(call[name], Label)]
    if not call.ties.rescaling:
        for other in given:
            for dim, axis in zip(dims, other.axes, strict=True):
                call.ties.same(x.axes[dim], axis)
        return x
    call.unscaled(*x.axes)
    for name in statistics:
        if isinstance(call[name], Label):
            call.unscaled(*call[name].axes)
    weight, shift = (call[name] if isinstance(call[name], Label) else None for name in ("weight", "bias"))
    if weight is None:
        return x
    for dim, axis in enumerate(weight.axes):
        if shift is not None:
            call.ties.same(axis, shift.axes[dim])
    axes = list(x.axes)
    for dim, axis in zip(dims, weight.axes, strict=True):
        axes[dim] = axis
    return Label(tuple(axes))


@RULES.register("_weight_norm")
def weight_norm(call: Call) -> Labels:
    """A weight as its length, along one dimension, times its direction."""
    v, g = call.label("v"), call.label("g")
    dim = call["dim"] % len(v)
    call.mixes(v, [other for other in range(len(v)) if other != dim])
    call.unscaled(*v.axes)
    if call.ties.rescaling:
        return v.replace(dim, g.axes[dim])
    call.ties.same(v.axes[dim], g.axes[dim])
    return v
