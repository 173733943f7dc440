"""Why bounds are loose: what each operation adds to a bound, beside what taking it away shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.problem.surfaces import Spike
from weightstring.proof.certificate import Piece
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.linear import Unnormalised
from weightstring.proof.enclose.looseness import LOSS, _alone, looseness_of
from weightstring.proof.enclose.rules import Call
from weightstring.proof.enclose.walking import Walk

DRAW = torch.Generator().manual_seed(3)
X, Y = torch.randn(8, 4, generator=DRAW).double(), torch.randint(3, (8,), generator=DRAW)
LOW, HIGH = 0.25, 0.75
WHERE = Intervals(torch.tensor([0]), torch.tensor([LOW]).double(), torch.tensor([HIGH]).double())


def enclosed(activation: nn.Module) -> Enclosing:
    net = nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 6), activation, nn.Linear(6, 3)).double()
    problem = ws.ModuleProblem(net, F.cross_entropy, (X, Y))
    a = problem.initial(0)
    step = 0.3 * torch.randn(len(a), generator=torch.Generator().manual_seed(4)).double()
    return enclosing(problem, torch.stack([a, a + step]), "loss", 1 << 28)


@dataclass(frozen=True, eq=False)
class Without(Walk):
    """A walk without a small part of one operation's own remainder."""

    where: str = ""
    part: float = 0.0

    def _result(self, call: Call, values: dict[str, object]) -> object:
        found = super()._result(call, values)
        if call.step.where != self.where or not isinstance(found, Enclosure | Unnormalised):
            return found
        own = super()._result(call, {name: _alone(value) for name, value in values.items()})
        if isinstance(found, Unnormalised) and isinstance(own, Unnormalised):
            return replace(found, alone=self._less(found.alone, own.alone))
        assert isinstance(own, Enclosure)
        return self._less(found, own)

    def _less(self, found: Enclosure, own: Enclosure) -> Enclosure:
        norm = None if found.norm is None or own.norm is None else found.norm - self.part * own.norm
        return replace(found, radius=found.radius - self.part * own.radius, norm=norm)


def images() -> Enclosing:
    """Two convolutions under BatchNorm, which scales the second's errors by itself."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 2), nn.BatchNorm2d(2), nn.ReLU()]
        net = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), *layers, nn.Flatten(), nn.Linear(2, 3)).double()
    inputs = torch.randn(8, 16, generator=torch.Generator().manual_seed(5)).double()
    problem = ws.ModuleProblem(net, F.cross_entropy, (inputs, Y), buffers="frozen")
    a = problem.initial(0)
    step = 0.3 * torch.randn(len(a), generator=torch.Generator().manual_seed(4)).double()
    return enclosing(problem, torch.stack([a, a + step]), "loss", 1 << 28)


@pytest.mark.parametrize(("build", "named"), [
    (lambda: enclosed(nn.ReLU()), "1 (ReLU)"), (lambda: enclosed(nn.Tanh()), "1 (Tanh)"),
    pytest.param(images, "4 (Conv2d)", marks=pytest.mark.slow),
])  # fmt: skip
def test_shares_are_what_the_bound_loses_without_an_operations_remainder(
    build: Callable[[], Enclosing], named: str
) -> None:
    of = build()
    bound, part = float(of.bounds(WHERE)), 1e-4
    (found,) = looseness_of(of, [Piece(0, LOW, HIGH, bound)], lambda piece: 0.0)
    shares = {cause.where: cause.share for cause in found.causes}
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    lost = {}
    for where in shares.keys() - {LOSS}:
        less = replace(of)
        walk = of.walk
        less.__dict__["walk"] = Without(walk.program, walk.examples, walk.derived, walk.degree, where, part)
        lost[where] = (bound - float(less.bounds(WHERE))) / part
    assert len(lost) >= 3
    assert named in " ".join(lost)
    assert all(shares[a] / shares[b] == pytest.approx(lost[a] / lost[b], rel=0.01) for a in lost for b in lost)


def test_a_certificate_tells_of_each_segment_its_highest_interval() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    problem = ws.ModuleProblem(net, F.cross_entropy, (X, Y))
    string = ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in range(3)]))
    certificate = ws.certify(problem, string, tol=0.01, explain=True)
    assert [each.segment for each in certificate.looseness] == [0, 1]
    for each in certificate.looseness:
        own = [piece for piece in certificate.partition if piece.segment == each.segment]
        assert max(own, key=lambda piece: piece.bound)[:3] == each[:3]
        assert 0 <= each.gap <= certificate.upper_bound
        assert each.causes[0].where.endswith("(ReLU)") or each.causes[0].where == LOSS
    assert ws.Certificate.from_json(certificate.to_json(), "here") == certificate


def test_what_is_not_enclosed_operation_by_operation_has_none() -> None:
    spike = Spike()
    certificate = ws.certify(spike, ws.WeightString(spike, torch.stack(spike.ends)), tol=0.1, explain=True)
    assert certificate.looseness == ()


def test_an_error_rate_whose_bound_has_no_derivatives_still_has_a_gap() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    problem = ws.ModuleProblem(
        net, F.cross_entropy, (X, Y), metrics={"error": lambda o, y: (o.argmax(1) != y).double().mean()}
    )
    string = ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in range(2)]))
    (found,) = ws.certify(problem, string, quantity="error", tol=0.1, max_intervals=8, explain=True).looseness
    assert found.gap >= 0
    assert [cause.where for cause in found.causes] in ([], [LOSS])
