import random

import numpy
import pytest
import torch
from torch import nn

from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.problem.initialise import generator_states, random_copy, seeded


def test_draws_are_those_of_the_constructors():
    drawn = random_copy(nn.MultiheadAttention(4, 2), 7)
    assert torch.equal(drawn.out_proj.bias, torch.zeros(4))
    assert torch.equal(drawn.in_proj_bias, torch.zeros(12))
    with seeded(7, torch.device("cpu")):
        expected = nn.Linear(3, 5)
    assert torch.equal(random_copy(nn.Linear(3, 5), 7).weight, expected.weight)


def test_seeds_differ_and_repeat_and_leave_the_generator_alone():
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    kept = net[0].weight.clone()
    torch.manual_seed(4)
    first, second, other = (random_copy(net, seed)[1].weight for seed in (0, 0, 1))
    after = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(net[0].weight, kept)


def test_frozen_parameters_stay():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).double()
    net[0].weight.requires_grad_(False)
    problem = ModuleProblem(net, nn.functional.mse_loss, (torch.ones(4, 2), torch.ones(4, 1)))
    state = problem.unflatten(problem.initial(5))
    assert torch.equal(state["0.weight"], net[0].weight)
    assert not torch.equal(state["1.weight"], net[1].weight)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * self.linear(inputs)


def test_a_module_that_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(
        InvalidModel, match=r"^module '1' \(Scaled\) has trainable parameters but no reset_parameters: pass initialise="
    ):
        random_copy(nn.Sequential(nn.Linear(2, 2), Scaled()), 0)


def test_initialise_draws_the_whole_net():
    def initialise(net: nn.Module) -> None:
        for parameter in net.parameters():
            nn.init.normal_(parameter, 3.0)

    drawn = random_copy(Scaled(), 1, initialise)
    assert torch.equal(drawn.scale, random_copy(Scaled(), 1, initialise).scale)
    assert drawn.scale != 1


def test_a_generator_shows_that_it_was_drawn_from():
    cpu = torch.device("cpu")
    with seeded(3, cpu):
        before = generator_states(cpu)
        assert generator_states(cpu) == before
        for draw in (lambda: torch.rand(1), random.random, numpy.random.rand):
            draw()
            after = generator_states(cpu)
            assert after != before
            before = after
