"""Quantities that are no traced function of θ alone, for which certificates and theorems have no rule."""

from __future__ import annotations

from weightstring.errors import Unsupported
from weightstring.problem.parts import Parts
from weightstring.problem.precision import named
from weightstring.problem.spectral import is_spectral


def require_traceable(parts: Parts, quantity: str) -> None:
    """Refuse what more than the module and the loss enter.

    Raises:
        InvalidSetting: an unknown quantity.
        Unsupported: inputs, rounding, sums that only the caller knows, or buffers that are functions of θ enter.
    """
    data, mean = parts.quantities.single(quantity)
    if mean.sees:
        raise Unsupported(
            f"{quantity!r} sees the inputs, for which certificates have no rule: bound a loss or a metric of "
            "output and targets alone"
        )
    if parts.layout.rounds:
        raise Unsupported(
            f"the module computes in {named(parts.layout.coarsest)}, theta rounded at every point of the "
            "string, for which certificates have no rule: build the problem with dtype=torch.float32"
        )
    if mean.kind == "ratio" and mean.loss is None and data.together:
        raise Unsupported(
            f"{quantity!r} is computed as (sum, weight), for which certificates have no rule: use a loss of "
            "torch's own with weight= or ignore_index=, or a mean over examples"
        )
    if parts.buffers == "recalibrate":
        raise Unsupported(
            "running statistics are estimated anew at every point of the string, for which certificates have no "
            "rule: fold each end's BatchNorm into the layer before it (torch.nn.utils.fusion.fuse_conv_bn_eval, "
            "fuse_linear_bn_eval) and connect what comes out, which computes what each end does with its own "
            "statistics; buffers='frozen' suits only ends whose statistics are equal"
        )
    if is_spectral(parts.net):
        raise Unsupported(
            "spectral norm's singular vectors are functions of theta, for which certificates have no rule: where "
            "paths may leave its bound, take it off net and both ends "
            "(torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight'))"
        )
