"""Running statistics of normalisation layers, which belong to a θ but are not part of it.

Interpolating two models' statistics as if they were weights gives statistics of neither. Either
they are re-estimated on the training inputs for every θ (``"recalibrate"``, as
``torch.optim.swa_utils.update_bn`` does), or the module's own stay in use (``"frozen"``), which then are
constants, the same for every model. Spectral norm's vectors are computed from θ in either mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem.copying import announces, copied
from weightstring.problem.spectral import hold_still
from weightstring.problem.tensors import named_tensors

Buffers = Literal["recalibrate", "frozen"]

MODES: tuple[Buffers, Buffers] = ("recalibrate", "frozen")


def tracking(net: nn.Module) -> list[_NormBase]:
    """The BatchNorm and InstanceNorm layers, subclasses included, that keep running statistics.

    >>> len(tracking(nn.Sequential(nn.BatchNorm1d(3), nn.InstanceNorm1d(3), nn.SyncBatchNorm(3))))
    2
    """
    return [module for module in net.modules() if isinstance(module, _NormBase) and module.running_mean is not None]


def normalises_batches(net: nn.Module) -> bool:
    """Whether training normalises over the batch, which takes two examples: BatchNorm does, InstanceNorm does not."""
    return any(isinstance(module, _BatchNorm) for module in tracking(net))


def has_own_passes(net: nn.Module) -> bool:
    """Whether a layer with running statistics has a ``forward`` of its own, which may do anything with them."""
    known = (_BatchNorm.forward, _InstanceNorm.forward)
    return any(type(module).forward not in known for module in tracking(net))


def statistics_names(net: nn.Module) -> frozenset[str]:
    """Names of the buffers that hold running statistics, a shared module's under each of its names.

    >>> sorted(statistics_names(nn.Sequential(nn.BatchNorm1d(3))))
    ['0.num_batches_tracked', '0.running_mean', '0.running_var']
    """
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    owned = {id(module._buffers.get(kind)) for module in tracking(net) for kind in kinds}
    return frozenset(name for name, buffer in net.named_buffers(remove_duplicate=False) if id(buffer) in owned)


def resolve(buffers: str | None, net: nn.Module) -> Buffers:
    """The mode in force: by default re-estimation where there is something to re-estimate.

    Raises:
        InvalidSetting: neither None nor one of the two modes.
    """
    if buffers is None:
        # A net whose own train() keeps its layers evaluating holds their statistics for constants.
        held = announces(net) and not any(module.training for module in tracking(net))
        return "recalibrate" if tracking(net) and not held else "frozen"
    for mode in MODES:
        if buffers == mode:
            return mode if tracking(net) else "frozen"
    raise InvalidSetting(f"buffers={buffers!r}: pass 'recalibrate' or 'frozen', or None for the default")


def share(net: nn.Module) -> nn.Module:
    """A copy of the modules that shares their parameters and buffers, ties included."""
    return still(copied(net, {id(tensor): tensor for tensor in named_tensors(net).values()}))


def still(net: nn.Module) -> nn.Module:
    """The module itself, of which no pass iterates or waits for other processes any more."""
    hold_still(net)
    for module in tracking(net):
        if type(module) is nn.SyncBatchNorm:  # across processes other models may be computed at the time
            module.__class__ = _AnyBatchNorm  # type: ignore[assignment]
    return net


class _AnyBatchNorm(_BatchNorm):
    """BatchNorm of inputs with any number of axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def evaluating(net: nn.Module) -> nn.Module:
    """A copy in evaluation mode."""
    return share(net).eval()


def calibrating(net: nn.Module) -> nn.Module:
    """A copy whose normalisation layers average the statistics of their inputs; all other layers evaluate."""
    calibrated = evaluating(net)
    for module in tracking(calibrated):
        module.train()
        average = _CumulativeAverage()
        module.register_forward_pre_hook(average.begin)
        module.register_forward_hook(average.end)
    return calibrated


class _CumulativeAverage:
    """Makes a layer's running statistics the plain average over its passes: the n-th counts 1/n.

    BatchNorm does so by itself for ``momentum=None``, but InstanceNorm takes that for 0 and counts nothing, and
    subclasses assign new tensors where torch writes into the old ones.
    """

    def __init__(self) -> None:
        self._given: dict[str, Tensor] = {}
        self._count = 0.0

    def begin(self, module: _NormBase, args: object) -> None:
        self._given = {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
        self._count = float(self._given["num_batches_tracked"])
        module.momentum = 1.0 / (self._count + 1)

    def end(self, module: _NormBase, args: object, output: object) -> None:
        for name, given in self._given.items():
            estimate = module._buffers[name]
            if estimate is not None and estimate is not given:
                given.copy_(estimate)
                module._buffers[name] = given
        if float(self._given["num_batches_tracked"]) == self._count:
            self._given["num_batches_tracked"].add_(1)


def training(net: nn.Module, buffers: Buffers) -> nn.Module:
    """A copy in training mode, which leaves running statistics alone.

    Args:
        net: the module.
        buffers: ``"recalibrate"``: layers normalise by what they see; ``"frozen"``: by their buffers.
    """
    trained = share(net).train()
    for module in tracking(trained):
        module.train(buffers == "recalibrate")
        # Without tracking a module in training mode uses its batch and has no buffer to update.
        module.track_running_stats = buffers == "frozen"
        if buffers == "recalibrate" and not isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = None  # InstanceNorm would update them all the same
    return trained


def fresh_statistics(theta: Theta, buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Running statistics reset to mean 0, variance 1 and no batches, where θ lives.

    ``theta.new_zeros`` makes them one set per model under ``torch.func.vmap``, so that they can be
    updated in place.
    """
    reset: dict[int, Tensor] = {}
    for name, buffer in buffers.items():
        if id(buffer) not in reset:
            # Python reads the counter at each pass: on a GPU it would wait there.
            counter = buffer.new_zeros((), device="cpu")
            zeros = theta.new_zeros(buffer.shape, dtype=buffer.dtype) if buffer.ndim else counter
            reset[id(buffer)] = zeros.add_(1) if name.endswith("running_var") else zeros
    return {name: reset[id(buffer)] for name, buffer in buffers.items()}
