"""Ordinary networks, and what parameters may look like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import InvalidSetting

from ..entry import Entry, Net, accuracy, classes, draw, param


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 5), nn.Linear(5, 2)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 5), nn.GELU()) for _ in range(2)])

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.enter(inputs)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden)


class Experts(nn.Module):
    """Experts by name, mixed by a gate; all of their numbers in dicts and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleDict({"left": nn.Linear(3, 2), "right": nn.Linear(3, 2)})
        self.shifts = nn.ParameterDict({"left": param(2), "right": param(2)})
        self.gates = nn.ParameterList([param(3), param(3)])

    def forward(self, inputs: Tensor) -> Tensor:
        gates = torch.stack([inputs @ gate for gate in self.gates], dim=1).softmax(1)
        outputs = [expert(inputs) + self.shifts[name] for name, expert in self.experts.items()]
        return (torch.stack(outputs, dim=2) * gates.unsqueeze(1)).sum(2)


class Autoencoder(nn.Module):
    """The decoder is the encoder, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.shift = nn.Linear(3, 2), param(3)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(torch.tanh(self.encoder(inputs)), self.encoder.weight.t(), self.shift)


class Twice(nn.Module):
    """One layer under two names, and one called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3, 4)
        self.first = nn.Linear(4, 4)
        self.second = self.first
        self.leave = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.enter(inputs))
        for layer in (self.first, self.second, self.first):
            hidden = torch.tanh(layer(hidden))
        return self.leave(hidden)


class Quaternion(nn.Module):
    """Weights computed from parameters by a property."""

    def __init__(self) -> None:
        super().__init__()
        self.raw, self.scale = param(2, 3), nn.Parameter(torch.tensor(0.7))

    @property
    def weight(self) -> Tensor:
        return self.scale * functional.normalize(self.raw, dim=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight)


class Unregistered(nn.Module):
    """Weights that torch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [torch.randn(3, 4, requires_grad=True), torch.randn(4, 2, requires_grad=True)]
        self.shift = param(2)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(inputs @ self.weights[0]) @ self.weights[1] + self.shift


def frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    net[0].requires_grad_(False)
    return net


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 3)
    )


def mixed() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    net[2].double()
    return net


ENTRIES = [
    Entry(name="two layers", net=lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))),
    Entry(name="residual blocks", net=Residual),
    Entry(
        name="convolutions",
        net=conv,
        inputs=draw(1, 6, 6),
        targets=classes(3),
        loss=functional.cross_entropy,
        metrics={"accuracy": accuracy},
    ),
    Entry(
        name="transposed convolution",
        net=lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 2, stride=2), nn.SiLU(), nn.Conv1d(3, 1, 3, groups=1)),
        inputs=draw(2, 4),
        targets=draw(1, 6),
    ),
    Entry(name="dicts and lists of modules and parameters", net=Experts),
    Entry(name="decoder tied to the encoder", net=Autoencoder, targets=draw(3)),
    Entry(name="one layer under two names", net=Twice),
    Entry(name="weights from a property", net=Quaternion),
    Entry(
        name="scalar parameter",
        net=lambda: Net(
            lambda net, x: net.slope * net.linear(x) ** 2, slope=nn.Parameter(torch.tensor(0.3)), linear=nn.Linear(3, 2)
        ),
    ),
    Entry(
        name="parameter without elements",
        net=lambda: Net(
            lambda net, x: net.linear(torch.cat([x, net.nothing.expand(len(x), 0)], 1)),
            nothing=nn.Parameter(torch.zeros(1, 0)),
            linear=nn.Linear(3, 2),
        ),
    ),
    Entry(
        name="parameter that is never used",
        net=lambda: Net(lambda net, x: net.linear(x), linear=nn.Linear(3, 2), spare=param(4)),
        options={"initialise": lambda net: nn.init.normal_(net.linear.weight)},
    ),
    Entry(name="frozen backbone", net=frozen),
    Entry(name="bilinear", net=lambda: nn.Bilinear(3, 4, 2), inputs=lambda n: (torch.randn(n, 3), torch.randn(n, 4))),
    Entry(
        name="weights in a list that torch does not know of",
        net=Unregistered,
        dtypes=(torch.float32,),
        refused=(InvalidSetting, "no part of theta"),
    ),
    Entry(
        name="quantised numbers as frozen parameters",
        net=lambda: Net(
            lambda net, x: functional.linear(x, net.codes * net.scale, net.bias),
            codes=nn.Parameter(torch.randint(-8, 8, (2, 3), dtype=torch.int8), requires_grad=False),
            scale=nn.Parameter(torch.tensor(0.1)),
            bias=param(2),
        ),
    ),
    Entry(name="two precisions, made one by dtype=", net=mixed),
]
