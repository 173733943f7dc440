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


class Partly(nn.Module):
    """Draws its linear layer and forgets its scale."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.scale = nn.Parameter(torch.randn(4))

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * self.linear(inputs)


def problem_of(net: nn.Module, **settings: object) -> ModuleProblem:
    return ModuleProblem(net, nn.functional.mse_loss, (torch.ones(6, 3), torch.ones(6, 4)), engine="loop", **settings)


def test_a_parameter_that_two_seeds_leave_equal_is_refused(refused):
    with refused(
        InvalidModel, r"^parameter 'scale' is the same for seeds 3 and 4: reset_parameters leaves it as it was"
    ):
        problem_of(Partly()).initial(3)

    def fixed(net: nn.Module) -> None:
        torch.manual_seed(0)
        for parameter in net.parameters():
            nn.init.normal_(parameter)

    with refused(InvalidModel, r"^parameter 'weight' is the same for seeds 0 and 1: initialise leaves it as it was or"):
        problem_of(nn.Linear(3, 4), initialise=fixed).initial(0)

    def own(net: nn.Module) -> None:
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(net.weight)
        nn.init.normal_(net.bias, generator=generator)

    with refused(InvalidModel, r"^parameter 'bias' is the same"):
        problem_of(nn.Linear(3, 4), initialise=own).initial(0)


def test_what_follows_a_pattern_needs_no_draw():
    class Decaying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
            self.decay, self.mix = nn.Parameter(torch.empty(16)), nn.Parameter(torch.empty(4, 4))

        def reset_parameters(self) -> None:
            with torch.no_grad():
                self.decay.copy_(torch.arange(1, 17.0).log())
                nn.init.eye_(self.mix)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.norm(self.linear(inputs) @ self.mix) * self.decay.mean()

    problem = problem_of(Decaying())
    state = problem.unflatten(problem.initial(2))
    assert torch.equal(state["mix"], torch.eye(4))
    assert torch.equal(state["decay"], torch.arange(1, 17.0).log())
    assert not torch.equal(state["linear.weight"], problem.unflatten(problem.initial(3))["linear.weight"])


@pytest.mark.parametrize(
    "parametrization", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm]
)
def test_what_a_weight_is_computed_from_is_drawn_with_it(parametrization):
    problem = problem_of(parametrization(nn.Linear(3, 4)))
    first, second, again = (problem.initial(seed) for seed in (0, 1, 0))
    assert torch.equal(first, again)
    assert not (first == second).any()
    with seeded(0, torch.device("cpu")):
        expected = nn.Linear(3, 4)
    drawn = parametrization(nn.Linear(3, 4))
    drawn.load_state_dict(problem.unflatten(first))
    if parametrization is nn.utils.parametrizations.weight_norm:
        torch.testing.assert_close(drawn.weight, expected.weight)
    assert torch.equal(drawn.bias, expected.bias)


class Model(nn.Module):
    """Draws what is in it as Hugging Face's models and many scripts do."""

    def __init__(self, deviation: float, inside: nn.Module) -> None:
        super().__init__()
        self.deviation, self.inside = deviation, inside
        self.linear = nn.Linear(50, 50)
        self.token = nn.Parameter(torch.zeros(2500))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.deviation)
        if isinstance(module, Model):
            nn.init.normal_(module.token, std=2 * self.deviation)


def test_a_model_that_draws_its_modules_does_so_each_for_what_is_in_it():
    drawn = random_copy(Model(1.0, Model(0.01, nn.Linear(50, 50))), 0)
    deviations = [drawn.linear.weight, drawn.token, drawn.inside.linear.weight, drawn.inside.token]
    assert [float(each.detach().std()) for each in deviations] == pytest.approx([1, 2, 0.01, 0.02], rel=0.1)
    assert float(drawn.inside.inside.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert torch.equal(random_copy(drawn, 0).token, drawn.token)
