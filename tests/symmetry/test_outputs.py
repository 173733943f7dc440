"""Only what the loss and the metrics read of an output has to stay: caches, hidden states and the like may move."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.errors import Unsupported
from weightstring.symmetry.finding import find
from weightstring.symmetry.outputs import what_is_read

from .zoo import Net, count, numbers, scattered


class Cache:
    """As models keep keys and values: nothing that torch knows."""

    def __init__(self, *layers: object) -> None:
        self.layers = list(layers)
        self.owner = self


class Slots:
    __slots__ = ("hidden", "logits")

    def __init__(self, logits: Tensor, hidden: Tensor) -> None:
        self.logits, self.hidden = logits, hidden


@dataclass
class Plain:
    logits: Tensor
    cache: Cache
    more: dict = field(default_factory=dict)


Named = collections.namedtuple("Named", ["hidden", "logits"])


class Normal:
    """A property makes what the loss reads."""

    def __init__(self, raw: Tensor, hidden: Tensor) -> None:
        self._raw, self.hidden = raw, hidden

    @property
    def logits(self) -> Tensor:
        return self._raw * 1.0


def squares(logits: Tensor, y: Tensor) -> Tensor:
    return (logits - y).square().mean()


FORMS = {
    "a cache in a dict": (lambda o, h: {"cache": Cache(Cache(h)), "o": o}, lambda out, y: squares(out["o"], y)),
    "a cache in a tuple": (lambda o, h: (o, Cache((h, h))), lambda out, y: squares(out[0], y)),
    "a dataclass": (lambda o, h: Plain(o, Cache(h), {"hidden": [h]}), lambda out, y: squares(out.logits, y)),
    "a named tuple": (lambda o, h: Named(h, o), lambda out, y: squares(out.logits, y)),
    "an object": (Normal, lambda out, y: squares(out.logits, y)),
    "an object with slots": (Slots, lambda out, y: squares(out.logits, y)),
    "nested": (lambda o, h: {"a": [{"b": (h, None, "text", 3, o)}]}, lambda out, y: squares(out["a"][0]["b"][4], y)),
    "a distribution": (
        lambda o, h: torch.distributions.Normal(o, 0.1 + o.square(), validate_args=False),
        lambda out, y: -out.log_prob(y).mean(),
    ),
    "the form of others is read": (
        lambda o, h: {"h": h, "o": o}, lambda out, y: squares(out["o"], y) * out["h"].shape[1] / out["h"].size(1)
    ),
    "in place": (lambda o, h: [h, o], lambda out, y: out[1].clone().sub_(y).square_().mean()),
}  # fmt: skip


def build(form, loss, metrics=None) -> ws.ModuleProblem:
    torch.manual_seed(0)

    def function(self: Net, x: Tensor) -> object:
        hidden = torch.relu(self.first(x))
        return form(self.last(hidden), hidden)

    net = Net(function, first=nn.Linear(3, 6), last=nn.Linear(6, 2)).double()
    x = numbers(3)(9)
    return ws.ModuleProblem(net, loss, (x, x[:, :2]), metrics=metrics, batch_size=None, engine="loop")


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("form", FORMS)
def test_units_move_whatever_else_the_module_returns(form):
    problem = build(*FORMS[form])
    theta = scattered(problem)
    assert find(problem).log10_permutations == pytest.approx(count(6))
    copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    found = ws.align(problem, theta, copy)
    assert found.difference < 1e-12
    assert float((found.theta - theta).norm()) < 1e-9


def test_what_a_metric_reads_stays_too():
    problem = build(
        lambda o, h: (o, h), lambda out, y: squares(out[0], y), {"first": lambda out, y: out[1][:, 0].mean()}
    )
    assert what_is_read(problem).paths == (("0",), ("1",))
    assert find(problem).log10_permutations == 0


def test_a_loss_that_the_model_computes_is_what_is_read():
    def function(self: Net, x: Tensor) -> dict[str, object]:
        hidden = torch.relu(self.first(x))
        out = self.last(hidden)
        return {"loss": F.mse_loss(out, x[:, :2]), "logits": out, "cache": Cache(hidden)}

    net = Net(function, first=nn.Linear(3, 6), last=nn.Linear(6, 2)).double()
    x = numbers(3)(9)
    problem = ws.ModuleProblem(net, lambda out, y: out["loss"], (x, x), batch_size=None, engine="loop")
    theta = scattered(problem)
    assert what_is_read(problem).paths == (("loss",),)
    assert float((ws.align(problem, theta, ws.permuted_copy(problem, theta, 1)).theta - theta).norm()) < 1e-12


def test_a_loss_that_reads_what_is_not_returned_is_refused(refused):
    kept: list[Tensor] = []

    def function(self: Net, x: Tensor) -> Tensor:
        kept[:] = [self.first(x)]
        return self.last(torch.relu(kept[0]))

    net = Net(function, first=nn.Linear(3, 6), last=nn.Linear(6, 2)).double()
    x = numbers(3)(9)
    problem = ws.ModuleProblem(
        net, lambda out, y: squares(out, y) + kept[0][:, 0].mean(), (x, x[:, :2]), batch_size=None, engine="loop"
    )
    with refused(Unsupported, "numbers that Net does not return, such as those of a hook: return them"):
        find(problem)


def test_a_module_that_does_something_else_while_traced_is_refused(refused):
    def function(self: Net, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.last(hidden.relu() if torch.compiler.is_compiling() else hidden.cumsum(1).relu())

    problem = ws.ModuleProblem(
        Net(function, first=nn.Linear(3, 6), last=nn.Linear(6, 2)).double(),
        nn.MSELoss(),
        (numbers(3)(9), numbers(2)(9)),
        batch_size=None,
    )
    with refused(Unsupported, "what torch traces of Net is not what Net computes"):
        find(problem)
