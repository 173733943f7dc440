"""What once got a false certificate, or an error that said nothing: each is refused in words, or its bound holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone calls it

import weightstring as ws
from weightstring.proof.enclose.bisection import bisect
from weightstring.proof.enclose.bounding import Plain
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.proving import certificate_of
from weightstring.proof.enclose.rules import RULES
from weightstring.proof.enclose.samples import Sampled
from weightstring.proof.verify.operations import OPERATIONS
from weightstring.proof.verify.replay import Replay
from weightstring.runs.certify_step import require_certifiable

N = 20
GENERATOR = torch.Generator().manual_seed(1)
X, Y = (torch.randn(N, k, generator=GENERATOR, dtype=torch.float64) for k in (4, 3))
CLASSES = torch.randint(3, (N,), generator=GENERATOR)
SHARES = torch.rand(N, 3, generator=GENERATOR, dtype=torch.float64)

WHOLE = Intervals(torch.tensor([0]), torch.zeros(1).double(), torch.ones(1).double())

Forward = Callable[["Net", Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class Net(nn.Module):
    """A module whose ``forward`` is given, with a layer ``l`` and whatever else."""

    def __init__(self, forward: Forward | None = None, outputs: int = 3, **held: Tensor | nn.Module) -> None:
        super().__init__()
        self.l = nn.Linear(4, outputs)
        self._forward = forward or (lambda net, x: net.l(x))
        for name, value in held.items():
            if isinstance(value, nn.Parameter | nn.Module):
                setattr(self, name, value)
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def built(
    net: nn.Module, loss: Loss = F.mse_loss, inputs: Tensor = X, targets: Tensor = Y, metric: Loss | None = None
) -> tuple[ws.ModuleProblem, ws.WeightString]:
    metrics = None if metric is None else {"metric": metric}
    problem = ws.ModuleProblem(
        net.double(), loss, (inputs, targets), engine="loop", buffers="frozen", batch_size=None, metrics=metrics
    )
    beads = torch.randn(2, problem.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return problem, ws.WeightString(problem, beads)


def require_sound(
    problem: ws.ModuleProblem, string: ws.WeightString, quantity: str = "loss", verifiable: bool = True
) -> ws.Certificate:
    """Certify; no interval's bound may be under a value in it, and the second implementation must agree."""
    certificate = ws.certify(problem, string, tol=1e-2, quantity=quantity, max_intervals=60)
    for piece in certificate.partition:
        t = torch.linspace(piece.low, piece.high, 17, dtype=torch.float64).unsqueeze(1)
        values = problem.measure(string[0] * (1 - t) + string[1] * t, [quantity])[quantity]
        assert float(values.max()) <= piece.bound + 1e-12 * (1 + abs(piece.bound))
    assert not verifiable or ws.verify(problem, string, certificate).ok
    return certificate


def in_place(change: Callable[[Tensor], object], before: Callable[[Tensor], Tensor] = lambda h: h) -> Forward:
    """A forward that changes its output after a view of it was taken, and returns the view."""

    def forward(net: Net, x: Tensor) -> Tensor:
        h = net.l(x)
        view = before(h)
        change(h)
        return view

    return forward


def of_rows(o: Tensor, y: Tensor) -> Tensor:
    return -o.view(7, -1).mean(1).abs().mean()


def sums(net: Net, x: Tensor) -> Tensor:
    """Sums in the guise of averages, lower than what a maximum is padded with."""
    found = F.avg_pool2d(x.view(-1, 1, 2, 2), 2, 1, divisor_override=1)
    return net.g(F.max_pool1d(found.squeeze(-1), 3, 1, 1).flatten(1))


class Weighed(nn.Module):
    """A squared error with a parameter of its own."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((3,), w, dtype=torch.float64))

    def forward(self, o: Tensor, y: Tensor) -> Tensor:
        """Its value."""
        return (self.w * (o - y).square()).mean()


REFUSED: dict[str, tuple[nn.Module, Loss, Tensor, Tensor, str]] = {
    "times the batch": (Net(), lambda o, y: F.mse_loss(o, y) * len(y), X, Y, "number of examples"),
    "times its root": (Net(), lambda o, y: F.mse_loss(o, y) * o.shape[0] ** 0.5, X, Y, "number of examples"),
    "times a constant": (
        Net(), lambda o, y: F.mse_loss(o, y) * torch.tensor(float(len(y))), X, Y, "number of examples"),
    "in forward": (Net(lambda s, x: s.l(x) * x.shape[0]), F.mse_loss, X, Y, "number of examples"),
    "a branch": (Net(lambda s, x: s.l(x) * (10 if len(x) > 10 else 1)), F.mse_loss, X, Y, "number of examples"),
    "a branch at its own size": (
        Net(lambda s, x: s.l(x) * (10 if len(x) > 15 else 1)), F.mse_loss, X, Y, "number of examples"),
    "ten": (Net(), lambda o, y: F.mse_loss(o[:10], y[:10]), X, Y, "number of examples"),
    "seven": (Net(), lambda o, y: F.mse_loss(o[:7], y[:7]), X, Y, "chooses examples"),
    "many": (Net(), lambda o, y: F.mse_loss(o[:9223], y[:9223]), X, Y, "chooses examples"),
    "view": (Net(outputs=7), of_rows, X[:14], torch.ones(14, 7).double(), "mixes them"),
    "outer": (Net(outputs=1), lambda o, y: (o - y).pow(2).mean(), X, Y[:, 0], "examples"),
    "outer product": (Net(outputs=1), lambda o, y: (o * y).pow(2).mean(), X, Y[:, 0], "examples"),
    "part of a view": (Net(in_place(lambda h: h[:, 0].mul_(100))), F.mse_loss, X, Y, "select_scatter"),
    "negative weight": (Net(), nn.BCEWithLogitsLoss(weight=torch.tensor([-1.0, -2, 1])), X, SHARES, "negative weights"),
    "negative positive": (
        Net(), nn.BCEWithLogitsLoss(pos_weight=torch.tensor([-1.0, 2, 1])), X, SHARES, "negative weights"),
    "negative shares": (Net(), F.cross_entropy, X, Y, "negative targets"),
    "softplus": (Net(lambda s, x: F.softplus(s.l(x), -1.0, 1.0)), F.mse_loss, X, Y, "beta is -1"),
    "softplus of 0": (Net(lambda s, x: F.softplus(s.l(x), 0.0, 1.0)), F.mse_loss, X, Y, "beta is 0"),
    "weight of the data": (
        Net(), lambda o, y: F.binary_cross_entropy_with_logits(o, y, weight=y + 1), X, SHARES, "weights are computed"),
    "computed shares": (
        Net(outputs=6), lambda o, y: F.cross_entropy(o[:, :3], o[:, 3:].sigmoid()), X, Y, "targets are computed"),
    "computed target": (
        Net(outputs=6), lambda o, y: F.binary_cross_entropy_with_logits(o[:, :3], o[:, 3:].sigmoid()), X, Y,
        "targets are computed"),
    "overflow": (Net(), F.mse_loss, X * 1e160, Y, "the loss is inf"),
    "division": (Net(), lambda o, y: F.mse_loss(o, y) / torch.tensor(0.0), X, Y, "divides by 0"),
}  # fmt: skip


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line_before_anything_is_measured(name: str) -> None:
    net, loss, inputs, targets, said = REFUSED[name]
    problem, string = built(net, loss, inputs, targets)
    for max_bytes in (1, 1 << 30):
        with pytest.raises(ws.Unsupported, match=said) as caught:
            ws.certify(problem, string, max_bytes=max_bytes)
        assert "\n" not in str(caught.value)


SOUND: dict[str, tuple[nn.Module, Loss, Tensor, Tensor]] = {
    "whole numbers that overflow": (Net(lambda s, x: s.l((x * x).double())), F.mse_loss, (X * 30).to(torch.int8), Y),
    "added to a view": (Net(in_place(lambda h: h.add_(5.0), lambda h: h[:, :3])), F.mse_loss, X, Y),
    "multiplied as a view": (Net(in_place(lambda h: h.view(-1, 3).mul_(5.0))), F.mse_loss, X, Y),
    "detached": (Net(lambda s, x: in_place(lambda h: h.mul_(7), Tensor.detach)(s, x) + 0 * s.l(x)), F.mse_loss, X, Y),
    "relu in place": (
        nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(True), nn.Linear(5, 3)), F.mse_loss, X, Y),
    "targets as bool": (
        Net(outputs=1), lambda o, y: F.mse_loss(o.squeeze(1), y.bool().double()), X, CLASSES * 50),
    "targets as uint8": (
        Net(outputs=1), lambda o, y: F.mse_loss(o.squeeze(1), y.to(torch.uint8).double()), X, CLASSES * 200),
    "buffer as whole": (Net(lambda s, x: s.l(x) * s.b.long(), b=torch.tensor([-2.0, 0.7, -1.9])), F.mse_loss, X, Y),
    "target rounded": (Net(), lambda o, y: F.mse_loss(o, y.to(torch.bfloat16).double()), X, Y),
    "bool inputs": (Net(lambda s, x: s.l(x.double())), F.mse_loss, X > 0, Y),
    "int8 inputs": (Net(lambda s, x: s.l(F.max_pool1d(-x.double(), 3, 1, 1))), F.mse_loss,
                    torch.full((N, 4), -128, dtype=torch.int8), Y),
    "one channel less": (Net(lambda s, x: s.l(F.max_pool1d(x, 3, 1, 1))), F.mse_loss, X, Y),
    "flipped": (Net(lambda s, x: s.l(x.flip(1)).flip(-1)), F.mse_loss, X, Y),
    "divided by a tensor": (Net(), lambda o, y: F.mse_loss(o, y) / torch.tensor(2.0), X, Y),
    "frozen layer": (
        Net(lambda s, x: s.g(s.l(x).relu()), g=nn.Linear(3, 3).requires_grad_(False)), F.mse_loss, X, Y),
    "frozen normalisation": (
        Net(lambda s, x: s.g(s.l(x)).relu(), g=nn.BatchNorm1d(3).requires_grad_(False)), F.mse_loss, X, Y),
    "scalar": (Net(lambda s, x: s.l(x) * s.p, p=nn.Parameter(torch.zeros(()))), F.mse_loss, X, Y),
    "row": (Net(lambda s, x: s.l(x).relu() + s.p, p=nn.Parameter(torch.zeros(1, 3))), F.mse_loss, X, Y),
    "smoothed shares": (
        Net(), nn.CrossEntropyLoss(torch.tensor([0.1, 2.0, 5.0]).double(), label_smoothing=0.3), X, SHARES / 9),
    "larger than its mean": (
        Net(lambda s, x: torch.maximum(s.l(x), s.l(x).mean(1, keepdim=True))), F.mse_loss, X, Y),
    "scaled channels": (
        Net(lambda s, x: s.c((s.l(x).view(-1, 3, 1, 1) * s.g).relu()).flatten(1), c=nn.Conv2d(3, 3, 1),
            g=nn.Parameter(torch.ones(1, 3, 1, 1))), F.mse_loss, X, Y),
    "weighted column": (
        Net(), lambda o, y: F.cross_entropy(o, y[:, 1], torch.tensor([0.1, 2.0, 5.0]).double()), X,
        torch.stack([CLASSES.flip(0), CLASSES], 1)),
    "weighted column, squeezed": (
        Net(), lambda o, y: F.cross_entropy(o, y.squeeze(1), torch.tensor([0.1, 2.0, 5.0]).double()), X,
        CLASSES[:, None]),
    "two columns": (
        Net(lambda s, x: s.l(x).relu()), lambda o, y: F.cross_entropy(o, y[:, 0]) + F.cross_entropy(o, y[:, 1]), X,
        torch.stack([CLASSES.flip(0), CLASSES], 1)),
    "a parameter of the loss": (
        Net(lambda s, x: s.l(x) + s.criterion.w, criterion=Weighed(7.0)), Weighed(2.0).requires_grad_(False), X, Y),
    "sums as averages": (Net(sums, g=nn.Linear(1, 1)), lambda o, y: o.mean(), -10 - X.abs(), Y),
}  # fmt: skip


UNTRACED = {"divided by a tensor"} if torch.__version__ < (2, 7) else set[str]()
"""What an old torch cannot trace without a module around it, so that ``verify`` refuses it."""


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", SOUND)
def test_is_bounded_for_what_it_is(name: str) -> None:
    require_sound(*built(*SOUND[name]), verifiable=name not in UNTRACED)


def test_a_constant_that_cancels_is_allowed_for() -> None:
    _, string = built(Net())
    plain = built(Net())[0]
    problem, _ = built(Net(), lambda o, y: F.mse_loss(o, y) + 1e15 - 1e15)
    largest = max(plain.measure(string.beads)["loss"].tolist())
    assert ws.certify(problem, ws.WeightString(problem, string.beads), max_intervals=4).upper_bound >= largest


@pytest.mark.parametrize("shift", [1, -1])
def test_a_label_that_is_no_class_counts_as_wrong(shift: int) -> None:
    def wrong(o: Tensor, y: Tensor) -> Tensor:
        return (o.argmax(1) != y).double().mean()

    problem, string = built(Net(), lambda o, y: o.square().mean(), X, CLASSES + shift, metric=wrong)
    unknown = (CLASSES + shift < 0) | (CLASSES + shift > 2)
    assert require_sound(problem, string, "metric").upper_bound >= float(unknown.double().mean()) > 0


@pytest.mark.parametrize("cast", [Tensor.bool, Tensor.byte])
def test_a_class_that_is_cut_is_refused(cast: Callable[[Tensor], Tensor]) -> None:
    problem, string = built(
        Net(), F.cross_entropy, X, CLASSES, metric=lambda o, y: (cast(o.argmax(1).double()) != y).double().mean()
    )
    with pytest.raises(ws.Unsupported, match="whole"):
        ws.certify(problem, string, quantity="metric")


def test_a_loss_that_is_no_number_is_refused_in_one_line() -> None:
    ignored = nn.CrossEntropyLoss(ignore_index=2)
    with pytest.raises(ws.InvalidData, match="weight"):
        built(Net(), ignored, X, torch.full((N,), 2))


def test_a_refusal_comes_before_any_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, string = built(Net(lambda s, x: F.leaky_relu(s.l(x), -0.5)))
    for name in ("measure", "measure_along"):
        monkeypatch.setattr(type(problem), name, lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(ws.Unsupported, match=r"slope is -0\.5"):
        ws.certify(problem, string)


def test_a_course_that_is_not_reproduced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, string = built(Net())
    measure = type(problem).measure
    monkeypatch.setattr(
        type(problem), "measure", lambda self, *args: {k: 2 * v for k, v in measure(self, *args).items()}
    )
    monkeypatch.setattr(type(problem), "shares_along", False)
    with pytest.raises(ws.Unsupported, match="do not reproduce"):
        ws.certify(problem, string, max_intervals=4)


def test_a_sample_of_a_segment_that_was_replaced_is_not_the_largest() -> None:
    problem, string = built(Net())
    certificate = ws.certify(problem, string)
    settings = (problem, string.beads, "loss", None, 1e-3, certificate.partition)
    assert certificate_of(*settings, 1e9, 0.0).largest_sample == float(problem.measure(string.beads)["loss"].max())
    assert certificate_of(*settings, 1.0, 0.0).largest_sample == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "scale"), [(nn.ReLU, 1e110), (nn.GELU, 1e60)])
def test_numbers_that_overflow_are_not_surely_right(activation: type[nn.Module], scale: float) -> None:
    def wrong(o: Tensor, y: Tensor) -> Tensor:
        return (o.argmax(1) != y).double().mean()

    layers = [nn.Linear(4, 5), activation(), nn.Linear(5, 5), activation(), nn.Linear(5, 5), activation()]
    problem, string = built(nn.Sequential(*layers, nn.Linear(5, 3)), F.cross_entropy, X, CLASSES, metric=wrong)
    beads = string.beads * scale
    assert enclosing(problem, beads, "metric", 1 << 30).bounds(WHOLE).item() >= 1
    assert Replay(problem, "metric").bound(beads[0].numpy(), beads[1].numpy(), 0.0, 1.0) >= 1


def test_what_no_bound_can_reach_ends_by_itself() -> None:
    def wrong(o: Tensor, y: Tensor) -> Tensor:
        return (o.argmax(1) != y).double().mean()

    ties = Net(lambda net, x: net.l(x) * net.none, none=torch.zeros(3))
    problem, string = built(ties, F.cross_entropy, X, 0 * CLASSES, metric=wrong)
    certificate = ws.certify(problem, string, 1.5e-2, quantity="metric")
    assert certificate.largest_sample == 0
    assert 1 <= certificate.upper_bound < 1.001
    assert certificate.intervals <= 64


@pytest.mark.parametrize("highest", [2.0, torch.inf])
def test_bounds_that_do_not_fall_are_left(highest: float) -> None:
    sampled = Sampled(lambda segment, ts: torch.zeros(len(ts), dtype=torch.float64), [0])
    found = bisect(Plain(lambda at: torch.full((len(at),), highest, dtype=torch.float64)), sampled, WHOLE, 1.0, 1e-3)
    assert float(found.bounds.max()) == pytest.approx(highest)
    assert len(found.intervals) <= 64


def test_a_refusal_of_what_has_a_rule_comes_before_the_search() -> None:
    problem, _ = built(Net(), lambda o, y: F.mse_loss(o, y) / torch.tensor(0.0))
    with pytest.raises(ws.Unsupported, match="divides by 0"):
        require_certifiable(problem, "evaluate")


@pytest.mark.parametrize("metric", [lambda o, y: torch.tensor(0.5), lambda o, y: 0.5])
def test_a_metric_that_is_a_constant_is_refused(metric: Loss) -> None:
    problem, string = built(Net(), F.mse_loss, X, Y, metric=metric)
    with pytest.raises(ws.Unsupported):
        ws.certify(problem, string, quantity="metric")


def test_every_rule_has_its_counterpart_in_verification() -> None:
    assert set(RULES) <= set(OPERATIONS)
