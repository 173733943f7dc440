"""Normalisation, whose statistics belong to a θ, and noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..entry import Entry, Net, classes, draw


def normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), norm, nn.ReLU(), nn.Linear(4, 2))


def images(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


class DropPath(nn.Module):
    """Stochastic depth as in timm: whole examples lose a branch."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        kept = inputs.new_empty(len(inputs), 1).bernoulli_(0.7)
        return inputs * kept / 0.7


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.branch, self.leave, self.drop = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2), DropPath()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.enter(inputs)
        return self.leave(hidden + self.drop(torch.tanh(self.branch(hidden))))


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight * inputs * torch.rsqrt(inputs.pow(2).mean(-1, keepdim=True) + 1e-6)


def image_entry(name: str, net: object, **options: object) -> Entry:
    return Entry(name=name, net=net, inputs=draw(1, 5, 5), targets=classes(3), loss=functional.cross_entropy, **options)


ENTRIES = [
    Entry(name="batch norm", net=lambda: normed(nn.BatchNorm1d(4))),
    image_entry("batch norm of images", lambda: images(nn.BatchNorm2d(4))),
    Entry(name="batch norm without momentum", net=lambda: normed(nn.BatchNorm1d(4, momentum=None))),
    Entry(name="batch norm without scale", net=lambda: normed(nn.BatchNorm1d(4, affine=False))),
    Entry(name="batch norm twice", net=lambda: nn.Sequential(normed(nn.BatchNorm1d(4)), nn.BatchNorm1d(2))),
    Entry(
        name="batch norm under two names",
        net=lambda: Net(
            lambda net, x: net.leave(net.b(torch.tanh(net.a(net.enter(x))))),
            enter=nn.Linear(3, 4),
            **dict.fromkeys("ab", nn.BatchNorm1d(4)),
            leave=nn.Linear(4, 2),
        ),
    ),
    Entry(
        name="batch norm and dropout", net=lambda: nn.Sequential(normed(nn.BatchNorm1d(4)), nn.Dropout(0.3)), draws=True
    ),
    Entry(name="batch norm without statistics", net=lambda: normed(nn.BatchNorm1d(4, track_running_stats=False))),
    Entry(name="batch norm over processes", net=lambda: normed(nn.SyncBatchNorm(4))),
    Entry(name="group norm", net=lambda: normed(nn.GroupNorm(2, 4))),
    Entry(name="own root mean square norm", net=lambda: normed(RMSNorm(4))),
    image_entry("instance norm", lambda: images(nn.InstanceNorm2d(4, affine=True))),
    image_entry(
        "instance norm with statistics", lambda: images(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))
    ),
    image_entry("local response norm", lambda: images(nn.LocalResponseNorm(2))),
    Entry(
        name="dropout", net=lambda: nn.Sequential(nn.Linear(3, 5), nn.Dropout(), nn.ReLU(), nn.Linear(5, 2)), draws=True
    ),
    Entry(
        name="alpha dropout",
        net=lambda: nn.Sequential(nn.Linear(3, 5), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(5, 2)),
        draws=True,
    ),
    image_entry("dropout of channels", lambda: images(nn.Dropout2d(0.3)), draws=True),
    Entry(name="stochastic depth", net=Deep, draws=True),
    Entry(name="random leaky slope", net=lambda: normed(nn.RReLU()), draws=True),
]
