"""Hooks, buffers, and what a forward pass writes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidModel, NotDeterministic

from ..entry import Entry, Net


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def hooked(register: object) -> object:
    def build() -> nn.Module:
        net = layers()
        register(net)
        return net

    return build


def closing_over_itself() -> nn.Module:
    """A hook that reads the very object it was registered on."""
    net = layers()
    net[0].register_forward_hook(lambda module, inputs, output: output * net[2].bias.sum().exp())
    return net


def recording() -> nn.Module:
    """Features gathered by a hook into the original, and read by its last layer."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), Reader())
    features = net[2].features
    net[0].register_forward_hook(lambda module, inputs, output: features.__setitem__("first", output))
    return net


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features: dict[str, Tensor] = {}
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(inputs + self.features["first"])


class Stateful(nn.Module):
    """A recurrent layer whose hidden state outlives the call."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.state = nn.Linear(5, 2), None

    def forward(self, inputs: Tensor) -> Tensor:
        before = torch.zeros(2).to(inputs) if self.state is None else self.state
        output = torch.tanh(self.cell(torch.cat([inputs, before.expand(len(inputs), 2)], 1)))
        self.state = output.detach().mean(0)
        return output


class Steps(nn.Module):
    """Counts its calls; the count is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(3, 2), 0
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, inputs: Tensor) -> Tensor:
        self.steps += 1
        self.calls += 1
        return self.linear(inputs)


class TrainingSteps(nn.Module):
    """Counts its training steps; the count is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return self.linear(inputs)


class Annealed(nn.Module):
    """Counts its training steps, and cools down with them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("steps", torch.tensor(1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return self.linear(inputs) / self.steps


class Clipped(nn.Module):
    """Its weights are pressed into a box by each pass, as in a Wasserstein GAN's critic."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        self.linear.weight.data.clamp_(-0.05, 0.05)
        return self.linear(inputs)


class Overwriting(nn.Module):
    """A buffer that holds the last batch's mean, and is read by the same pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("centre", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.centre = inputs[0].mean() * 0 + 1
        return self.linear(inputs) * self.centre


class Teacher(nn.Module):
    """A moving average of its own weights, as in self-distillation."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = nn.Linear(3, 2), nn.Linear(3, 2).requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                    slow.lerp_(fast, 0.1)
        return self.student(inputs) + self.teacher(inputs)


class Whitened(nn.Module):
    """Own running mean, updated by hand as in older code."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * inputs.detach().mean(0))
        return self.linear(inputs - self.mean)


def buffers() -> nn.Module:
    """Buffers of many types, one of them not saved."""
    net = Net(
        lambda net, x: net.linear(torch.where(net.mask, x, 0) * net.weights + net.table[net.index] + net.unsaved),
        linear=nn.Linear(3, 2),
        mask=torch.tensor([True, False, True]),
        weights=torch.tensor([0.5, 1.5, 2.0], dtype=torch.float16),
        table=torch.randn(4),
        index=torch.tensor([3, 0, 1]),
    )
    net.register_buffer("unsaved", torch.tensor([1.0, 2.0, 3.0]), persistent=False)
    net.register_buffer("nothing", None)
    return net


def inplace(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(layer(), nn.Linear(3, 2))


ENTRIES = [
    Entry(name="forward hook", net=hooked(lambda net: net[0].register_forward_hook(lambda m, i, o: o * 2))),
    Entry(name="forward pre-hook", net=hooked(lambda net: net[2].register_forward_pre_hook(lambda m, i: (i[0] + 1,)))),
    Entry(name="forward hook on the whole", net=hooked(lambda net: net.register_forward_hook(lambda m, i, o: o.exp()))),
    Entry(
        name="full backward hook",
        warns=("Full backward hook is firing",),
        net=hooked(
            lambda net: net[0].register_full_backward_hook(
                lambda m, gi, go: tuple(2 * g if g is not None else g for g in gi)
            )
        ),
    ),
    Entry(
        name="hook on a parameter",
        net=hooked(lambda net: net[0].weight.register_hook(lambda slope: 2 * slope)),
    ),
    Entry(name="hook that closes over its module", net=closing_over_itself),
    Entry(name="hook that gathers features", net=recording),
    Entry(name="state kept between calls", net=Stateful, refused=(NotDeterministic, "two evaluations|state")),
    Entry(name="counter that is not read", net=Steps, refused=(NotDeterministic, "buffer 'steps'")),
    Entry(name="counter of training steps that is not read", net=TrainingSteps),
    Entry(name="counter that cools down", net=Annealed),
    Entry(name="weights clipped by the pass", net=Clipped, refused=(InvalidModel, "linear.weight")),
    Entry(name="buffer replaced by the pass", net=Overwriting),
    Entry(
        name="teacher that follows its student", net=Teacher, refused=(NotDeterministic, "keep no state between calls")
    ),
    Entry(name="own running mean", net=Whitened),
    Entry(name="buffers of many types", net=buffers),
    Entry(name="first layer in place", net=inplace(lambda: nn.ReLU(inplace=True))),
    Entry(name="first dropout in place", net=inplace(lambda: nn.Dropout(0.3, inplace=True)), draws=True),
    Entry(
        name="inputs changed by hand",
        net=lambda: Net(lambda net, x: net.linear(x.mul_(2).sub_(1)), linear=nn.Linear(3, 2)),
    ),
]
