import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from weightstring import problem as ws
from weightstring.errors import InvalidModel, InvalidSetting
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


class Assigning(nn.BatchNorm1d):
    """A BatchNorm of a user's own, which assigns its statistics anew instead of writing into them."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = inputs.mean(0), inputs.var(0, unbiased=False)
            with torch.no_grad():
                self.running_mean = torch.lerp(self.running_mean, mean, self.momentum)
                self.running_var = torch.lerp(self.running_var, var, self.momentum)
        return (inputs - mean) / (var + self.eps).sqrt() * self.weight + self.bias


class OfInstances(nn.Module):
    """InstanceNorm with running statistics, used twice in a pass."""

    def __init__(self, momentum: float | None = 0.3) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(3, affine=True, track_running_stats=True, momentum=momentum)
        self.mix = nn.Conv1d(3, 3, 2)
        self.last = nn.Linear(9, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        signal = torch.stack([inputs, inputs.square(), inputs.roll(1, 1), inputs + 1, inputs.sin()], 2)
        return self.last(self.norm(self.mix(self.norm(signal)))[:, :, :3].flatten(1))


def averaged(layer: nn.Module, seen: list[torch.Tensor], dims: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """What a layer's statistics are when they are computed by hand: means of those of each pass."""
    means = torch.stack([part.mean(dims[-1:]).mean(0) if len(dims) == 2 else part.mean(0) for part in seen])
    biased = isinstance(layer, Assigning)
    kept = [part.var(dims[-1:], unbiased=not biased) for part in seen]
    variances = torch.stack([var.mean(0) if len(dims) == 2 else var for var in kept])
    return {"running_mean": means.mean(0), "running_var": variances.mean(0)}


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_instance_norm_averages_what_it_sees(engine, momentum):
    torch.manual_seed(1)
    net = OfInstances(momentum).double()
    problem = ws.ModuleProblem(net, nn.functional.cross_entropy, data(), chunk=4, engine=engine)
    assert check_by_hand(net, problem, (0, 2))


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("layer", [Assigning, nn.SyncBatchNorm])
def test_relatives_of_batch_norm_are_recalibrated_like_it(engine, layer):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), layer(4), nn.Tanh(), nn.Linear(4, 2)).double()
    problem = ws.ModuleProblem(net, nn.functional.cross_entropy, data(), chunk=4, engine=engine)
    assert check_by_hand(net, problem, (0,))


def check_by_hand(net: nn.Module, problem: ws.ModuleProblem, dims: tuple[int, ...]) -> bool:
    """Compare statistics and loss at a θ off net's own with those of a plain copy that is fed part by part."""
    generator = torch.Generator().manual_seed(8)
    theta = problem.flatten(net)
    theta = theta + 0.3 * torch.randn(len(theta), generator=generator).double()
    reference = copy.deepcopy(net)
    reference.load_state_dict(problem.unflatten(theta))
    reference.eval()
    (layer,) = buffers.tracking(reference)
    path = next(name for name, module in reference.named_modules() if module is layer)
    inputs, targets = data()
    seen: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    layer.train()
    with torch.no_grad():
        for part in (inputs[:3], inputs[3:7], inputs[7:]):
            reference(part)
    by_hand = averaged(layer, seen, dims)
    state = problem.unflatten(theta)
    for kind, expected in by_hand.items():
        assert torch.allclose(state[f"{path}.{kind}"], expected, rtol=1e-12), kind
        getattr(layer, kind).copy_(expected)
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(reference.eval()(inputs), targets))
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(loss, rel=1e-12)
    return True


def test_training_with_instance_norm_writes_nothing():
    net = OfInstances().double()
    before = copy.deepcopy(net.state_dict())
    for mode in ("recalibrate", "frozen"):
        problem = ws.ModuleProblem(net, nn.functional.cross_entropy, data(), buffers=mode, chunk=4)
        theta, rows = problem.initial(3)[None], torch.arange(2)[None]
        first, second = (problem.gradient(theta, rows) for _ in range(2))
        assert torch.equal(first.gradients, second.gradients)
        reference = copy.deepcopy(net)
        reference.load_state_dict(problem.unflatten(theta[0]))
        reference.eval().norm.train(mode == "recalibrate")
        with torch.no_grad():
            loss = float(nn.functional.cross_entropy(reference(data()[0][:2]), data()[1][:2]))
        assert float(first.losses) == pytest.approx(loss, rel=1e-12)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_instance_norm_needs_no_second_example():
    settings = {"batch_size": 1, "chunk": 1}
    problem = ws.ModuleProblem(OfInstances().double(), nn.functional.cross_entropy, data(3), **settings)
    assert problem.statistics_names == {
        f"norm.{kind}" for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert bool(problem.measure(problem.initial(0)[None])["loss"].isfinite())


class Failing(nn.BatchNorm1d):
    """A layer that cannot collect statistics, though it trains without them."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training and self.track_running_stats:
            raise RuntimeError("not\nhere")
        return super().forward(inputs)


class Silent(nn.BatchNorm1d):
    """A layer of a user's own that normalises by its running statistics but never writes to them."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - self.running_mean) / self.running_var.sqrt()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Failing, r"^net cannot collect running statistics \(not\): mend its layer, or pass buffers='frozen'$"),
        (Silent, r"^1 does not write to its running_mean and running_var, so that they cannot be collected for each"),
    ],
)
def test_layers_that_cannot_be_recalibrated_are_refused(layer, message):
    net = nn.Sequential(nn.Linear(3, 4), layer(4), nn.Linear(4, 2)).double()
    with pytest.raises(InvalidModel, match=message):
        ws.ModuleProblem(net, nn.functional.cross_entropy, data())
    assert ws.ModuleProblem(net, nn.functional.cross_entropy, data(), buffers="frozen").size == 34


def test_a_part_of_one_example_is_refused():
    with pytest.raises(InvalidSetting, match=r"^the smallest of 2 parts of at most chunk=2 training examples is 1 but"):
        ws.ModuleProblem(Shared().double(), nn.functional.cross_entropy, data(3), chunk=2)


def test_layers_that_a_nets_own_training_mode_holds_still_are_constants():
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.BatchNorm1d(3), nn.Linear(3, 2)
            self.norm.running_mean += 0.7

        def train(self, mode: bool = True) -> nn.Module:
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.linear(self.norm(inputs))

    net, inputs = Frozen(), torch.linspace(-1, 2, 30).view(10, 3)
    targets = inputs.sin()[:, :2]
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (inputs, targets), engine="loop", batch_size=None)
    theta = problem.flatten(net)
    expected = nn.functional.mse_loss(net.train()(inputs), targets)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(expected.item(), rel=1e-6)
    assert float(problem.gradient(theta[None], None).losses) == pytest.approx(expected.item(), rel=1e-6)
