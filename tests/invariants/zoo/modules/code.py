"""How modules are written: control flow, own autograd functions, scripts, draws, and objects that cannot be copied."""

from __future__ import annotations

import functools
import io
import random
import threading

import numpy
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from weightstring.errors import InvalidModel, InvalidSetting, NotDeterministic

from ..entry import Entry, Net


class StraightThrough(torch.autograd.Function):
    """A sign whose derivative is one."""

    @staticmethod
    def forward(context: object, inputs: Tensor) -> Tensor:
        return inputs.sign()

    @staticmethod
    def backward(context: object, slope: Tensor) -> Tensor:
        return slope


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(context: object, inputs: Tensor) -> Tensor:
        context.save_for_backward(inputs)
        return inputs**3

    @staticmethod
    @once_differentiable
    def backward(context: object, slope: Tensor) -> Tensor:
        (inputs,) = context.saved_tensors
        return 3 * inputs**2 * slope


class Branching(nn.Module):
    """Another path for other data."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([self.high(row) if row.sum() > 1 else self.low(row) for row in inputs])


class UntilSmall(nn.Module):
    """As many steps as a value asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.leave = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, count = inputs, 0
        while float(hidden.detach().norm(dim=1).max()) > 1.0 and count < 4:
            hidden, count = torch.tanh(self.linear(hidden)) / 2, count + 1
        return self.leave(hidden)


class Drawing(nn.Module):
    """Adds noise from one of the generators, in the modes named."""

    def __init__(self, noise: object, *, always: bool = False) -> None:
        super().__init__()
        self.linear, self.noise, self.always = nn.Linear(3, 2), noise, always

    def forward(self, inputs: Tensor) -> Tensor:
        scale = 1 + 0.3 * self.noise() if self.training or self.always else 1.0
        return self.linear(inputs * scale)


class OwnGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.generator = nn.Linear(3, 2), torch.Generator().manual_seed(3)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            inputs = inputs + torch.randn(inputs.shape, generator=self.generator, dtype=inputs.dtype)
        return self.linear(inputs)


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = torch.tanh(self.enter(inputs))
        return self.leave(hidden.to(inputs.dtype))


class Called(nn.Module):
    """A ``__call__`` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def __call__(self, inputs: Tensor) -> Tensor:
        return 2 * super().__call__(inputs) + 1

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


class Locked(nn.Module):
    """Holds what cannot be copied."""

    def __init__(self, held: object) -> None:
        super().__init__()
        self.linear, self.held = nn.Linear(3, 2), held

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


class Energy(nn.Module):
    """Its output is the gradient of a scalar net by its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.layers(inputs).sum(), inputs, create_graph=True)
        return slope


class Detached(nn.Module):
    """A part of its gradient is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.target(inputs)
        return self.online(inputs) + target + self.online(inputs).detach()


def patched() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net[0].forward = lambda inputs: functional.linear(inputs, net[0].weight, net[0].bias).square()
    return net


def patched_with_method() -> nn.Module:
    """As ``types.MethodType`` is used to replace a forward pass: bound to the original."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net[0].forward = functools.partial(lambda layer, inputs: functional.linear(inputs, layer.weight) * 2, net[0])
    return net


def lazy(*, run: bool) -> nn.Module:
    net = nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(2))
    if run:
        net(torch.zeros(2, 3))
    return net


def scripted() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), nn.Linear(4, 2))


def compiled(**options: str) -> nn.Module:
    middle = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), **options)
    return nn.Sequential(nn.Linear(3, 4), middle, nn.Linear(4, 2))


def with_function(function: object) -> object:
    return lambda: Net(lambda net, x: net.leave(function(net.enter(x))), enter=nn.Linear(3, 4), leave=nn.Linear(4, 2))


def uniform() -> float:
    return torch.rand(()).item()


ENTRIES = [
    Entry(name="straight-through sign", net=with_function(StraightThrough.apply)),
    Entry(name="own function, differentiable once", net=with_function(Cube.apply)),
    Entry(name="branches on the data", net=Branching),
    Entry(name="loop until a value is small", net=UntilSmall),
    Entry(name="draws from torch while training", net=lambda: Drawing(uniform), draws=True),
    Entry(name="draws from Python while training", net=lambda: Drawing(lambda: random.random()), draws=True),
    Entry(name="draws from numpy while training", net=lambda: Drawing(lambda: numpy.random.rand()), draws=True),
    Entry(
        name="draws from torch always",
        net=lambda: Drawing(uniform, always=True),
        refused=(NotDeterministic, "two evaluations"),
    ),
    Entry(
        name="draws from Python always",
        net=lambda: Drawing(lambda: random.random(), always=True),
        refused=(NotDeterministic, "two evaluations"),
    ),
    Entry(
        name="draws from numpy always",
        net=lambda: Drawing(lambda: numpy.random.rand(), always=True),
        refused=(NotDeterministic, "two evaluations"),
    ),
    Entry(
        name="draws from a generator of its own",
        net=OwnGenerator,
        draws=True,
        refused=(NotDeterministic, "draw|generator|twice"),
    ),
    Entry(name="autocast inside", net=Autocast, dtypes=(torch.float32,), options={"chunk": 32}),
    Entry(name="own __call__", net=Called),
    Entry(name="gradient as output", net=Energy, inputs=lambda n: torch.randn(n, 2)),
    Entry(name="stopped gradients", net=Detached),
    Entry(name="forward replaced by a closure", net=patched),
    Entry(name="forward replaced by a partial", net=patched_with_method),
    Entry(name="lazy layers that have run", net=lambda: lazy(run=True)),
    Entry(
        name="lazy layers that have not run", net=lambda: lazy(run=False), refused=(InvalidModel, "not initialised yet")
    ),
    Entry(
        name="scripted part",
        net=scripted,
        warns=("`torch.jit", "The .grad attribute"),
        refused=(InvalidSetting, "'1.0.weight' of the module that was passed"),
    ),
    Entry(
        name="compiled part, eager", slow=True, net=lambda: compiled(backend="eager"), warns=("The .grad attribute",)
    ),
    Entry(name="DataParallel inside", net=lambda: nn.Sequential(nn.DataParallel(nn.Linear(3, 4)), nn.Linear(4, 2))),
    Entry(
        name="DataParallel around",
        net=lambda: nn.DataParallel(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))),
        refused=(InvalidModel, "DataParallel"),
    ),
    Entry(name="holds a lock", net=lambda: Locked(threading.Lock()), refused=(InvalidModel, "lock")),
    Entry(
        name="holds a generator", net=lambda: Locked(number for number in range(3)), refused=(InvalidModel, "generator")
    ),
    Entry(
        name="holds a file", net=lambda: Locked(io.TextIOWrapper(io.BytesIO())), refused=(InvalidModel, "TextIOWrapper")
    ),
    Entry(
        name="partial as a head",
        net=lambda: Net(
            lambda net, x: net.head(net.linear(x)),
            linear=nn.Linear(3, 2),
            head=functools.partial(torch.clamp, min=-0.5),
        ),
    ),
]
