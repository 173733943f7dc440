"""Sums, means, maxima and other functions of all numbers along some dimensions; pooling; softmax."""

from __future__ import annotations

from weightstring.symmetry.axes import Label
from weightstring.symmetry.rules.base import RULES, Call, Labels
from weightstring.symmetry.rules.pointwise import pointwise

LINEAR = {"mean", "sum", "nansum", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"} | {
    f"avg_pool{n}d" for n in (1, 2, 3)
}
HOMOGENEOUS = {"amax", "amin", "max", "min", "norm", "linalg_vector_norm", "std"} | {
    f"{kind}max_pool{n}d{tail}" for kind in ("", "adaptive_") for n in (1, 2, 3) for tail in ("", "_with_indices")
}

LOSSES = {
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy_loss",
    "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "nll_loss2d", "nll_loss_nd", "poisson_nll_loss",
    "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
}  # fmt: skip
"""Losses that some modules compute themselves."""


def _scales(call: Call, label: Label) -> None:
    if call.op not in LINEAR:
        for axis in label.axes:
            call.ties.restrict(axis, positive=call.op in HOMOGENEOUS and _order(call) != 0)


def _order(call: Call) -> object:
    """The p of a norm (Σ |x|ᵖ)^(1/p), which is of degree 1 for every p but 0: that norm counts what is not 0."""
    return call["ord"] if call["ord"] is not None else call["p"]


@RULES.register(
    "mean",
    "sum",
    "nansum",
    "amax",
    "amin",
    "max",
    "min",
    "prod",
    "norm",
    "linalg_vector_norm",
    "std",
    "var",
    "logsumexp",
    "median",
    "kthvalue",
    "aminmax",
    "var_mean",
    "std_mean",
)
def reduced(call: Call) -> Labels:
    """A symmetric function of all numbers along some dimensions."""
    if isinstance(call["other"], Label):  # the larger or smaller of two
        return pointwise(call)
    x = call.label("self")
    dims = call["dim"]
    if dims is None or dims == []:
        chosen = list(range(len(x)))
    else:
        chosen = [dim % len(x) for dim in ([dims] if isinstance(dims, int) else dims)]
    call.unscaled(*(x.axes[dim] for dim in chosen))
    kept = bool(call["keepdim"])
    result = Label(tuple(() if dim in chosen else axis for dim, axis in enumerate(x.axes) if kept or dim not in chosen))
    _scales(call, result)
    if isinstance(call.result, tuple | list):  # values and where they are
        if 1 in call.used and call.op not in ("aminmax", "var_mean", "std_mean"):
            call.freeze(*x.axes)
        return tuple(result for _ in call.result)
    return result


@RULES.register("argmax", "argmin", "topk")
def placed(call: Call) -> Labels:
    """Where the largest or smallest number is: an index means something."""
    x = call.label("self")
    call.freeze(*x.axes)
    if isinstance(call.result, tuple | list):
        return tuple(call.fixed(tuple(each.shape)) for each in call.result)
    return call.fixed()


@RULES.register("softmax", "log_softmax", "_softmax", "_log_softmax")
def across(call: Call) -> Labels:
    """Softmax and its like: each number depends on all along one dimension, in whatever order."""
    x = call.label("self")
    dim = call["dim"] % len(x)
    call.mixes(x, [dim])
    call.unscaled(*x.axes)
    return x


@RULES.register(*sorted(name for name in LINEAR | HOMOGENEOUS if "pool" in name))
def pooled(call: Call) -> Labels:
    """Windows over the dimensions behind the channels."""
    x = call.label("self" if "self" in call.given else "input")
    several = isinstance(call.result, tuple | list)
    shape = tuple((call.result[0] if several else call.result).shape)
    spatial = 1 if "1d" in call.op else 2 if "2d" in call.op else 3
    call.freeze(*x.axes[-spatial:])
    result = Label((*x.axes[:-spatial], *call.fixed(shape[-spatial:]).axes))
    _scales(call, result)
    return tuple(result for _ in call.result) if several else result


@RULES.register(
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
)
def resized(call: Call) -> Labels:
    """Images scaled up or down."""
    x = call.label("self" if "self" in call.given else "input")
    call.freeze(*x.axes[2:])
    return Label((*x.axes[:2], *call.fixed(call.shape[2:]).axes))


@RULES.register(*sorted(LOSSES))
def compared(call: Call) -> Labels:
    """A loss: each number of one tensor has its partner in another, or is a class."""
    for label in call.tensors():
        call.freeze(*label.axes)
    return call.fixed()
