"""Hessian products: those of the dense Hessian, of the very loss that the gradient differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem import ModuleProblem, hessian
from weightstring.problem.surfaces import Maze, Ring, Spike, TwoWells, shifted
from weightstring.protocol import Curved

COUNT = 23


def draw(seed: int, *shape: int) -> Tensor:
    return 0.5 + torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tanh() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Dropout(0.4), nn.Linear(4, 3))


def weight_normed() -> nn.Module:
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(norm(nn.Linear(6, 4)), nn.Tanh(), norm(nn.Linear(4, 3), dim=1))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


class Attention(nn.Module):
    """Its fused attention has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(2, 6)
        self.leave = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        queries, keys, values = self.project(inputs.view(-1, 1, 3, 2)).chunk(3, dim=-1)
        return self.leave(nn.functional.scaled_dot_product_attention(queries, keys, values).flatten(1))


class Once(torch.autograd.Function):
    """x², differentiable once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 2 * ctx.saved_tensors[0] * slope


def own_step(net: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    noisy = inputs + 0.1 * torch.randn_like(inputs)
    return nn.functional.cross_entropy(net(noisy), targets) + net[0].weight.square().mean()


def build(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64, **settings: object) -> ModuleProblem:
    torch.manual_seed(4)
    targets = torch.randint(3, (COUNT,), generator=torch.Generator().manual_seed(1))
    settings = {"engine": "loop", **settings}
    return ModuleProblem(make(), nn.functional.cross_entropy, (draw(0, COUNT, 6), targets), dtype=dtype, **settings)


def by_differences(problem: ModuleProblem, theta: Tensor, vectors: Tensor, rows: Tensor | None) -> Tensor:
    """Fourth-order central differences of the gradient."""
    batch = None if rows is None else rows[None]

    def at(v: Tensor, k: int) -> Tensor:
        return problem.gradient((theta + k * 3e-4 * v)[None], batch).gradients[0]

    return torch.stack([(8 * (at(v, 1) - at(v, -1)) - at(v, 2) + at(v, -2)) / (12 * 3e-4) for v in vectors])


def dense(problem: ModuleProblem, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    net = tanh().to(inputs.dtype)

    def loss(flat: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(net, problem.layout.views(flat), inputs), targets)

    return torch.autograd.functional.hessian(loss, theta)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("chunk", [5, 2048])
@pytest.mark.parametrize("rows", [None, torch.tensor([3, 17, 4, 8, 8, 0, 21])])
def test_products_are_those_of_the_dense_hessian(dtype, tolerance, chunk, rows):
    problem = build(tanh, dtype, chunk=chunk)
    assert isinstance(problem, Curved)
    theta, vectors = problem.initial(2), draw(3, 4, problem.size).to(dtype)
    inputs = draw(0, COUNT, 6).to(dtype)
    targets = torch.randint(3, (COUNT,), generator=torch.Generator().manual_seed(1))
    taken = slice(None) if rows is None else rows
    expected = vectors @ dense(problem, theta, inputs[taken], targets[taken])
    found = problem.hessian_products(theta, vectors, rows)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


CASES = {
    "weight norm": (weight_normed, {}),
    "dropout": (dropping, {}),
    "batch statistics": (normed, {"buffers": "recalibrate"}),
    "frozen statistics": (normed, {"buffers": "frozen"}),
    "own step": (tanh, {"training_step": own_step}),
    "attention": (Attention, {}),
}


@pytest.mark.many(quick=8)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk", [5, 2048])
@pytest.mark.parametrize("given", [False, True])
def test_products_are_of_the_loss_that_the_gradient_differentiates(name, chunk, given):
    make, settings = CASES[name]
    problem = build(make, chunk=chunk, **settings)
    theta, vectors = problem.initial(2), draw(3, 2, problem.size)
    rows = torch.arange(3, 17) if given else None
    draws = name in ("dropout", "own step")
    if draws and not given:
        pytest.skip("without rows, draws are a function of θ: no differences can be taken")
    expected = by_differences(problem, theta, vectors, rows)
    state = torch.get_rng_state()
    found = problem.hessian_products(theta, vectors, rows)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(problem.hessian_products(theta, vectors, rows), found)


def test_without_rows_the_draws_are_those_of_the_gradient():
    problem = build(dropping, chunk=5)
    theta = problem.initial(2)
    slopes = []

    def watch(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
        slopes.append(torch.cat([slope.reshape(-1) for slope in torch.autograd.grad(value, leaves)]))
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hessian, "slopes_of", watch)
        problem.hessian_products(theta, draw(3, 1, problem.size), None)
    sizes = [4, 5, 4, 5, 5]
    mean = sum(size / COUNT * slope for size, slope in zip(sizes, slopes, strict=True))
    torch.testing.assert_close(mean, problem.gradient(theta[None], None).gradients[0], rtol=1e-12, atol=1e-14)


def test_the_first_look_at_part_of_the_data_has_the_curvature_of_its_part():
    inputs, targets = draw(0, 4100, 6), draw(1, 4100, 3)
    problem = ModuleProblem(tanh().double(), nn.functional.mse_loss, (inputs, targets), engine="loop")
    part = problem.screening
    theta, vectors = problem.initial(0), draw(2, 1, problem.size)
    expected = by_differences(part, theta, vectors, None)
    torch.testing.assert_close(part.hessian_products(theta, vectors, None), expected, rtol=1e-7, atol=1e-8)
    assert not torch.allclose(problem.hessian_products(theta, vectors, None), expected, rtol=1e-5)


def test_a_loss_that_is_linear_in_the_model_has_no_curvature():
    targets = draw(1, COUNT, 1) + 100
    problem = ModuleProblem(nn.Linear(6, 1).double(), nn.functional.l1_loss, (draw(0, COUNT, 6), targets))
    vectors = draw(2, 3, 7)
    assert torch.equal(problem.hessian_products(problem.initial(0), vectors, None), torch.zeros(3, 7).double())
    assert hessian.products(lambda theta: 2 * theta.sum(), vectors[0], vectors).abs().sum() == 0


def test_no_vectors_have_no_products():
    problem = build(tanh)
    empty = torch.zeros(0, problem.size, dtype=torch.float64)
    assert problem.hessian_products(problem.initial(0), empty, None).shape == empty.shape


def test_what_has_no_second_derivative_says_so_although_autograd_would_leave_it_out():
    class Net(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return Once.apply(super().forward(inputs))

    problem = build(lambda: Net(6, 3))
    with pytest.raises(RuntimeError, match="differentiable only once"):
        problem.hessian_products(problem.initial(0), draw(0, 1, problem.size), None)


def test_vectors_and_rows_that_do_not_fit_are_refused(refused):
    problem = build(tanh)
    theta = problem.initial(0)
    with refused(InvalidCheckpoint, "where the problem needs"):
        problem.hessian_products(theta, torch.zeros(2, 3).double(), None)
    with refused(InvalidCheckpoint, "where the problem needs"):
        problem.hessian_products(theta.float(), theta[None], None)
    with refused(InvalidSetting, "^rows are"):
        problem.hessian_products(theta, theta[None], torch.tensor([0.5]))
    with refused(InvalidCheckpoint, "expected models as rows"):
        TwoWells().hessian_products(torch.zeros(2).double(), torch.zeros(1, 3).double())


def test_too_large_a_piece_is_refused_in_one_line(refused, monkeypatch):
    def too_large(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    problem = build(tanh)
    monkeypatch.setattr(hessian, "slopes_of", too_large)
    with refused(InvalidSetting, "does not fit into memory"):
        problem.hessian_products(problem.initial(0), problem.initial(0)[None], None)


@pytest.mark.parametrize("surface", [TwoWells(), Ring(ridge=0.25), Spike(width=0.3, stiffness=4.0), Maze()])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_a_surface_has_the_products_of_its_dense_hessian(surface, dtype, tolerance):
    moved = shifted(replace(surface, size=4, dtype=dtype), torch.tensor([0.7, -0.8, -2.3, 0.2]))
    assert isinstance(moved, Curved)
    theta, vectors = draw(0, 4).to(dtype), draw(1, 3, 4).to(dtype)
    expected = vectors @ torch.autograd.functional.hessian(lambda leaf: moved.loss(leaf[None])[0], theta)
    found = moved.hessian_products(theta, vectors, None)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_a_loss_that_ends_in_such_an_operation_is_refused_too():
    """Its gradient is a constant to autograd: the product would be 0 without a word."""
    with pytest.raises(RuntimeError, match="differentiable only once"):
        hessian.products(lambda theta: Once.apply(theta).sum(), torch.ones(2), torch.eye(2))
    assert hessian.products(lambda theta: 3 * theta.sum(), torch.ones(2), torch.eye(2)).tolist() == [[0.0, 0.0]] * 2
