"""Quantities that are no traced function of θ alone, for which certificates and theorems have no rule."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from weightstring.errors import Unsupported
from weightstring.problem.buffers import tracking
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
    if is_spectral(parts.net):
        raise Unsupported(
            "spectral norm's singular vectors are functions of theta, for which certificates have no rule: where "
            "paths may leave its bound, take it off net and both ends "
            "(torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight'))"
        )


def require_fixed(parts: Parts) -> None:
    """Refuse running statistics that are functions of θ.

    Raises:
        Unsupported: there are some.
    """
    if parts.buffers == "recalibrate":
        raise Unsupported(
            "running statistics are estimated anew at every point of the string, so that no fixed module is behind "
            "the loss: fold each end's BatchNorm into the layer before it (torch.nn.utils.fusion.fuse_conv_bn_eval, "
            "fuse_linear_bn_eval) and take what comes out, which computes what each end does with its own "
            "statistics; buffers='frozen' suits only ends whose statistics are equal"
        )


def require_batch_norms(net: nn.Module) -> None:
    """Refuse layers whose running statistics are not those of torch's own BatchNorm.

    Raises:
        Unsupported: names the layer's class.
    """
    for module in tracking(net):
        if not isinstance(module, _BatchNorm) or type(module).forward is not _BatchNorm.forward:
            raise Unsupported(
                f"running statistics of {type(module).__name__} are estimated anew at every point of the string, for "
                "which certificates have a rule for torch's BatchNorm alone: leave the string sampled"
            )
