"""Moves learned by gradients of the loss on the line: elements of the group, never worse than what they begin with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.symmetry.finding import find
from weightstring.symmetry.latents import Latents
from weightstring.symmetry.moves import Move, random_factors, random_maps, random_permutation

from .test_alignment import gated
from .test_hugging_face import problem_of as language
from .test_maps import attention, residual
from .zoo import ZOO, numbers, problem_of, scattered

ALL = ["weights", "learned"]


def trained(problem: ws.ModuleProblem, seed: int) -> torch.Tensor:
    """A model after a few steps of plain descent."""
    theta = problem.initial(seed)
    for _ in range(300):
        theta = theta - 0.2 * problem.gradient(theta[None], None).gradients[0]
    return theta


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    x = numbers(3)(40)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, torch.stack([x.prod(1), x.sum(1).sin()], 1)))
    return problem, trained(problem, 1), trained(problem, 2)


def moves(problem: ws.ModuleProblem) -> list[Move]:
    """A permutation with factors, and linear maps of some size where there are any."""
    symmetry = find(problem)
    permuted = Move(symmetry, random_permutation(symmetry, 1).permutations, random_factors(symmetry, 2).factors)
    return [permuted, random_maps(symmetry, 3)] if symmetry.maps.groups else [permuted]


@pytest.mark.parametrize("name", ["mlp, tanh", "cnn, recalibrated", "encoder"])
def test_numbers_that_can_be_learned_are_a_move_whatever_they_are(name):
    problem = ZOO[name].problem()
    a, b = scattered(problem, 1), scattered(problem, 2)
    for start in moves(problem):
        for maps in {False, bool(start.maps)} if not start.maps else {True}:
            latents = Latents(start, a, b, rescale=True, maps=maps)
            assert torch.allclose(latents(), start(b.double()), rtol=1e-9, atol=1e-9)
            with torch.no_grad():
                for own in (*latents.orders.values(), *latents.turns.values(), *latents.stretches.values()):
                    own += 0.6 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0), dtype=own.dtype)
            assert torch.allclose(latents(), latents.move()(b.double()), rtol=1e-9, atol=1e-9)


def test_units_of_gates_take_their_signs_along():
    problem = problem_of(gated(), numbers(5)(24))
    a, b = scattered(problem, 1), scattered(problem, 2)
    start = moves(problem)[0]
    assert bool((start.factors["up0"] < 0).any())
    latents = Latents(start, a, b, rescale=True, maps=False)
    assert set(latents.stretches) >= {"up0", "up1"}
    assert torch.allclose(latents(), start(b.double()), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        for own in latents.orders.values():
            own += 2 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0), dtype=own.dtype)
    moved = latents.move()
    assert torch.allclose(latents(), moved(b.double()), rtol=1e-9, atol=1e-9)
    assert not torch.equal(start.permutations["gate0"], moved.permutations["gate0"])
    one, other = (move.factors["up0"].sign()[move.permutations["gate0"].argsort()] for move in (start, moved))
    assert torch.equal(one, other)


@pytest.mark.parametrize("net", [lambda: attention(False), lambda: attention(True), lambda: residual("rms")])
def test_the_gradient_reaches_all_that_moves(net):
    problem = problem_of(net(), torch.randn(9, 5, 7) if hasattr(net(), "q") else torch.randn(9, 3))
    a, b = scattered(problem, 1), scattered(problem, 2)
    latents = Latents(random_maps(find(problem), 3), a, b, rescale=True, maps=True)
    assert latents.turns
    assert torch.allclose(latents(), latents.move()(b.double()), rtol=1e-9, atol=1e-9)
    torch.dist(latents(), a.double()).backward()
    assert all(bool(own.grad.any()) for own in (*latents.orders.values(), *latents.turns.values()))


def test_a_permuted_copy_is_still_recovered_exactly(pair):
    problem, a, _ = pair
    found = ws.align(problem, a, ws.permuted_copy(problem, a, 1), methods=ALL, steps=20)
    assert torch.equal(found.theta, a)


def test_learning_lowers_the_barrier_and_repeats_itself(pair):
    problem, a, b = pair
    plain = ws.align(problem, a, b, methods=["weights"])
    found, again = (ws.align(problem, a, b, methods=ALL, steps=60) for _ in range(2))
    assert found.chosen.method == "learned"
    assert found.barrier_after < plain.barrier_after
    assert found.difference <= 1e-5
    assert (found.gradients, plain.gradients) == (60, 0)
    assert plain.evaluations < found.evaluations < plain.evaluations + 20
    assert torch.equal(found.theta, again.theta)


def test_units_of_a_learned_move_are_compared_with_their_own_partners(pair):
    problem, a, b = pair
    found = ws.align(problem, a, b, methods=["weights", "activations", "learned"], steps=60)
    assert found.chosen.method == "learned"
    same = ws.align(problem, a, found.theta, methods=["activations"])
    for name, (before, _) in same.correlations.items():
        assert torch.allclose(found.correlations[name][1], before, atol=1e-5)


@pytest.mark.slow
def test_linear_maps_of_a_transformer_are_learned():
    problem = language("gpt2, untied")
    a, b = problem.initial(0), problem.initial(1)
    latents = Latents(random_maps(find(problem), 3), a, b, rescale=True, maps=True)
    assert latents.orders
    assert latents.turns
    assert torch.allclose(latents(), latents.move()(b.double()), rtol=1e-9, atol=1e-9)
    found = ws.align(problem, a, b, methods=ALL, steps=3)
    assert found.gradients == 3
    assert found.difference <= 1e-5


def test_no_steps_are_refused(pair):
    problem, a, b = pair
    with pytest.raises(InvalidSetting, match=r"align\(steps=0\)"):
        ws.align(problem, a, b, methods=ALL, steps=0)


def test_where_nothing_moves_nothing_is_learned():
    problem = problem_of(nn.Linear(3, 2), numbers(3)(9))
    a, b = problem.initial(0), problem.initial(1)
    found = ws.align(problem, a, b, methods=ALL, steps=5)
    assert found.gradients == 0
    assert torch.equal(found.theta, b)
