"""No bound below a value: over every rule, every loss, random weights, intervals and places in them.

A few of each: experiments/soundness_certificates.py draws as many as there is time for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.testing import rules
from weightstring.testing.rules import check_certificate_rule, check_verification_rule
from weightstring.tracing.program import TRACED

EXAMPLES = TRACED
"""As many as modules are traced with anyway."""


@pytest.fixture(autouse=True)
def _fewer_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "INTERVALS", 24)


class Residual(nn.Module):
    """A block with a skip, a concatenation and a product of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(10, 3)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        h = h + self.second(h) * self.scale - 0.5
        gate = torch.sigmoid(h)
        return self.last(torch.cat([h * gate, -h / 3], dim=1))


class Conv(nn.Module):
    """Convolutions with stride, padding, dilation and groups, pooling and BatchNorm."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.uniform_(-0.1, 0.1)
        self.norm.running_var.uniform_(0.5, 1.5)
        self.second = nn.Conv2d(4, 4, 3, stride=2, dilation=1, groups=2, padding="valid")
        self.pool = pool
        self.last = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(F.leaky_relu(self.norm(self.first(x)), 0.1))
        return self.last(F.relu(self.second(h)).flatten(1))


class Signal(nn.Module):
    """One-dimensional: convolution, pooling, a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool1d(3, stride=2, padding=1, ceil_mode=True)
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(F.hardtanh(self.conv(x.unsqueeze(1)), -0.3, 0.4))
        return self.last(F.avg_pool1d(h, 2).mean(2)).squeeze(1)


class Shapes(nn.Module):
    """Axes moved about, weights used twice, powers, clamps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2) / 2)
        self.last = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.view(-1, 2, 2).transpose(1, 2).permute(0, 2, 1)
        h = F.linear(h, self.weight).clamp(min=0)
        h = F.linear(h, self.weight.t()) ** 2
        h = torch.maximum(h[:, 0], h[:, 1].abs()) + h.sum(dim=1)
        return self.last(F.relu6(h)).squeeze(1)


def mlp(activation: Callable[[], nn.Module], outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, outputs))


@dataclass
class Case:
    """A module, its loss, and what its inputs and targets look like."""

    net: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    inputs: tuple[int, ...] = (4,)
    targets: str = "classes"
    quantity: str = "loss"


def distance(loss: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, target: loss(output, target)


def error(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(-1) != target).double().mean()


def negative_log_likelihood(output: Tensor, target: Tensor) -> Tensor:
    return F.nll_loss(F.log_softmax(output, dim=1), target)


def written_out(output: Tensor, target: Tensor) -> Tensor:
    return 2 * ((output - target) ** 2).mean() + 0.5


CLASS_WEIGHTS = torch.tensor([0.2, 1.0, 3.0])

CASES = {
    "relu": Case(lambda: mlp(nn.ReLU), F.cross_entropy),
    "smoothing": Case(lambda: mlp(nn.ReLU), partial(F.cross_entropy, label_smoothing=0.2)),
    "class weights": Case(
        lambda: mlp(nn.ReLU), nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, ignore_index=1, label_smoothing=0.1)
    ),
    "distributions": Case(lambda: mlp(nn.ReLU), F.cross_entropy, targets="distributions"),
    "nll": Case(lambda: mlp(nn.ReLU), negative_log_likelihood),
    "error": Case(lambda: mlp(nn.ReLU), F.cross_entropy, quantity="error"),
    "tanh": Case(lambda: mlp(nn.Tanh), F.cross_entropy),
    "sigmoid": Case(lambda: mlp(nn.Sigmoid, 1), F.mse_loss, targets="numbers"),
    "gelu": Case(lambda: mlp(nn.GELU), F.cross_entropy),
    "gelu by tanh": Case(lambda: mlp(lambda: nn.GELU("tanh")), F.cross_entropy),
    "silu": Case(lambda: mlp(nn.SiLU), F.cross_entropy),
    "softplus": Case(lambda: mlp(lambda: nn.Softplus(2.0)), F.cross_entropy),
    "leaky": Case(lambda: mlp(nn.LeakyReLU, 1), F.l1_loss, targets="numbers"),
    "hardtanh": Case(lambda: mlp(nn.Hardtanh, 1), F.smooth_l1_loss, targets="numbers"),
    "huber": Case(lambda: mlp(nn.ReLU, 1), partial(F.huber_loss, delta=0.3), targets="numbers"),
    "mixed": Case(
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
        F.cross_entropy,
        quantity="error",
    ),
    "binary": Case(lambda: mlp(nn.ReLU, 1), F.binary_cross_entropy_with_logits, targets="shares"),
    "positive": Case(lambda: mlp(nn.Tanh, 1), nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), targets="shares"),
    "residual": Case(Residual, F.cross_entropy),
    "linear": Case(lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 3, bias=False)), F.cross_entropy),
    "max pool": Case(lambda: Conv(nn.MaxPool2d(2)), F.cross_entropy, (1, 8, 8)),
    "overlapping pool": Case(lambda: Conv(nn.MaxPool2d(3, 2, 1, ceil_mode=True)), F.cross_entropy, (1, 8, 8)),
    "average pool": Case(lambda: Conv(nn.AvgPool2d(2)), F.cross_entropy, (1, 8, 8)),
    "adaptive pool": Case(lambda: Conv(nn.AdaptiveAvgPool2d(4)), F.cross_entropy, (1, 8, 8), quantity="error"),
    "signal": Case(Signal, F.mse_loss, (9,), "numbers"),
    "shapes": Case(Shapes, written_out, (4,), "numbers"),
    "dropout": Case(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3)), F.cross_entropy),
}


def targets_of(case: Case, count: int, generator: torch.Generator) -> Tensor:
    if case.targets == "classes":
        return torch.randint(3, (count,), generator=generator)
    if case.targets == "distributions":
        return torch.rand(count, 3, generator=generator, dtype=torch.float64).softmax(1)
    values = torch.rand(count, generator=generator, dtype=torch.float64)
    columns = case.inputs != (9,) and case.net is not Shapes
    return values.unsqueeze(1) if columns else values


@cache
def build(name: str) -> ws.ModuleProblem:
    """A case's problem, for all tests of this file: it is traced once."""
    case = CASES[name]
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = case.net().double()
        inputs = torch.rand(EXAMPLES, *case.inputs, generator=generator, dtype=torch.float64) * 2 - 1
        net.eval()(inputs)
        targets = targets_of(case, EXAMPLES, generator)
        metrics = {"error": error} if case.quantity == "error" else None
        return ws.ModuleProblem(net, case.loss, (inputs, targets), buffers="frozen", engine="loop", metrics=metrics)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", CASES)
def test_nothing_lies_outside_its_enclosure(name: str) -> None:
    """Over the cases 180,000 of (net, interval, place, example), each with all its outputs."""
    check_certificate_rule(build(name), quantity=CASES[name].quantity, seed=4)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", CASES)
def test_a_second_implementation_proves_the_same(name: str) -> None:
    check_verification_rule(build(name), quantity=CASES[name].quantity, seed=4)


@pytest.mark.many(quick=6)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.quantity == "loss"])
def test_bounds_meet_the_values_on_narrow_intervals(name: str) -> None:
    problem = build(name)
    first = problem.flatten(problem.evaluating.module)
    beads = torch.stack(
        [first, first + 0.01 * torch.randn(len(first), generator=torch.Generator().manual_seed(3)).double()]
    )
    low = torch.arange(8).double() / 8
    narrow = Intervals(torch.zeros(8, dtype=torch.int64), low, low + 2.0**-14)
    values = problem.measure(beads[0] * (1 - low.unsqueeze(1)) + beads[1] * low.unsqueeze(1))["loss"]
    excess = (enclosing(problem, beads, "loss", 1 << 28).bounds(narrow) - values) / (1 + values.abs())
    assert float(excess.max()) < 1e-3
