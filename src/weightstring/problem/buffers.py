"""BatchNorm's running statistics, which belong to a θ but are not part of it.

Interpolating two models' statistics as if they were weights gives statistics of neither. Either
they are re-estimated on the training inputs for every θ (``"recalibrate"``, as
``torch.optim.swa_utils.update_bn`` does), or the module's own stay in use (``"frozen"``).
"""

from __future__ import annotations

import copy
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem.flat import named_tensors

Buffers = Literal["recalibrate", "frozen"]

MODES: tuple[Buffers, Buffers] = ("recalibrate", "frozen")


def tracking(net: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm modules that keep running statistics.

    >>> len(tracking(nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False))))
    1
    """
    return [module for module in net.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]


def statistics_names(net: nn.Module) -> frozenset[str]:
    """Names of the buffers that hold running statistics, a shared module's under each of its names.

    >>> sorted(statistics_names(nn.Sequential(nn.BatchNorm1d(3))))
    ['0.num_batches_tracked', '0.running_mean', '0.running_var']
    """
    owned = {id(buffer) for module in tracking(net) for buffer in module.buffers(recurse=False)}
    return frozenset(name for name, buffer in net.named_buffers(remove_duplicate=False) if id(buffer) in owned)


def resolve(buffers: str | None, net: nn.Module) -> Buffers:
    """The mode in force: by default re-estimation where there is something to re-estimate.

    Raises:
        InvalidSetting: neither None nor one of the two modes.
    """
    if buffers is None:
        return "recalibrate" if tracking(net) else "frozen"
    for mode in MODES:
        if buffers == mode:
            return mode if tracking(net) else "frozen"
    raise InvalidSetting(f"buffers={buffers!r}: pass 'recalibrate' or 'frozen', or None for the default")


def share(net: nn.Module) -> nn.Module:
    """A copy of the modules that shares their parameters and buffers, ties included."""
    return copy.deepcopy(net, {id(tensor): tensor for tensor in named_tensors(net).values()})


def evaluating(net: nn.Module) -> nn.Module:
    """A copy in evaluation mode."""
    return share(net).eval()


def calibrating(net: nn.Module) -> nn.Module:
    """A copy whose BatchNorm modules average the statistics of what they see; the rest evaluates."""
    calibrated = evaluating(net)
    for module in tracking(calibrated):
        module.train()
        module.momentum = None
    return calibrated


def training(net: nn.Module, buffers: Buffers) -> nn.Module:
    """A copy in training mode, which leaves running statistics alone.

    Args:
        net: the module.
        buffers: ``"recalibrate"``: BatchNorm normalises by its batch; ``"frozen"``: by its buffers.
    """
    trained = share(net).train()
    for module in tracking(trained):
        module.train(buffers == "recalibrate")
        # Without tracking a module in training mode uses its batch and has no buffer to update.
        module.track_running_stats = buffers == "frozen"
    return trained


def fresh_statistics(theta: Theta, buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Running statistics reset to mean 0, variance 1 and no batches, where θ lives.

    ``theta.new_zeros`` makes them one set per model under ``torch.func.vmap``, so that they can be
    updated in place.
    """
    reset: dict[int, Tensor] = {}
    for name, buffer in buffers.items():
        if id(buffer) not in reset:
            zeros = theta.new_zeros(buffer.shape, dtype=buffer.dtype) if buffer.ndim else buffer.new_zeros(())
            reset[id(buffer)] = zeros.add_(1) if name.endswith("running_var") else zeros
    return {name: reset[id(buffer)] for name, buffer in buffers.items()}
