"""Small networks of every common kind, with inputs, and how many permutations of units they have, counted by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws

EXAMPLES = 9


class Net(nn.Module):
    """Modules and parameters by name, and a function of them and the inputs: a network in one line."""

    def __init__(self, function: Callable[..., Any], **held: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def param(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


def leaves(output: Any) -> list[Tensor]:
    """All tensors of an output."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [leaf for part in parts if part is not None for leaf in leaves(part)]


def loss(output: Any, targets: Tensor) -> Tensor:
    """Squared errors of any kind of output."""
    return sum((leaf.flatten(1) - targets[:, None].to(leaf)).square().mean() for leaf in leaves(output))


def problem_of(
    net: nn.Module, inputs: Any, dtype: torch.dtype = torch.float64, buffers: str | None = None
) -> ws.ModuleProblem:
    """A problem of any module and inputs."""
    examples = len(leaves(inputs)[0])
    targets = torch.linspace(-1, 1, examples, dtype=dtype)
    return ws.ModuleProblem(
        net.to(dtype), loss, (inputs, targets), dtype=dtype, batch_size=None, buffers=buffers, engine="loop"
    )


def scattered(problem: ws.ModuleProblem, seed: int = 0) -> Tensor:
    """A model with no number left at 0 or 1, as initial biases and normalisations would be."""
    theta = problem.flatten(problem._parts.net)
    noise = torch.randn(len(theta), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return theta + 0.3 * noise.to(theta)


def outputs(problem: ws.ModuleProblem, theta: Tensor) -> Tensor:
    """All numbers that the network returns on the evaluation set."""
    with torch.no_grad():
        found = problem.evaluating(theta, problem.observed(), problem.statistics(theta))
    return torch.cat([leaf.flatten().double() for leaf in leaves(found)])


def change(problem: ws.ModuleProblem, one: Tensor, other: Tensor) -> float:
    """By how much the outputs of two models differ, relative to the largest."""
    before, after = outputs(problem, one), outputs(problem, other)
    return float((before - after).abs().max() / before.abs().max())


def count(*orders: tuple[int, int] | int) -> float:
    """The decimal logarithm of a product of factorials: n, or (n, times)."""
    pairs = [order if isinstance(order, tuple) else (order, 1) for order in orders]
    return math.fsum(times * math.lgamma(n + 1) for n, times in pairs) / math.log(10)


@dataclass(frozen=True)
class Case:
    """A network.

    Args:
        net: makes it.
        inputs: draws its inputs for so many examples.
        permutations: the decimal logarithm of how many permutations of units there are; None: not counted.
        scaled: how many numbers of groups may be scaled by positive factors, and how many by signs; None: not counted.
        buffers: what becomes of running statistics.
    """

    net: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    permutations: float | None
    scaled: tuple[int, int] | None = None
    buffers: str | None = None

    def problem(self, dtype: torch.dtype = torch.float64) -> ws.ModuleProblem:
        """The problem; one for all tests, which is traced once."""
        return _shared(self, dtype)

    def fresh(self, dtype: torch.dtype = torch.float64) -> ws.ModuleProblem:
        """The same, of which nothing is known yet."""
        with torch.random.fork_rng():
            torch.manual_seed(3)
            net, inputs = self.net(), self.inputs(EXAMPLES)
            for name, buffer in net.named_buffers():
                if name.endswith("running_mean"):
                    buffer.normal_()
                elif name.endswith("running_var"):
                    buffer.uniform_(0.5, 2.0)
        return problem_of(net, inputs, dtype, self.buffers)


@cache
def _shared(case: Case, dtype: torch.dtype) -> ws.ModuleProblem:
    return case.fresh(dtype)


def numbers(*shape: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, *shape, dtype=torch.float64)


def tokens(vocabulary: int, length: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randint(vocabulary, (n, length))


# Convolutional networks


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(20, 4),
        nn.Tanh(), nn.Linear(4, 2),
    )  # fmt: skip


class ResidualBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
        )
        self.norms = nn.ModuleList([norm(out), norm(out)])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width != out:
            self.shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), norm(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + self.shortcut(x))


def resnet(norm: Callable[[int], nn.Module], widths: tuple[int, int] = (3, 5)) -> nn.Module:
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(2, first, 3, 1, 1, bias=False), norm(first), nn.ReLU(),
        ResidualBlock(first, first, 1, norm), ResidualBlock(first, second, 2, norm),
        ResidualBlock(second, second, 1, norm),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second, 2),
    )  # fmt: skip


def separable() -> nn.Module:
    def block(width: int, out: int) -> list[nn.Module]:
        depthwise = [nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU6()]
        return [*depthwise, nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)]

    return nn.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU6(), *block(3, 4), nn.ReLU6(), *block(4, 5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(5, 2),
    )  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


class Dense(nn.Module):
    """DenseNet: each layer sees all before it."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 5, 7]
        self.layers = nn.ModuleList(
            [nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, 2, 3, padding=1)) for w in widths]
        )
        self.stem, self.norm, self.head = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(9), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(F.relu(self.norm(torch.cat(features, 1))).mean((2, 3)))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 3, padding=1)
        self.pool, self.last = nn.Conv2d(2, 2, 1), nn.Conv2d(9, 3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.one(x), self.three(x), self.pool(F.avg_pool2d(x, 3, 1, 1))]
        return self.head(F.relu(self.last(F.relu(torch.cat(branches, 1)))).amax((2, 3)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
        self.up, self.last, self.out = nn.ConvTranspose2d(5, 4, 2, 2), nn.Conv2d(7, 6, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        deep = F.relu(self.up(F.relu(self.middle(F.max_pool2d(skip, 2)))))
        return self.out(F.relu(self.last(torch.cat([skip, deep], 1))))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze, self.excite = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 3, 1), nn.Conv2d(3, 5, 1)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.stem(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(h, 1)))))
        return self.head((h * gate).mean((-2, -1)))


class Shuffle(nn.Module):
    """ShuffleNet: grouped convolutions, channels shuffled between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (
            nn.Conv2d(2, 6, 1),
            nn.Conv2d(6, 8, 1, groups=2),
            nn.Conv2d(8, 6, 1, groups=2),
        )
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(F.relu(self.stem(x))))
        n, c, height, width = h.shape
        h = h.view(n, 2, c // 2, height, width).transpose(1, 2).reshape(n, c, height, width)
        return self.head(F.relu(self.second(h)).mean((2, 3)))


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise, self.norm = (
            nn.Conv2d(2, 4, 2, 2),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4),
            nn.LayerNorm(4),
        )
        self.wide, self.narrow, self.gamma = nn.Linear(4, 7), nn.Linear(7, 4), nn.Parameter(torch.ones(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        h = self.gamma * self.narrow(F.gelu(self.wide(h)))
        return self.head((x + h.permute(0, 3, 1, 2)).mean([-2, -1]))


# Recurrent networks


class Recurrent(nn.Module):
    """The final state of all layers and directions of the last layer, or the outputs."""

    def __init__(self, kind: type[nn.RNNBase], bidirectional: bool, final: bool, **options: Any) -> None:
        super().__init__()
        self.cells = kind(3, 4, 2, batch_first=True, bidirectional=bidirectional, **options)
        self.head, self.final = nn.Linear(8 if bidirectional else 4, 2), final

    def forward(self, x: Tensor) -> Tensor:
        output, state = self.cells(x)
        if not self.final:
            return self.head(output)
        hidden = state[0] if isinstance(state, tuple) else state
        last = torch.cat([hidden[-2], hidden[-1]], 1) if self.cells.bidirectional else hidden[-1]
        return self.head(last)


# Attention


class Encoder(nn.Module):
    def __init__(self, padded: bool, norm_first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 5, batch_first=True, norm_first=norm_first)
        self.embedding, self.head = nn.Linear(3, 6), nn.Linear(6, 2)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.padded = padded

    def forward(self, x: Tensor) -> Tensor:
        mask = x[..., 0] > 1.0 if self.padded else None
        return self.head(self.encoder(self.embedding(x), src_key_padding_mask=mask).mean(1))


class Multihead(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 6)
        self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True, **options), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(x)
        y, weights = self.attention(x, x, x)
        return self.head(x + y), weights


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 6), nn.Embedding(5, 6)
        self.norms = nn.ModuleList([nn.LayerNorm(6) for _ in range(3)])
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 6)
        self.wide, self.narrow = nn.Linear(6, 7), nn.Linear(7, 6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        n, length = x.shape
        h = self.tokens(x) + self.places(torch.arange(length))
        q, k, v = (part.view(n, length, 2, 3).transpose(1, 2) for part in self.qkv(self.norms[0](h)).split(6, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.proj(y.transpose(1, 2).contiguous().view(n, length, 6))
        h = h + self.narrow(F.gelu(self.wide(self.norms[1](h))))
        return self.out(self.norms[2](h))


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(2, 6, 2, 2), nn.LayerNorm(6)
        self.cls, self.places = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 5, 6))
        self.qkv, self.proj, self.head = nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.places
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, length, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1) * 3**-0.5).softmax(dim=-1)
        x = x + self.proj((scores @ v).transpose(1, 2).reshape(n, length, width))
        return self.head(x[:, 0])


class GroupedQueries(nn.Module):
    """4 query heads, 2 heads of keys and values, width 3."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.embedding, self.q, self.k, self.v = nn.Linear(3, 5), nn.Linear(5, 12), nn.Linear(5, 6), nn.Linear(5, 6)
        self.proj, self.how = nn.Linear(12, 2), how

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        n, length, _ = x.shape
        q = self.q(x).view(n, length, 4, 3).transpose(1, 2)
        k, v = (own(x).view(n, length, 2, 3).transpose(1, 2) for own in (self.k, self.v))
        if self.how == "repeat_interleave":
            k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
        elif self.how == "expand":
            k, v = (own[:, :, None].expand(n, 2, 2, length, 3).reshape(n, 4, length, 3) for own in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.how == "enable_gqa")
        return self.proj(y.transpose(1, 2).reshape(n, length, 12))


class SwiGlu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Linear(3, 5), nn.RMSNorm(5)
        self.gate, self.up, self.down = (nn.Linear(*sizes, bias=False) for sizes in ((5, 7), (5, 7), (7, 5)))
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        h = self.norm(x)
        return self.head(x + self.down(F.silu(self.gate(h)) * self.up(h)))


class Rotary(nn.Module):
    """2 heads of width 4, of which halves are rotated; the norms of queries and keys are shared by heads if wanted."""

    def __init__(self, rotated: bool, normalised: bool) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 5)
        self.q, self.k, self.v, self.proj = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 2)
        self.norms = nn.ModuleList([nn.LayerNorm(4), nn.LayerNorm(4)] if normalised else [nn.Identity(), nn.Identity()])
        self.rotated = rotated

    def turned(self, x: Tensor) -> Tensor:
        if not self.rotated:
            return x
        angles = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 0.5 ** torch.arange(2, dtype=x.dtype)
        angles = torch.cat([angles, angles], -1)
        one, two = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-two, one], dim=-1) * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        n, length, _ = x.shape
        q, k, v = (own(x).view(n, length, 2, 4).transpose(1, 2) for own in (self.q, self.k, self.v))
        q, k = self.turned(self.norms[0](q)), self.turned(self.norms[1](k))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, 8))


class EinsumAttention(nn.Module):
    """2 heads; queries of width 3, values of width 4."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 5)
        self.q, self.k, self.v, self.o = param(2, 5, 3), param(2, 5, 3), param(2, 5, 4), param(2, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        q, k, v = (torch.einsum("ntd,hdw->nhtw", x, weight) for weight in (self.q, self.k, self.v))
        scores = torch.einsum("nhtw,nhsw->nhts", q, k).softmax(-1)
        return torch.einsum("nhts,nhsw,hwo->nto", scores, v, self.o)


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norms = nn.Linear(3, 5), nn.ModuleList([nn.LayerNorm(5), nn.LayerNorm(5)])
        self.over_places = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.over_channels = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5))
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + self.over_places(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.over_channels(self.norms[1](x))
        return self.head(x.mean(1))


# Other forms of modules


class Bag(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(11, 4, mode=mode), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag(x))


def frozen_first() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    return net


def two_inputs(self: Net, one: Tensor, two: Tensor) -> Tensor:
    return self.last(torch.relu(self.left(one) + self.right(two)))


def two_outputs(self: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    hidden = torch.tanh(self.enter(x))
    return self.left(hidden), self.right(hidden)


def pictures_enlarged(self: Net, x: Tensor) -> Tensor:
    return self.last(torch.relu(F.pixel_shuffle(self.first(x), 2)))


SQUARE = (2, 4, 4)
HEADS = count(2, (3, 2), (3, 2))
"""Two heads, queries and values of width 3."""

ZOO: dict[str, Case] = {
    "mlp, relu": Case(
        lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)),
        numbers(3), count(6, 4), (10, 0),
    ),
    "mlp, tanh": Case(
        lambda: nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)),
        numbers(3), count(6, 4), (0, 10),
    ),
    "mlp, gelu": Case(lambda: nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.Linear(6, 2)), numbers(3), count(6), (0, 0)),
    "mlp, linear": Case(lambda: nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2)), numbers(3), count(6), (6, 6)),
    "cnn, recalibrated": Case(conv_net, numbers(2, 8, 8), count(3, 5, 4), (8, 4), "recalibrate"),
    "cnn, frozen": Case(conv_net, numbers(2, 8, 8), count(4), (8, 4), "frozen"),
    "resnet, batch norm": Case(lambda: resnet(nn.BatchNorm2d), numbers(*SQUARE), count(3, 3, 5, 5, 5)),
    "resnet, group norm": Case(
        lambda: resnet(lambda width: nn.GroupNorm(2, width), (4, 6)), numbers(*SQUARE),
        count((2, 5), (2, 4), (3, 6)),
    ),
    "resnet, instance norm": Case(
        lambda: resnet(lambda width: nn.InstanceNorm2d(width, affine=True)), numbers(*SQUARE), count(3, 3, 5, 5, 5)
    ),
    "separable": Case(separable, numbers(2, 8, 8), count(3, 4, 5)),
    "grouped": Case(grouped, numbers(*SQUARE), count(2, (3, 2), (4, 2), 4)),
    "group norm": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(16, 2),
        ),
        numbers(*SQUARE), count(3, (2, 3), 4),
    ),
    "dense": Case(Dense, numbers(2, 5, 5), count(3, 2, 2, 2)),
    "inception": Case(Inception, numbers(*SQUARE), count(3, 4, 2, 3), (12, 0)),
    "u-net": Case(UNet, numbers(*SQUARE), count(3, 5, 4, 6), (18, 0)),
    "squeeze and excite": Case(SqueezeExcite, numbers(*SQUARE), count(5, 3)),
    "shuffle": Case(Shuffle, numbers(*SQUARE), count(2, (3, 2), 2, (2, 2), (3, 2))),
    "pixel shuffle": Case(
        lambda: Net(pictures_enlarged, first=nn.Conv2d(2, 12, 3), last=nn.Conv2d(3, 2, 1)), numbers(*SQUARE), count(3)
    ),
    "convnext": Case(ConvNext, numbers(*SQUARE), count(4, 7)),
    "prelu": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3), nn.PReLU(5), nn.Flatten(), nn.Linear(20, 4), nn.PReLU(), nn.Linear(4, 2)
        ),
        numbers(*SQUARE), count(5, 4), (9, 0),
    ),
    "lstm": Case(lambda: Recurrent(nn.LSTM, False, True), numbers(5, 3), count(4, 4), (0, 0)),
    "lstm, both directions": Case(lambda: Recurrent(nn.LSTM, True, True), numbers(5, 3), count((4, 4)), (0, 0)),
    "lstm, outputs": Case(lambda: Recurrent(nn.LSTM, True, False, bias=False), numbers(5, 3), count((4, 4)), (0, 0)),
    "gru": Case(lambda: Recurrent(nn.GRU, True, True), numbers(5, 3), count((4, 4)), (0, 0)),
    "rnn, tanh": Case(lambda: Recurrent(nn.RNN, True, True), numbers(5, 3), count((4, 4)), (0, 16)),
    "rnn, relu": Case(lambda: Recurrent(nn.RNN, False, True, nonlinearity="relu"), numbers(5, 3), count(4, 4), (8, 0)),
    "encoder": Case(lambda: Encoder(False), numbers(4, 3), count(6, 5, 5) + 2 * HEADS),
    "encoder, padded": Case(lambda: Encoder(True), numbers(4, 3), count(6, 5, 5) + 2 * HEADS),
    "encoder, norm first": Case(lambda: Encoder(False, True), numbers(4, 3), count(6, 5, 5) + 2 * HEADS),
    "multihead": Case(Multihead, numbers(4, 3), count(6) + HEADS),
    "multihead, options": Case(
        lambda: Multihead(add_bias_kv=True, add_zero_attn=True), numbers(4, 3), count(6) + HEADS
    ),
    "gpt": Case(Gpt, tokens(11, 5), count(6, 7) + HEADS),
    "vit": Case(Vit, numbers(*SQUARE), count(6) + HEADS),
    "grouped queries, repeated": Case(
        lambda: GroupedQueries("repeat_interleave"), numbers(4, 3), count(5, 2, (2, 2), (3, 2), (3, 2))
    ),
    "grouped queries, expanded": Case(
        lambda: GroupedQueries("expand"), numbers(4, 3), count(5, 2, (2, 2), (3, 2), (3, 2))
    ),
    "grouped queries, option": Case(
        lambda: GroupedQueries("enable_gqa"), numbers(4, 3), count(5, 2, (2, 2), (3, 2), (3, 2))
    ),
    "swiglu": Case(SwiGlu, numbers(3), count(5, 7)),
    "rotary": Case(lambda: Rotary(True, False), numbers(4, 3), count(5, 2, (4, 2))),
    "norms of queries and keys": Case(lambda: Rotary(False, True), numbers(4, 3), count(5, 2, 4, (4, 2))),
    "rotary, norms": Case(lambda: Rotary(True, True), numbers(4, 3), count(5, 2, (4, 2))),
    "einsum": Case(EinsumAttention, numbers(4, 3), count(5, 2, (3, 2), (4, 2))),
    "mixer": Case(Mixer, numbers(4, 3), count(5, 6, 7)),
    "bag, mean": Case(lambda: Bag("mean"), tokens(11, 3), count(4), (4, 4)),
    "bag, max": Case(lambda: Bag("max"), tokens(11, 3), count(4), (4, 0)),
    "raw parameters": Case(
        lambda: Net(lambda self, x: torch.relu(x @ self.a + self.b) @ self.c, a=param(3, 5), b=param(5), c=param(5, 2)),
        numbers(3), count(5), (5, 0),
    ),
    "inputs by name": Case(
        lambda: Net(two_inputs, left=nn.Linear(3, 5), right=nn.Linear(2, 5), last=nn.Linear(5, 2)),
        lambda n: {"two": torch.randn(n, 2), "one": torch.randn(n, 3)}, count(5), (5, 0),
    ),
    "inputs in order": Case(
        lambda: Net(two_inputs, left=nn.Linear(3, 5), right=nn.Linear(2, 5), last=nn.Linear(5, 2)),
        lambda n: (torch.randn(n, 3), torch.randn(n, 2)), count(5), (5, 0),
    ),
    "two outputs": Case(
        lambda: Net(two_outputs, enter=nn.Linear(3, 5), left=nn.Linear(5, 2), right=nn.Linear(5, 1)),
        numbers(3), count(5), (0, 5),
    ),
    "frozen first": Case(frozen_first, numbers(3), count(4), (4, 0)),
    "places in a buffer": Case(
        lambda: Net(
            lambda self, x: self.last(torch.relu(self.first(x) + self.places)),
            first=nn.Linear(3, 5), last=nn.Linear(5, 2), places=torch.arange(20.0).view(4, 5),
        ),
        numbers(4, 3), 0.0, (0, 0),
    ),
}  # fmt: skip
