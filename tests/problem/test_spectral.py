import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import remove_parametrizations

from weightstring.errors import Unsupported
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem
from weightstring.problem.copying import copied
from weightstring.problem.spectral import top_pair
from weightstring.proof.enclose.proving import certify


def data(count: int = 13) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 5, generator=generator).double() - 1, torch.randn(count, 3, generator=generator).double()


def parametrized(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    first = parametrizations.spectral_norm(nn.Linear(5, 7), n_power_iterations=2)
    return nn.Sequential(first, nn.Tanh(), parametrizations.spectral_norm(nn.Linear(7, 3), dim=1)).double()


def hooked(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 7)), nn.Tanh(), nn.utils.spectral_norm(nn.Linear(7, 3)))
    net = net.double()
    net(data()[0])  # leaves its weights behind as results of autograd
    return net


class Convolutions(nn.Module):
    """A transposed convolution, whose rows are its second axis, and a weight that is normalised twice over."""

    def __init__(self) -> None:
        super().__init__()
        self.down = parametrizations.spectral_norm(nn.ConvTranspose1d(5, 4, 1))
        self.last = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(4, 3)))
        parametrizations.spectral_norm(self.last, "bias")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.down(inputs.unsqueeze(2)).squeeze(2).tanh())


def convolutions(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Convolutions().double()


KINDS = [parametrized, pytest.param(hooked, marks=pytest.mark.filterwarnings("ignore:.*weight_norm")), convolutions]


def trained(net: nn.Module) -> nn.Module:
    optimizer = torch.optim.SGD(net.parameters(), 0.3)
    inputs, targets = data()
    for _ in range(20):
        optimizer.zero_grad()
        functional.mse_loss(net(inputs), targets).backward()
        optimizer.step()
    return net


def plain_loss(net: nn.Module, problem: ModuleProblem, theta: torch.Tensor) -> torch.Tensor:
    """The loss of the user's own module into which θ was loaded, its vectors iterated until nothing moves."""
    reference = copied(net)
    reference.load_state_dict(problem.unflatten(theta))
    for module in reference.modules():
        for norm in (module, *module._forward_pre_hooks.values()):
            if hasattr(norm, "n_power_iterations"):
                norm.n_power_iterations = 500
    reference.train()(data()[0])
    with torch.no_grad():
        return functional.mse_loss(reference.eval()(data()[0]), data()[1])


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_theta_is_measured_with_its_own_largest_singular_values(kind, engine):
    net = kind(1)
    problem = ModuleProblem(net, functional.mse_loss, data(), engine=engine, batch_size=None)
    ends = [problem.flatten(trained(kind(seed))) for seed in (3, 4)]
    thetas = torch.stack([ends[0], torch.lerp(*ends, 0.3), ends[1]])
    measured = problem.measure(thetas)["loss"]
    expected = torch.stack([plain_loss(net, problem, theta) for theta in thetas])
    assert torch.allclose(measured, expected, rtol=1e-12)
    assert torch.allclose(problem.gradient(thetas, None).losses, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [parametrized, convolutions])
def test_gradients_are_slopes_of_that_loss(kind):
    problem = ModuleProblem(kind(1), functional.mse_loss, data(), engine="loop", batch_size=None)
    theta = problem.flatten(trained(kind(3)))
    direction = torch.randn(problem.size, generator=torch.Generator().manual_seed(0)).double()
    ahead, behind = (problem.measure((theta + step * direction)[None])["loss"] for step in (1e-6, -1e-6))
    slope = problem.gradient(theta[None], None).gradients[0] @ direction
    assert float(slope) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-6)


def test_hessians_know_that_singular_vectors_move():
    problem = ModuleProblem(parametrized(1), functional.mse_loss, data(), engine="loop", batch_size=None)
    theta = problem.flatten(trained(parametrized(3)))
    direction = torch.randn(problem.size, generator=torch.Generator().manual_seed(0)).double()
    ahead, behind = (problem.gradient((theta + step * direction)[None], None).gradients[0] for step in (1e-5, -1e-5))
    product = problem.hessian_products(theta, direction[None], None)[0]
    assert torch.allclose(product, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7)


def test_training_writes_to_no_vector():
    net = parametrized(1)
    before = copy.deepcopy(net.state_dict())
    problem = ModuleProblem(net, functional.mse_loss, data(), engine="loop", batch_size=None)
    theta = problem.flatten(net)
    gradients = [problem.gradient(theta[None], None).gradients for _ in range(2)]
    assert torch.equal(*gradients)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_training_step_of_the_users_own_sees_them_too():
    def step(net, inputs, targets):
        return functional.mse_loss(net(inputs), targets)

    problem = ModuleProblem(parametrized(1), functional.mse_loss, data(), batch_size=None, training_step=step)
    theta = problem.flatten(trained(parametrized(3)))[None]
    assert torch.allclose(problem.gradient(theta, None).losses, problem.measure(theta)["loss"], rtol=1e-12)


def test_frozen_buffers_leave_them_functions_of_theta():
    problem = ModuleProblem(parametrized(1), functional.mse_loss, data(), buffers="frozen", batch_size=None)
    end = trained(parametrized(3))
    theta = problem.flatten(end)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(
        float(plain_loss(end, problem, theta)), rel=1e-12
    )


def test_certificates_refuse_what_they_would_take_for_constants():
    problem = ModuleProblem(parametrized(1), functional.mse_loss, data())
    with pytest.raises(Unsupported, match=r"^spectral norm's singular vectors are functions of theta"):
        problem.traceable("loss")


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4), (1, 6), (6, 1)])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_top_pairs_are_those_of_the_singular_value_decomposition(shape, scale):
    matrix = scale * torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    u, v = top_pair(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    assert float(u @ (matrix @ v)) == pytest.approx(float(values[0]), rel=1e-13)
    assert torch.allclose(u * (u @ left[:, 0]).sign(), left[:, 0], atol=1e-12)
    assert torch.allclose(v * (v @ right[0]).sign(), right[0], atol=1e-12)


def test_a_double_singular_value_is_still_the_norm():
    matrix = torch.eye(4, dtype=torch.float64)[:3].requires_grad_()
    u, v = top_pair(matrix)
    sigma = u @ matrix @ v
    (slope,) = torch.autograd.grad(sigma, matrix)
    assert float(sigma.detach()) == pytest.approx(1.0, rel=1e-14)
    assert bool(slope.isfinite().all())


def test_zero_weights_are_not_a_number_as_in_torch():
    net = parametrized(1)
    problem = ModuleProblem(net, functional.mse_loss, data(), batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert bool(problem.measure(torch.zeros(1, problem.size).double())["loss"].isnan())


def test_what_the_refusal_to_certify_advises_leaves_the_ends_what_they_are():
    ends = [trained(parametrized(seed)) for seed in (3, 4)]
    problem = ModuleProblem(parametrized(1), functional.mse_loss, data(), engine="loop")
    losses = problem.measure(torch.stack([problem.flatten(end) for end in ends]))["loss"]
    for end in ends:
        end.load_state_dict(problem.unflatten(problem.flatten(end)))
        for layer in (end[0], end[2]):
            remove_parametrizations(layer, "weight")
    baked = ModuleProblem(ends[0], functional.mse_loss, data(), engine="loop")
    thetas = [baked.flatten(end) for end in ends]
    assert torch.allclose(baked.measure(torch.stack(thetas))["loss"], losses, rtol=1e-12)
    assert certify(baked, WeightString(baked, thetas), threshold=1e6).holds
