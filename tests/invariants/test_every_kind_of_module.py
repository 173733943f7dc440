"""Any ``nn.Module``, unmodified, through the public API only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import weightstring as ws


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 5), nn.Linear(5, 2)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 5), nn.GELU()) for _ in range(2)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.enter(inputs)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden)


class Language(nn.Module):
    """Scores of the next token; the decoder is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 4, batch_first=True)
        self.decoder = nn.Linear(4, 7)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.recurrent(self.embedding(tokens))[0]).transpose(1, 2)


class Attention(nn.Module):
    """A transformer layer, dropout included, and its mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, nhead=2, dim_feedforward=9, dropout=0.1, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(tokens).mean(dim=1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))


def cnn() -> nn.Module:
    features = (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*features, nn.Linear(12, 3))


def draw(*shape: int) -> torch.Tensor:
    return 0.5 + torch.randn(*shape, dtype=torch.float64)


@dataclass(frozen=True)
class Case:
    """A module, its data (inputs and targets of so many examples), its loss, and what becomes of its buffers."""

    net: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    targets: Callable[[int], torch.Tensor]
    loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    buffers: str | None = None


def images(buffers: str) -> Case:
    return Case(cnn, lambda n: draw(n, 1, 6, 6), lambda n: torch.randint(3, (n,)), functional.cross_entropy, buffers)


CASES = {
    "mlp": Case(mlp, lambda n: draw(n, 3), lambda n: draw(n, 2), functional.mse_loss),
    "cnn, recalibrated": images("recalibrate"),
    "cnn, frozen": images("frozen"),
    "residual": Case(Residual, lambda n: draw(n, 3), lambda n: draw(n, 2), functional.l1_loss),
    "lstm, tied": Case(
        Language, lambda n: torch.randint(7, (n, 5)), lambda n: torch.randint(7, (n, 5)), functional.cross_entropy
    ),
    "transformer": Case(Attention, lambda n: draw(n, 4, 6), lambda n: torch.randint(3, (n,)), functional.cross_entropy),
}
TRAIN, EVALUATE = 23, 11


@dataclass(frozen=True)
class Scene:
    """A problem, the module that it was made of, and what that module was before."""

    problem: ws.ModuleProblem
    net: nn.Module
    before: dict[str, torch.Tensor]
    modes: list[bool]
    case: Case
    evaluate: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", params=CASES)
def scene(request) -> Scene:
    case = CASES[request.param]
    torch.manual_seed(11)
    net = case.net().double()
    next(net.children()).eval()  # a part in a mode of its own, to be left in it
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn_like(buffer))
    data = {n: (case.inputs(n), case.targets(n)) for n in (TRAIN, EVALUATE)}
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    problem = ws.ModuleProblem(
        net,
        case.loss_fn,
        data[TRAIN],
        data[EVALUATE],
        batch_size=8,
        buffers=case.buffers,
        engine="loop",
        recipe=ws.Recipe("adam", {"lr": 0.02}, check_every=5),
    )
    return Scene(problem, net, before, modes, case, data[EVALUATE])


@pytest.fixture(scope="module")
def ends(scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Two random models trained to 0.7 of the better one's loss."""
    random = torch.stack([scene.problem.initial(1), scene.problem.initial(2)])
    level = 0.7 * scene.problem.measure(random, ("train_loss",))["train_loss"].min().item()
    a, b = (scene.problem.fit(seed, until=level, quantity="train_loss") for seed in (1, 2))
    return a, b


@pytest.fixture(scope="module")
def stored(scene, ends, tmp_path_factory) -> tuple[ws.Result, Path]:
    """What ``connect`` returns, and the run directory that it wrote."""
    store = tmp_path_factory.mktemp("store") / "run"
    result = ws.connect(scene.problem, *ends, store=store, stop=ws.MaxBeads(5) | ws.MaxSteps(300))
    return result, store


@pytest.fixture(scope="module")
def result(stored) -> ws.Result:
    return stored[0]


@pytest.mark.many(quick=1)
def test_the_loss_curve_is_a_plain_loop_over_the_module(scene, ends):
    a, b = ends
    plain = scene.case.net().double().eval()
    inputs, targets = scene.evaluate
    losses = []
    for t in (0.0, 0.3, 1.0):
        plain.load_state_dict(scene.problem.unflatten(torch.lerp(a, b, t)))
        with torch.no_grad():
            losses.append(scene.case.loss_fn(plain(inputs), targets).item())
    assert ws.loss_curve(scene.problem, a, b, [0.0, 0.3, 1.0]).tolist() == pytest.approx(losses, rel=1e-6)
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


@pytest.mark.many(quick=2)
def test_connect_fills_every_field(scene, ends, result):
    losses = scene.problem.measure(torch.stack(ends))["loss"].tolist()
    assert isinstance(result.outcome, ws.Connected | ws.Unresolved)
    assert result.threshold == max(losses)
    assert torch.equal(result.string.beads[0], ends[0])
    assert torch.equal(result.string.beads[-1], ends[1])
    assert result.history
    assert result.evaluations == sum(r.evaluations for r in result.history) > 0
    assert (result.bind, result.evaluation, result.names) == ("evaluate", "evaluate", ("loss",))
    assert result.beads_before_pruning >= len(result.string)
    assert [end["loss"] for end in result.ends] == pytest.approx(losses, rel=1e-9)
    top = max(segment.value for segment in result.segments)
    barriers = {name: result.string.barrier(name) for name in ("max", "over_ends", "over_mean", "over_linear")}
    assert barriers["max"] == result.string.max_loss == top
    assert barriers["over_ends"] == pytest.approx(top - max(losses), abs=1e-9)
    assert barriers["over_mean"] == pytest.approx(top - sum(losses) / 2, abs=1e-9)
    assert barriers["over_ends"] <= barriers["over_linear"] + 1e-9
    if result.connected:
        assert top <= result.threshold * (1 + 1e-12)
    else:
        assert top > result.threshold
        assert len(result.outcome.evidence.max_per_depth) == len(result.outcome.evidence.open_per_depth) > 0


def test_load_gives_it_back(scene, stored):
    result, store = stored
    for loaded in (ws.load(store), ws.load(store, scene.problem)):
        assert torch.equal(loaded.string.beads, result.string.beads)
        assert loaded.string.curve == result.string.curve
        for name in ("outcome", "threshold", "history", "bind", "evaluation", "names", "beads_before_pruning"):
            assert getattr(loaded, name) == getattr(result, name)
        assert str(loaded) == str(result)


def test_the_module_itself_is_untouched(scene, result):
    after = scene.net.state_dict()
    assert after.keys() == scene.before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in scene.before.items())
    assert [module.training for module in scene.net.modules()] == scene.modes
    assert all(parameter.grad is None for parameter in scene.net.parameters())


def test_a_bead_is_ready_for_the_module(scene, result):
    """Its tied names and buffers included."""
    fresh = scene.case.net().double()
    fresh.load_state_dict(scene.problem.unflatten(result.string[0]))
    assert torch.equal(scene.problem.flatten(fresh), result.string[0])
