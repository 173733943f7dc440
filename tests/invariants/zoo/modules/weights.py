"""Weights that are computed from parameters: parametrizations, low-rank adapters, caches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from weightstring.errors import InvalidModel

from ..entry import Entry, draw, param


def around(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), layer, nn.Tanh(), nn.Linear(4, 2))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).transpose(-1, -2)


class Positive(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return functional.softplus(weight)


def parametrized(*parametrizations: nn.Module) -> nn.Module:
    layer = nn.Linear(4, 4)
    for parametrization in parametrizations:
        parametrize.register_parametrization(layer, "weight", parametrization)
    return around(layer)


class LoRA(nn.Module):
    """A frozen layer with a low-rank update beside it."""

    def __init__(self, rank: int = 2) -> None:
        super().__init__()
        self.base = nn.Linear(4, 4).requires_grad_(False)
        self.down, self.up = param(rank, 4), param(4, rank)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.down)
        nn.init.normal_(self.up)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + inputs @ self.down.t() @ self.up.t()


class Merging(nn.Module):
    """As in microsoft/LoRA: the update is added into the frozen weight when evaluation begins."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4, 4), 0.2), requires_grad=False)
        self.down, self.up, self.merged = param(2, 4), param(4, 2), False

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.up.data @ self.down.data)
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        base = functional.linear(inputs, self.weight)
        return base if self.merged else base + inputs @ self.down.t() @ self.up.t()


class CachedOnEval(nn.Module):
    """What is costly is computed once while evaluating."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.kept = param(4, 4), None

    def train(self, mode: bool = True) -> CachedOnEval:
        self.kept = None
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            return inputs @ self.weight.matrix_exp()
        if self.kept is None:
            self.kept = self.weight.detach().matrix_exp()
        return inputs @ self.kept


class CachedByFlag(nn.Module):
    """The same, by a flag of its own and in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.cache = param(4, 4), {}

    def forward(self, inputs: Tensor) -> Tensor:
        if "weight" not in self.cache:
            self.cache["weight"] = self.weight.softmax(1)
        return inputs @ self.cache["weight"]


class Adapter(nn.Module):
    """A bottleneck beside a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).requires_grad_(False)
        self.bottleneck = nn.Sequential(nn.Linear(4, 2), nn.GELU(), nn.Linear(2, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.layer(inputs)
        return hidden + self.bottleneck(hidden)


class HyperNetwork(nn.Module):
    """A network that writes another's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.writer = param(2), nn.Linear(2, 16)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.writer(self.code).view(4, 4))


def cached_parametrization() -> nn.Module:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = parametrized(Symmetric())

        def forward(self, inputs: Tensor) -> Tensor:
            with parametrize.cached():
                return self.net(inputs)

    return Reads()


def peft_of_plain() -> nn.Module:
    import peft

    config = peft.LoraConfig(target_modules=["0", "2"], r=2, lora_dropout=0.0, init_lora_weights=False)
    return peft.get_peft_model(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), config)


def spectral(layer: nn.Module) -> nn.Module:
    return parametrizations.spectral_norm(layer)


old_weight_norm = r"`torch.nn.utils.weight_norm` is deprecated"
init = {"initialise": lambda net: [nn.init.normal_(p) for p in net.parameters() if p.requires_grad]}

ENTRIES = [
    Entry(name="weight norm", net=lambda: around(parametrizations.weight_norm(nn.Linear(4, 4)))),
    Entry(name="old weight norm", net=lambda: around(nn.utils.weight_norm(nn.Linear(4, 4))), warns=(old_weight_norm,)),
    Entry(name="spectral norm", net=lambda: around(spectral(nn.Linear(4, 4)))),
    Entry(name="old spectral norm", net=lambda: around(nn.utils.spectral_norm(nn.Linear(4, 4)))),
    Entry(
        name="spectral norm of a convolution",
        net=lambda: nn.Sequential(spectral(nn.Conv1d(1, 3, 3)), nn.ReLU(), nn.Flatten(), spectral(nn.Linear(9, 2))),
        inputs=draw(1, 5),
    ),
    Entry(name="orthogonal", net=lambda: around(parametrizations.orthogonal(nn.Linear(4, 4)))),
    Entry(
        name="orthogonal by Cayley's map",
        net=lambda: around(parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley")),
    ),
    Entry(name="own parametrization", net=lambda: parametrized(Symmetric())),
    Entry(name="two parametrizations of one weight", net=lambda: parametrized(Symmetric(), Positive())),
    Entry(name="parametrization in a cache", net=cached_parametrization),
    Entry(name="low-rank update", net=lambda: around(LoRA())),
    Entry(name="low-rank update merged on eval", net=lambda: around(Merging()), options=init),
    Entry(name="weight cached on eval", net=lambda: around(CachedOnEval()), options=init),
    Entry(
        name="weight cached for ever",
        net=lambda: around(CachedByFlag()),
        options=init,
        refused=(InvalidModel, "earlier weights"),
    ),
    Entry(name="adapter", net=lambda: around(Adapter())),
    Entry(name="hypernetwork", net=lambda: around(HyperNetwork())),
    Entry(name="LoRA by peft", net=peft_of_plain, slow=True),
]
