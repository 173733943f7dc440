"""A module is tried against plain copies of itself: what is no function of its parameters is refused by name."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.errors import InvalidModel, InvalidSetting, NotDeterministic
from weightstring.problem.inspection.originals import poisoned, untouched

INPUTS = torch.linspace(-1.5, 2, 66).view(22, 3)
DATA = (INPUTS, INPUTS.cos() @ torch.linspace(-1, 1, 6).view(3, 2))


def problem_of(net: nn.Module, loss=functional.mse_loss, **settings: object) -> ws.ModuleProblem:
    return ws.ModuleProblem(net, loss, DATA, batch_size=None, engine="loop", **settings)


def plain_loss(make: object, problem: ws.ModuleProblem, theta: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient of a new net that has loaded θ and has its mode set afterwards."""
    net = make()
    net.load_state_dict(problem.unflatten(theta))
    with torch.no_grad():
        value = float(functional.mse_loss(net.eval()(INPUTS), DATA[1]))
    functional.mse_loss(net.train()(INPUTS), DATA[1]).backward()
    parameters = dict(net.named_parameters())
    return value, torch.cat([parameters[entry.name].grad.reshape(-1) for entry in problem.layout.entries])


class CachedOnEval(nn.Linear):
    """Keeps its doubled weight from the change to evaluation mode on."""

    def train(self, mode: bool = True) -> CachedOnEval:
        super().train(mode)
        self.kept = None if mode else self.weight.detach() * 2
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight * 2 if self.kept is None else self.kept, self.bias)


class MergedOnEval(nn.Module):
    """A low-rank update that goes into the frozen weight for evaluation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.base = nn.Linear(3, 2).requires_grad_(False)
        self.left, self.right = nn.Parameter(torch.randn(2, 1)), nn.Parameter(torch.randn(1, 3))
        self.merged = False

    def train(self, mode: bool = True) -> MergedOnEval:
        super().train(mode)
        if mode == self.merged:
            self.base.weight.data += (-1 if mode else 1) * (self.left.data @ self.right.data)
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        update = 0 if self.merged else inputs @ (self.left @ self.right).T
        return self.base(inputs) + update


@pytest.mark.parametrize("make", [lambda: CachedOnEval(3, 2), MergedOnEval])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_made_when_the_mode_changes_is_made_for_each_theta(make, training):
    net = make().train(training)
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    problem = problem_of(net)
    own = problem._parts.template.own.theta
    for theta in (own, own + 0.3, own * -1.7, own):
        state = problem.unflatten(theta)
        net_of = make()
        net_of.load_state_dict(state)
        with torch.no_grad():
            expected = float(functional.mse_loss(net_of.eval()(INPUTS), DATA[1]))
        assert float(problem.measure(theta[None])["loss"]) == pytest.approx(expected, rel=1e-5)
        problem.gradient(theta[None], None)
    assert all(torch.equal(kept[name], tensor) for name, tensor in net.state_dict().items())


class Forgetful(nn.Linear):
    """Takes the weight of its first call for all later ones."""

    def forward(self, inputs: Tensor) -> Tensor:
        if "kept" not in vars(self):
            self.kept = self.weight.detach().clone()
        return functional.linear(inputs, self.kept + 0 * self.weight, self.bias)


class Owned(nn.Module):
    """Numbers that are trained but registered nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.scales = [torch.ones(2, requires_grad=True)]

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) * self.scales[0]


class Renormalised(nn.Linear):
    """Writes to its weight in training alone, as spectral clipping does."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.weight /= self.weight.norm() + 1
        return super().forward(inputs)


class Rebound(nn.Linear):
    """Puts a new parameter in place of its own."""

    def forward(self, inputs: Tensor) -> Tensor:
        output = super().forward(inputs)
        self.bias = nn.Parameter(self.bias.detach().clone())
        return output


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Forgetful(3, 2),
            InvalidModel,
            r"^at another theta net gives the loss .* plain copy .* earlier weights",
        ),
        (Owned, InvalidSetting, r"^the training loss depends on trainable numbers .* \(a tensor \(2,\)\): make them"),
        (lambda: Renormalised(3, 2), InvalidModel, r"^forward writes to parameter 'weight'"),
        (lambda: Rebound(3, 2), InvalidModel, r"^forward writes to parameter 'bias'"),
    ],
)
def test_what_is_no_function_of_its_parameters_is_refused(refused, make, error, message):
    with refused(error, message):
        problem_of(make())


def test_a_loss_that_reads_the_net_or_has_weights_of_its_own_is_refused(refused):
    net = nn.Linear(3, 2)

    def penalised(output: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(output, targets) + 0.1 * net.weight.square().sum()

    with refused(InvalidModel, r"^net, loss_fn or a metric reads the module that was passed"):
        problem_of(net, penalised)

    def detached(output: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(output, targets) + 0.1 * net.weight.detach().square().sum()

    with refused(InvalidModel, r"^net, loss_fn or a metric reads the module that was passed"):
        problem_of(net, detached)
    with refused(InvalidModel, r"^net, loss_fn or a metric reads the module that was passed"):
        problem_of(net, metrics={"norm": lambda output, targets: net.weight.detach().norm()})

    class Proxies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proxy = nn.Parameter(torch.ones(2))

        def forward(self, output: Tensor, targets: Tensor) -> Tensor:
            return (output * self.proxy - targets).square().mean()

    with refused(InvalidSetting, r"\(loss_fn's 'proxy'\): make them parameters of net"):
        problem_of(net, Proxies())


def test_a_step_that_trains_another_module_is_refused(refused):
    net = nn.Linear(3, 2)
    with refused(InvalidSetting, r"'weight' of the module that was passed"):
        problem_of(net, training_step=lambda own, x, y: functional.mse_loss(net(x), y))


def test_a_loss_that_writes_to_its_targets_is_refused(refused):
    def centred(output: Tensor, targets: Tensor) -> Tensor:
        return (output - targets.sub_(1)).square().mean()

    with refused(InvalidSetting, r"^loss_fn or a metric writes to its targets"):
        problem_of(nn.Linear(3, 2), centred)


@pytest.mark.parametrize("draw", [random.random, numpy.random.rand, lambda: float(torch.rand(()))])
def test_whatever_generator_a_net_draws_from_a_gradient_repeats(draw):
    class Skipping(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * (2.0 if self.training and draw() < 0.5 else 1.0)

    problem = problem_of(Skipping(3, 2))
    theta, rows = problem.initial(0), torch.arange(14).view(2, 7)
    states = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    first = problem.gradient(theta.expand(2, -1), rows).gradients
    assert all(torch.equal(problem.gradient(theta.expand(2, -1), rows).gradients, first) for _ in range(5))
    assert (
        len({tuple(problem.gradient(theta[None], torch.arange(i, i + 5)[None]).losses.tolist()) for i in range(9)}) > 1
    )
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_a_generator_that_no_seed_reaches_is_refused(refused):
    class Own(nn.Linear):
        generator = numpy.random.default_rng(0)

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * (1.0 + self.training * float(self.generator.random()))

    with refused(NotDeterministic, r"^two gradients of one theta .* draw from torch's, Python's or NumPy's global"):
        problem_of(Own(3, 2))


def test_hooks_read_and_write_the_copy_that_computes():
    def make() -> nn.Module:
        torch.manual_seed(2)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        net.scale = 1.0

        def measure(module: nn.Module, inputs: object, output: Tensor) -> None:
            net.scale = output.square().mean()

        def scale(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output / (1 + net.scale) + net[0].bias[:2]

        net[0].register_forward_hook(measure)
        net.register_forward_hook(scale)
        net[2].weight.register_hook(lambda gradient: gradient * 3)
        return net

    net = make()
    problem = problem_of(net)
    for theta in (problem._parts.template.own.theta, problem._parts.template.own.theta - 0.4):
        value, gradient = plain_loss(make, problem, theta)
        assert float(problem.measure(theta[None])["loss"]) == pytest.approx(value, rel=1e-6)
        torch.testing.assert_close(problem.gradient(theta[None], None).gradients[0], gradient)
    assert net.scale == 1.0


def test_inputs_stay_as_they_are_on_every_path():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.4, inplace=True), nn.Linear(3, 2))
    problem = problem_of(net, evaluate=DATA, chunk=5)
    before = problem._parts.train.digest(), problem.observed().digest()
    theta = problem.initial(1)
    expected = problem.measure(theta[None])["loss"]
    problem.gradient(theta[None], None), problem.gradient(theta[None], torch.arange(6)[None])
    problem.hessian_products(theta, theta[None], None)
    problem.measure_each(theta)
    assert torch.equal(problem.measure(theta[None])["loss"], expected)
    assert (problem._parts.train.digest(), problem.observed().digest()) == before


def test_a_dtype_keeps_imaginary_parts():
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.register_buffer("turn", torch.polar(torch.tensor(1.0), torch.tensor(0.7)))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.view_as_real(torch.view_as_complex(self.linear(inputs)) * self.turn)

    net = Turning()
    problem = problem_of(net, dtype=torch.float64)
    expected = functional.mse_loss(net(INPUTS), DATA[1]).item()
    assert float(problem.measure(problem.flatten(net)[None])["loss"]) == pytest.approx(expected, rel=1e-6)


def test_a_net_is_put_back_as_it_was():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    net.log, net.table = [1], {"a": 2}
    weight, storage = net[0].weight.clone(), net[0].weight.data_ptr()
    with untouched(net):
        net.log.append(2), net.table.clear()
        net.extra, net[1].training = 3, False
        net[0].weight.data.zero_()
        net[0].bias = nn.Parameter(torch.ones(2))
    assert (net.log, net.table, hasattr(net, "extra"), net[1].training) == ([1], {"a": 2}, False, True)
    assert torch.equal(net[0].weight, weight)
    with poisoned(net):
        assert net[0].weight.isnan().all()
    assert torch.equal(net[0].weight, weight)
    assert net[0].weight.data_ptr() == storage
