import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from weightstring import problem as ws
from weightstring.errors import InvalidSetting
from weightstring.problem import buffers


class Shared(nn.Module):
    """One BatchNorm used twice in a pass, dropout between: the cases where averages differ."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 4)
        self.same = self.norm
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.drop(torch.relu(self.norm(self.first(inputs))))
        return self.last(torch.relu(self.same(self.second(hidden))))


def data(count: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = 3 + torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(2, (count,), generator=generator)


def build(mode: str | None = None, **settings: object) -> tuple[nn.Module, ws.ModuleProblem]:
    torch.manual_seed(1)
    net = Shared().double()
    net.norm.running_mean.fill_(0.5)
    problem = ws.ModuleProblem(net, nn.functional.cross_entropy, data(), buffers=mode, chunk=4, **settings)
    return net, problem


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_recalibrated_statistics_are_those_of_update_bn(engine):
    net, problem = build(engine=engine)
    theta = problem.initial(3)
    reference = copy.deepcopy(net)
    reference.load_state_dict(problem.unflatten(theta))
    reference.drop.p = 0.0
    inputs, targets = data()
    update_bn([inputs[:3], inputs[3:7], inputs[7:]], reference)
    state = problem.unflatten(theta)
    for name, buffer in reference.named_buffers():
        assert torch.allclose(state[name].double(), buffer.double(), rtol=1e-12), name
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(reference.eval()(inputs), targets))
    measured = problem.measure(torch.stack([theta, problem.flatten(net)]))["loss"]
    assert float(measured[0]) == pytest.approx(loss, rel=1e-12)


def test_frozen_statistics_are_those_of_net():
    net, problem = build("frozen")
    theta = problem.initial(3)
    state = problem.unflatten(theta)
    assert torch.equal(state["norm.running_mean"], torch.full((4,), 0.5, dtype=torch.float64))
    net.load_state_dict(state)
    inputs, targets = data()
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(net.eval()(inputs), targets))
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("mode", ["recalibrate", "frozen"])
def test_training_gradients_change_no_buffer(mode):
    _, problem = build(mode)
    thetas, rows = problem.initial(3)[None], torch.arange(5)[None]
    before = problem.unflatten(thetas[0])
    first = problem.gradient(thetas, rows)
    second = problem.gradient(thetas, rows)
    assert torch.equal(first.gradients, second.gradients)
    after = problem.unflatten(thetas[0])
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_uses_batch_statistics_only_when_recalibrating():
    def plain(training: bool) -> float:
        reference = copy.deepcopy(net).eval()
        reference.norm.train(training)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(reference(inputs[:5]), targets[:5]))

    inputs, targets = data()
    for mode in ("recalibrate", "frozen"):
        torch.manual_seed(1)
        net = Shared().double()
        net.drop.p = 0.0
        problem = ws.ModuleProblem(net, nn.functional.cross_entropy, data(), buffers=mode)
        loss = problem.gradient(problem.flatten(net)[None], torch.arange(5)[None]).losses
        assert float(loss) == pytest.approx(plain(mode == "recalibrate"), rel=1e-12)


def test_the_default_recalibrates_where_there_is_something_to():
    assert buffers.resolve(None, Shared()) == "recalibrate"
    assert buffers.resolve(None, nn.Linear(2, 2)) == "frozen"
    assert buffers.resolve(None, nn.BatchNorm1d(2, track_running_stats=False)) == "frozen"


def test_copies_share_tensors_and_their_modes_do_not_touch_the_original():
    net = Shared()
    for copied in (buffers.evaluating(net), buffers.calibrating(net), buffers.training(net, "recalibrate")):
        assert copied.first.weight is net.first.weight
        assert copied.norm is copied.same
    assert net.training
    assert net.norm.momentum == 0.1
    assert net.norm.track_running_stats


def test_unknown_mode_is_refused():
    with pytest.raises(InvalidSetting, match=r"^buffers='average': pass 'recalibrate' or 'frozen', or None"):
        build("average")


@pytest.mark.parametrize(
    ("settings", "count", "name"),
    [
        ({"batch_size": 1}, 4, "batch_size"),
        ({"chunk": 1}, 4, "chunk"),
        ({"batch_size": None}, 1, "the number of training examples"),
    ],
)
def test_batches_of_one_example_are_refused(settings, count, name):
    with pytest.raises(InvalidSetting, match=rf"^{name} is 1 but buffers='recalibrate' needs batches of at least 2"):
        ws.ModuleProblem(Shared().double(), nn.functional.cross_entropy, data(count), **settings)
