"""``verify`` says what is wrong with a certificate, whatever is wrong with it, and never raises."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone calls it

import weightstring as ws
from weightstring.problem.surfaces import Spike
from weightstring.proof.verify.checking import _in_float64
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.replay import Replay

N = 20
GENERATOR = torch.Generator().manual_seed(1)
X, Y = (torch.randn(N, k, generator=GENERATOR, dtype=torch.float64) for k in (4, 3))
CLASSES = torch.randint(3, (N,), generator=GENERATOR)

Loss = Callable[[Tensor, Tensor], Tensor]


class Scaled(nn.Module):
    """A layer times a number that no state dict holds."""

    def __init__(self, k: float, forward: Callable[[Tensor], Tensor] = lambda h: h) -> None:
        super().__init__()
        self.k = k
        self.l = nn.Linear(4, 3, dtype=torch.float64)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.l(x)) * self.k


def built(loss: Loss = F.cross_entropy, net: nn.Module | None = None, targets: Tensor = CLASSES) -> ws.ModuleProblem:
    net = Scaled(1.0) if net is None else net
    return ws.ModuleProblem(net, loss, (X, targets), engine="loop", batch_size=None)


def string_of(problem: ws.ModuleProblem, beads: int = 3) -> ws.WeightString:
    generator = torch.Generator().manual_seed(2)
    return ws.WeightString(problem, torch.randn(beads, problem.size, generator=generator, dtype=torch.float64))


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return built()


@pytest.fixture(scope="module")
def certificate(problem: ws.ModuleProblem) -> ws.Certificate:
    return ws.certify(problem, string_of(problem), tol=0.05)


def first(**changes: object) -> Callable[[ws.Certificate], ws.Certificate]:
    """The certificate with its first interval changed."""

    def change(c: ws.Certificate) -> ws.Certificate:
        return resealed(c, partition=(c.partition[0]._replace(**changes), *c.partition[1:]))

    return change


def resealed(certificate: ws.Certificate, **changes: object) -> ws.Certificate:
    changed = msgspec.structs.replace(certificate, **changes)
    try:
        return changed.sealed()
    except UnicodeEncodeError:
        return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: resealed(c, evaluation="evaluate"), "measured on"),
        (lambda c: resealed(c, quantity="banana"), "banana"),
        (lambda c: resealed(c, quantity="\ud800"), "checked"),
        (lambda c: resealed(c, largest_sample=99.0), "largest sample"),
        (lambda c: resealed(c, largest_sample=math.nan), "largest sample"),
        (lambda c: resealed(c, threshold=math.inf), "threshold"),
        (lambda c: resealed(c, tolerance=-1.0), "tolerance"),
        (lambda c: resealed(c, dtype="exact"), "exact"),
        (lambda c: resealed(c, upper_bound=math.inf), "upper bound"),
        (lambda c: resealed(c, partition=None), "intervals"),
        (lambda c: resealed(c, partition=((0, 0.0),)), "checked"),
        (first(segment="a"), "malformed"),
        (first(segment=0.0), "malformed"),
        (first(segment=False), "malformed"),
        (first(bound="a"), "malformed"),
        (first(bound=None), "malformed"),
        (first(bound=-math.inf), "refuted"),
        (first(low=math.nan), "gap"),
        (lambda c: resealed(c, partition=(*c.partition, ws.proof.certificate.Piece(0, 1.0, 1.0, 0.0))), "gap"),
    ],
)
def test_a_resealed_lie_is_a_failure(
    problem: ws.ModuleProblem,
    certificate: ws.Certificate,
    change: Callable[[ws.Certificate], ws.Certificate],
    said: str,
) -> None:
    verification = ws.verify(problem, string_of(problem), change(certificate))
    assert not verification.ok
    assert said in verification.failures[0]


@pytest.mark.parametrize("change", [{"quantity": "banana"}, {"evaluation": "holdout"}])
def test_of_a_surface_too(change: dict[str, str]) -> None:
    spike = Spike()
    chord = ws.WeightString(spike, torch.stack(spike.ends))
    certificate = ws.certify(spike, chord, threshold=0.83)
    assert ws.verify(spike, chord, certificate).ok
    assert not ws.verify(spike, chord, resealed(certificate, **change)).ok


@pytest.mark.many(quick=1)
@pytest.mark.parametrize(
    ("true", "other"),
    [
        (built(net=Scaled(2.0)), built(net=Scaled(1.0))),
        (built(nn.CrossEntropyLoss()), built(nn.CrossEntropyLoss(label_smoothing=0.1))),
        (built(lambda o, y: 2.0 * F.cross_entropy(o, y)), built(lambda o, y: 1.0 * F.cross_entropy(o, y))),
    ],
)
def test_a_number_outside_the_state_is_part_of_the_module(true: ws.ModuleProblem, other: ws.ModuleProblem) -> None:
    certificate = ws.certify(true, string_of(true), tol=0.5)
    assert ws.verify(true, string_of(true), certificate).ok
    failure = ws.verify(other, string_of(other), certificate).failures[0]
    assert "program" in failure or "criterion" in failure


def test_a_bound_that_was_not_found_comes_back_from_the_file(problem: ws.ModuleProblem, tmp_path: Path) -> None:
    string = string_of(problem, 40)
    stopped = ws.certify(problem, string, seconds=1e-9, max_bytes=10_000)
    assert stopped.upper_bound == math.inf
    stopped.save(tmp_path / "certificate.json")
    assert ws.Certificate.load(tmp_path / "certificate.json") == stopped
    assert "says nothing" in ws.verify(problem, string, stopped).failures[0]


@pytest.mark.slow
def test_a_metric_is_compared_with_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ws.ModuleProblem(
        Scaled(1.0), F.mse_loss, (X, Y), engine="loop", batch_size=None, metrics={"distance": F.l1_loss}
    )
    certificate = ws.certify(problem, string_of(problem), quantity="distance", tol=0.5)
    assert ws.verify(problem, string_of(problem), certificate).ok
    bounds = Replay._bounds
    monkeypatch.setattr(Replay, "_bounds", lambda self, *at: tuple(0.9 * part for part in bounds(self, *at)))
    assert "not the same function" in ws.verify(problem, string_of(problem), certificate).failures[0]


def in_place(h: Tensor) -> Tensor:
    view = h[:, :3]
    h.mul_(7.0)
    return view


@pytest.mark.many(quick=3)
@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (built(lambda o, y: F.mse_loss(o, y) * len(y), targets=Y), "number of examples"),
        (built(lambda o, y: F.mse_loss(o, y) * torch.tensor(float(len(y))), targets=Y), "number of examples"),
        (built(lambda o, y: F.mse_loss(o, y) * (3 if len(y) > 15 else 1), targets=Y), "number of examples"),
        (built(lambda o, y: F.mse_loss(o[:9223], y[:9223]), targets=Y), "chooses examples"),
        (built(lambda o, y: (o[:, :1] - y).pow(2).mean(), targets=Y[:, 0]), "examples"),
        (built(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([-1.0])), targets=Y.sigmoid()), "negative"),
        (built(targets=Y), "negative"),
        (built(lambda o, y: F.softplus(o - y, -1.0).mean(), targets=Y), "beta"),
        (built(lambda o, y: F.cross_entropy(o, o.detach().sigmoid()), targets=Y), "computed"),
    ],
)
def test_what_has_no_bound_is_not_verifiable(problem: ws.ModuleProblem, said: str) -> None:
    string = string_of(problem)
    with pytest.raises(NotVerifiable, match=said):
        Replay(problem, "loss").value(string[0].numpy(), string[1].numpy(), 0.5)


@pytest.mark.many(quick=1)
@pytest.mark.parametrize(
    "problem",
    [
        built(F.mse_loss, Scaled(1.0, in_place), Y),
        built(lambda o, y: F.mse_loss(o, y.long().double()), targets=Y),
        built(lambda o, y: F.mse_loss(o, y.bool().double()), targets=Y),
        built(lambda o, y: F.mse_loss(o, y) / torch.tensor(2.0), targets=Y),
        built(lambda o, y: F.mse_loss(o.flip(1), y), targets=Y),
        built(F.mse_loss, Scaled(1.0, lambda h: F.max_pool1d(h, 3, 1, 1)), Y),
        built(nn.CrossEntropyLoss(label_smoothing=0.3), targets=Y.abs() / 9),
    ],
)
def test_the_value_is_that_of_the_problem(problem: ws.ModuleProblem) -> None:
    string = string_of(problem)
    measured = float(problem.measure(string.beads[:1])["loss"])
    assert Replay(problem, "loss").value(string[0].numpy(), string[1].numpy(), 0.0) == pytest.approx(measured, rel=1e-9)


def test_constants_that_cancel_are_allowed_for() -> None:
    plain, problem = built(F.mse_loss, targets=Y), built(lambda o, y: F.mse_loss(o, y) + 1e15 - 1e15, targets=Y)
    string = string_of(plain)
    a, b = string[0].numpy(), string[1].numpy()
    assert Replay(problem, "loss").value(a, b, 0.5) >= Replay(plain, "loss").value(a, b, 0.5)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_wrong(label: int) -> None:
    problem = ws.ModuleProblem(
        Scaled(1.0),
        lambda o, y: o.square().mean(),
        (X, torch.full((N,), label)),
        engine="loop",
        metrics={"error": lambda o, y: (o.argmax(1) != y).double().mean()},
    )
    string = string_of(problem)
    value = Replay(problem, "error").value(string[0].numpy(), string[1].numpy(), 0.5)
    assert value == pytest.approx(1.0, rel=1e-9)


def test_values_that_cancel_in_float32_are_compared_in_float64() -> None:
    def far(o: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(o + 1e6, y + 1e6)

    problem = ws.ModuleProblem(nn.Linear(4, 3), far, (X.float(), Y.float()), engine="loop", batch_size=None)
    beads = torch.randn(2, problem.size, generator=torch.Generator().manual_seed(2))
    exact = Replay(problem, "loss").value(beads[0].double().numpy(), beads[1].double().numpy(), 0.0)
    assert float(problem.measure(beads[:1])["loss"]) != pytest.approx(exact, rel=1e-3)
    assert _in_float64(problem, beads[0], "loss") == pytest.approx(exact, rel=1e-6)
