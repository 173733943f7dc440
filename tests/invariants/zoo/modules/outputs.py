"""What a forward pass takes and returns beside one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import InvalidData

from ..entry import Entry, Net, classes, draw


class Encoded(NamedTuple):
    mean: Tensor
    spread: Tensor


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor | None = None


class VAE(nn.Module):
    """Its mean while evaluating, a draw while training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(2, 3)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Encoded]:
        mean, spread = self.encoder(inputs).chunk(2, dim=1)
        code = mean + spread.exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(code), Encoded(mean, spread)


def elbo(output: tuple[Tensor, Encoded], targets: Tensor) -> Tensor:
    decoded, (mean, spread) = output
    divergence = 0.5 * (mean.square() + (2 * spread).exp() - 2 * spread - 1).sum(1)
    return ((decoded - targets).square().sum(1) + divergence).mean()


def two_heads(form: Any) -> Any:
    def build() -> nn.Module:
        layers = {"trunk": nn.Linear(3, 4), "first": nn.Linear(4, 2), "second": nn.Linear(4, 3)}
        return Net(
            lambda net, x: form(net.first(torch.tanh(net.trunk(x))), net.second(torch.tanh(net.trunk(x)))), **layers
        )

    return build


def both(first: Tensor, second: Tensor, targets: tuple[Tensor, Tensor] | Tensor) -> Tensor:
    return functional.mse_loss(first, targets[:, :2]) + 0.3 * functional.l1_loss(second, targets[:, 2:])


class Pairs(nn.Module):
    """Two inputs through one net."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.branch(left), self.branch(right)


def contrastive(output: tuple[Tensor, Tensor], same: Tensor) -> Tensor:
    distance = functional.pairwise_distance(*output)
    return torch.where(same == 1, distance.square(), (1 - distance).clamp(min=0).square()).mean()


class Masked(nn.Module):
    """Inputs by name, one of them a mask with −inf, another with a default."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.values = nn.Linear(3, 1), nn.Linear(3, 2)

    def forward(self, tokens: Tensor, mask: Tensor, scale: Tensor | None = None) -> Tensor:
        weights = (self.scores(tokens).squeeze(2) + mask).softmax(1)
        pooled = (weights.unsqueeze(2) * self.values(tokens)).sum(1)
        return pooled if scale is None else pooled * scale


def padding(n: int) -> Tensor:
    mask = torch.zeros(n, 4).masked_fill(torch.rand(n, 4) < 0.4, float("-inf"))
    mask[:, 0] = 0
    return mask


class Complex(nn.Module):
    """Through Fourier space with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))
        self.leave = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(inputs) * torch.complex(self.real, self.imaginary)
        return self.leave(torch.fft.irfft(spectrum, n=6))


class Graph(nn.Module):
    """Graph convolution: neighbours by a dense adjacency per example."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        weights = adjacency / adjacency.sum(-1, keepdim=True).clamp(min=1)
        return self.second(weights @ torch.relu(self.first(weights @ nodes))).mean(1)


def sparse_rows(n: int) -> Tensor:
    return (torch.randn(n, 6) * (torch.rand(n, 6) < 0.4)).to_sparse()


ENTRIES = [
    Entry(name="a draw while training", net=VAE, targets=draw(3), loss=elbo, draws=True),
    Entry(
        name="tuple of outputs", net=two_heads(lambda a, b: (a, b)), targets=draw(5), loss=lambda out, t: both(*out, t)
    ),
    Entry(
        name="dict of outputs",
        net=two_heads(lambda a, b: {"first": a, "second": b, "none": None, "extra": 3}),
        targets=draw(5),
        loss=lambda out, t: both(out["first"], out["second"], t),
    ),
    Entry(
        name="dataclass with None",
        net=two_heads(lambda a, b: Output(logits=a)),
        loss=lambda out, t: functional.mse_loss(out.logits, t),
    ),
    Entry(
        name="named tuple",
        net=two_heads(Encoded),
        targets=draw(5),
        loss=lambda out, t: both(out.mean, out.spread, t),
        metrics={"spread": lambda out, t: out.spread.abs().mean()},
    ),
    Entry(
        name="nested outputs",
        net=two_heads(lambda a, b: ([a, {"deep": (b,)}], None)),
        targets=draw(5),
        loss=lambda out, t: both(out[0][0], out[0][1]["deep"][0], t),
    ),
    Entry(
        name="pairs through one net",
        net=Pairs,
        inputs=lambda n: (torch.randn(n, 3), torch.randn(n, 3)),
        targets=classes(2),
        loss=contrastive,
    ),
    Entry(
        name="similarity of pairs",
        net=Pairs,
        inputs=lambda n: (torch.randn(n, 3), torch.randn(n, 3)),
        targets=lambda n: 2.0 * torch.randint(2, (n,)) - 1,
        loss=lambda out, t: functional.cosine_embedding_loss(*out, t, margin=0.2),
    ),
    Entry(
        name="triplets",
        net=lambda: Net(lambda net, *inputs: [net.branch(x) for x in inputs], branch=nn.Linear(3, 2)),
        inputs=lambda n: tuple(torch.randn(n, 3) for _ in range(3)),
        targets=lambda n: torch.zeros(n),
        loss=lambda out, t: functional.triplet_margin_loss(*out),
    ),
    Entry(name="mask with −inf", net=Masked, inputs=lambda n: {"tokens": torch.randn(n, 4, 3), "mask": padding(n)}),
    Entry(
        name="inputs by name in another order",
        net=Masked,
        inputs=lambda n: {"mask": padding(n), "scale": torch.rand(n, 1) + 0.5, "tokens": torch.randn(n, 4, 3)},
    ),
    Entry(name="Fourier space", net=Complex, inputs=draw(6)),
    Entry(
        name="complex inputs",
        net=lambda: Net(lambda net, x: net.linear(torch.view_as_real(x).flatten(1)), linear=nn.Linear(6, 2)),
        inputs=lambda n: torch.randn(n, 3, dtype=torch.complex64),
    ),
    Entry(
        name="graph convolution",
        net=Graph,
        inputs=lambda n: (torch.randn(n, 5, 3), (torch.rand(n, 5, 5) < 0.5).float()),
    ),
    Entry(
        name="sparse inputs",
        net=lambda: Net(lambda net, x: torch.sparse.mm(x, net.weight), weight=nn.Parameter(torch.randn(6, 2))),
        inputs=sparse_rows,
        refused=(InvalidData, "sparse_coo"),
    ),
    Entry(
        name="bytes as inputs",
        net=lambda: Net(lambda net, x: net.linear(x.to(net.linear.weight.dtype) / 255), linear=nn.Linear(3, 2)),
        inputs=lambda n: torch.randint(256, (n, 3), dtype=torch.uint8),
    ),
    Entry(
        name="targets of several parts",
        refused=(InvalidData, "targets one tensor"),
        net=two_heads(lambda a, b: (a, b)),
        targets=lambda n: (torch.randn(n, 2), torch.randint(3, (n,))),
        loss=lambda out, t: functional.mse_loss(out[0], t[0]) + functional.cross_entropy(out[1], t[1]),
    ),
]
