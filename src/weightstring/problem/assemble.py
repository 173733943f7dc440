"""From a user's module to pure functions of θ: copied, checked, in the modes that are needed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem import buffers as modes
from weightstring.problem.computation import Computation
from weightstring.problem.copying import announces, copied
from weightstring.problem.datasets.data import DataSet, Inputs
from weightstring.problem.flat import DTYPES, Layout
from weightstring.problem.functional import Call, Functional, forward
from weightstring.problem.live import Live
from weightstring.problem.losses.means import Given, Mean, Number
from weightstring.problem.precision import in_precision
from weightstring.problem.spectral import is_spectral
from weightstring.problem.tensors import named_tensors
from weightstring.text import first_line

WRAPPED = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.jit.ScriptModule)


def adopt(net: object, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """A copy of the user's module on the problem's device and in its dtype; ``net`` is unchanged.

    Args:
        net: any module; anything else is refused.
        device: None: where net's first parameter is.
        dtype: None: each parameter's own.

    Raises:
        InvalidModel: no module, a wrapped one, one that cannot be copied, or see :meth:`Layout.of`.
        InvalidSetting: a dtype that is not real floating, or a device that cannot compute here.

    >>> adopt(nn.Linear(2, 1), None, torch.float64).weight.dtype
    torch.float64
    """
    if not isinstance(net, nn.Module):
        raise InvalidModel(f"net is a {type(net).__name__}: pass an nn.Module")
    if isinstance(net, WRAPPED) or hasattr(net, "_orig_mod"):
        raise InvalidModel(
            f"net is a {type(net).__name__}: pass the plain module inside it (net.module, net._orig_mod) or rebuild it"
        )
    computes = Layout.of(net).computes
    if dtype is not None and dtype not in DTYPES:
        raise InvalidSetting(f"dtype={dtype!r}: pass a real floating dtype such as torch.float32")
    place = _usable(next(net.parameters()).device if device is None else device)
    own_net = copied(net)
    if announces(own_net):
        own_net.train()  # what was merged into the weights for evaluation is taken out again
    own_net = own_net.to(place)
    return own_net if dtype in (None, computes) else _cast(own_net, dtype)


def _cast(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A module's tensors in another precision."""
    cast: nn.Module = net._apply(lambda tensor: in_precision(tensor, dtype))  # type: ignore[no-untyped-call]
    return cast


def _usable(device: torch.device | str) -> torch.device:
    place = str(device) if isinstance(device, torch.device) else device
    try:
        torch.zeros((), device=device).item()  # a device can be named that is not there, or holds no numbers (meta)
    except Exception as error:  # each kind of device fails in its own way
        raise InvalidSetting(
            f"device={place!r} cannot compute here ({first_line(error)}): pass 'cpu', or a device of this machine"
        ) from error
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        raise InvalidSetting(
            f"device={place!r} has no float64, in which losses are summed and weights compared: pass 'cpu' or 'cuda'"
        ) from error
    return torch.device(device)


AnyLoss = TypeVar("AnyLoss", bound=Callable[..., object])


def adopt_loss(loss_fn: AnyLoss, net: nn.Module) -> AnyLoss:
    """Move a loss and its constants (class weights) to the device and dtype of ``net``."""
    return cast(AnyLoss, _adopted(loss_fn, net))


def _adopted(loss_fn: object, net: nn.Module) -> object:
    device, dtype = next(net.parameters()).device, Layout.of(net).dtype
    if isinstance(loss_fn, partial) and type(loss_fn) is partial:
        keywords = {name: _moved(value, device, dtype) for name, value in loss_fn.keywords.items()}
        return partial(loss_fn.func, *loss_fn.args, **keywords)
    if not isinstance(loss_fn, nn.Module):
        return loss_fn
    try:
        copy_of_loss = copy.deepcopy(loss_fn)
    except Exception as error:
        raise InvalidSetting(
            f"{type(loss_fn).__name__} cannot be copied ({first_line(error)}): a loss or metric must not hold open "
            "files, locks or results of autograd"
        ) from error
    return _cast(copy_of_loss.to(device).eval(), dtype)


def _moved(constant: object, device: torch.device, dtype: torch.dtype) -> object:
    if not isinstance(constant, Tensor):
        return constant
    return constant.to(device, dtype if constant.is_floating_point() else constant.dtype)


TrainingStep = Callable[[nn.Module, Inputs, Tensor], Tensor | tuple[Number, Number]]
"""``training_step(net, inputs, targets)``: the mean loss of one minibatch, or (sum, weight)."""


@dataclass(frozen=True, eq=False)
class Stepping:
    """A user's own training step as a call of the module."""

    step: TrainingStep

    def __call__(self, net: nn.Module, examples: DataSet) -> Tensor | tuple[Number, Number]:
        """The loss of a minibatch."""
        return self.step(net, examples.inputs, examples.targets)


def assemble(
    net: nn.Module,
    loss_fn: Given,
    buffers: modes.Buffers,
    chunk: int,
    call: Call = forward,
    training_call: Call = forward,
    step: Mean | None = None,
) -> Computation:
    """The module as functions of θ: evaluating, training, and estimating statistics.

    Args:
        net: never changed; its trainable parameters are copied, its other tensors shared.
        loss_fn: the loss; what kind of mean it is, is found out later.
        buffers: the mode of running statistics.
        chunk: the most examples in one forward pass.
        call: how the module is called.
        training_call: how it is called in training.
        step: what is made of the loss that the latter returns; None: it returns what ``call`` does.

    >>> computation = assemble(nn.Linear(2, 1), nn.functional.mse_loss, "frozen", 16)
    >>> computation.training.module.training, computation.evaluating.module.training
    (True, False)
    """
    layout = Layout.of(net)
    names = modes.statistics_names(net)
    constants = {name: tensor for name, tensor in named_tensors(net).items() if name not in layout.names}
    # What changes with its mode may write to its constants, which then need copies.
    shared = [] if announces(net) else constants.values()
    net = copied(net, {id(tensor): tensor for tensor in shared})
    # Running statistics too: a subclass of BatchNorm may update them whatever it is told.
    written = frozenset(name for name, _ in net.named_buffers(remove_duplicate=False))
    recalibrated = buffers == "recalibrate"
    return Computation(
        evaluating=Live(Functional(modes.evaluating(net), layout, constants, call=call)),
        training=Live(Functional(modes.training(net, buffers), layout, constants, written, call=training_call)),
        calibrating=Live(Functional(modes.calibrating(net), layout, constants, call=call)) if recalibrated else None,
        statistics={name: constants[name] for name in constants if name in names},
        structure=modes.evaluating(net) if is_spectral(net) else None,
        loss_fn=Mean(loss_fn),
        chunk=chunk,
        block=chunk,
        step=step,
    )


def returned(output: object, targets: Tensor) -> Tensor | tuple[Number, Number]:
    """The loss, or (sum, weight), that a training step returned in place of an output.

    Raises:
        InvalidModel: it returned something else.
    """
    pair = isinstance(output, tuple | list) and len(output) == 2
    loss = output[0] if pair else output  # type: ignore[index]
    if not isinstance(loss, Tensor) or loss.ndim:
        raise InvalidModel(
            "training_step must return one tensor without axes: the mean loss of its minibatch, or (sum, weight)"
        )
    return output  # type: ignore[return-value]
