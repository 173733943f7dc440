"""What a user would compute by hand: the net built again, θ loaded, the mode set afterwards, one pass, ``backward``."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from .entry import Entry

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


@contextmanager
def aside() -> Iterator[None]:
    """What is computed by hand leaves the generators as they are."""
    kept = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        random.setstate(kept[1])
        numpy.random.set_state(kept[2])


def seed(number: int) -> None:
    torch.default_generator.manual_seed(number)  # torch.manual_seed also looks at every accelerator: 8 ms
    random.seed(number)
    numpy.random.seed(number)


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Tensors in tuples and dicts in this precision; whole numbers as they are."""
    if isinstance(value, dict):
        return type(value)({name: cast(item, dtype) for name, item in value.items()})
    if isinstance(value, tuple):
        return tuple(cast(item, dtype) for item in value)
    if not isinstance(value, Tensor):
        return value
    if value.is_complex():
        return value.to(COMPLEX[dtype])
    return value.to(dtype) if value.is_floating_point() else value


def leaves(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value] if isinstance(value, Tensor) else []


def copied(value: Any) -> Any:
    return mapped(value, Tensor.clone)


def taken(value: Any, rows: Tensor) -> Any:
    return mapped(value, lambda leaf: leaf.index_select(0, rows))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, dict):
        return type(value)({name: mapped(item, change) for name, item in value.items()})
    if isinstance(value, tuple):
        return tuple(mapped(item, change) for item in value)
    return change(value)


def call(net: nn.Module, inputs: Any) -> Any:
    inputs = copied(inputs)
    if isinstance(inputs, dict):
        return net(**inputs)
    return net(*inputs) if isinstance(inputs, tuple) else net(inputs)


def ratio(value: Any) -> Tensor:
    """A loss that returns (sum, weight) is their ratio."""
    return value[0] / value[1] if isinstance(value, tuple) else value


class Plain:
    """An entry computed by hand in one precision."""

    def __init__(self, entry: Entry, train: Any, dtype: torch.dtype, chunk: int) -> None:
        self.entry, self.dtype, self.chunk = entry, dtype, chunk
        self.train = cast(train, dtype)

    def build(self) -> nn.Module:
        """The net as the user built it, in the precision in force."""
        seed(11)
        return self.entry.net()._apply(lambda tensor: cast(tensor, self.dtype))

    def net(self, theta: Tensor) -> nn.Module:
        """A fresh net with θ loaded through ``load_state_dict``."""
        net = self.build()
        trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
        pieces = theta.to(self.dtype).split([parameter.numel() for parameter in trainable])
        values = {id(p): piece.view(p.shape) for p, piece in zip(trainable, pieces, strict=True)}
        state = {name: values.get(id(held), held) for name, held in net.state_dict(keep_vars=True).items()}
        net.load_state_dict({name: value.detach().clone() for name, value in state.items()})
        return net

    @aside()
    def loaded(self, state: dict[str, Tensor], examples: Any) -> float:
        """The loss of the user's own net, built again, that loads a state dict strictly."""
        net = self.build()
        net.load_state_dict(state)
        net.eval()
        inputs, targets = cast(examples, self.dtype)
        with torch.no_grad():
            return float(ratio(self.loss_of(net)(call(net, inputs), targets)))

    def loss_of(self, net: nn.Module) -> Callable[..., Any]:
        """The loss, a criterion's own tensors in the precision in force."""
        if self.entry.loss_of:
            return self.entry.loss_of(net)
        if not isinstance(self.entry.loss, nn.Module):
            return self.entry.loss
        return copy.deepcopy(self.entry.loss)._apply(lambda tensor: cast(tensor, self.dtype))

    @aside()
    def measure(self, theta: Tensor, sets: Sequence[Any]) -> list[float]:
        """The loss and the metrics over each set, in one pass."""
        net = calibrated(self.net(theta), self.train[0], self.chunk)
        criteria = [self.loss_of(net), *self.entry.metrics.values()]
        values = []
        for inputs, targets in cast(tuple(sets), self.dtype):
            with torch.no_grad():
                output = call(net, inputs)
                values += [float(ratio(criterion(output, targets))) for criterion in criteria]
        return values

    @aside()
    def gradient(self, theta: Tensor, rows: Tensor | None) -> tuple[float, Tensor]:
        """The loss of a minibatch, or of the whole training set, and its gradient."""
        net = self.net(theta)
        singular_vectors(net)
        net.train()
        inputs, targets = self.train if rows is None else taken(self.train, rows)
        if step := self.entry.options.get("training_step"):
            loss = ratio(step(net, copied(inputs), targets))
        else:
            loss = ratio(self.loss_of(net)(call(net, inputs), targets))
        loss.backward()
        trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in trainable]
        return loss.item(), torch.cat([slope.reshape(-1) for slope in slopes])


def calibrated(net: nn.Module, inputs: Any, chunk: int) -> nn.Module:
    """In evaluation mode, with statistics that belong to its θ: the average over the chunks of the training inputs."""
    singular_vectors(net)
    net.eval()
    batch = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    instance = [m for m in net.modules() if isinstance(m, _InstanceNorm) and m.running_mean is not None]
    momenta = {norm: norm.momentum for norm in batch + instance}
    seen = {norm: ([], []) for norm in instance}
    for norm in momenta:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None if norm in batch else 1.0  # the average over all calls; the last call's own
    for rows in parts(len(leaves(inputs)[0]), chunk) if momenta else ():
        with torch.no_grad():
            call(net, taken(inputs, rows))
        for norm, (means, variances) in seen.items():
            means.append(norm.running_mean.clone())
            variances.append(norm.running_var.clone())
    for norm, (means, variances) in seen.items():
        norm.running_mean.copy_(torch.stack(means).mean(0))
        norm.running_var.copy_(torch.stack(variances).mean(0))
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    return net.eval()


def parts(count: int, size: int) -> list[Tensor]:
    """Rows in order, in parts of at most ``size`` that are as equal as can be."""
    number = -(-count // size)
    return [torch.arange(part * count // number, (part + 1) * count // number) for part in range(number)]


def singular_vectors(net: nn.Module) -> None:
    """Spectral norm's u and v are the first singular vectors of the weight that they stand beside."""
    for module in net.modules():
        if isinstance(module, nn.utils.parametrize.ParametrizationList):
            for norm in module:
                if isinstance(norm, _SpectralNorm) and hasattr(norm, "_u"):
                    set_to_first(norm._reshape_weight_to_matrix(module.original), norm._u, norm._v)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                matrix = hook.reshape_weight_to_matrix(getattr(module, hook.name + "_orig"))
                set_to_first(matrix, getattr(module, hook.name + "_u"), getattr(module, hook.name + "_v"))


def set_to_first(matrix: Tensor, u: Tensor, v: Tensor) -> None:
    left, _, right = torch.linalg.svd(matrix.detach(), full_matrices=False)
    u.copy_(left[:, 0])
    v.copy_(right[0])
