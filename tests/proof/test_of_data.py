"""What a module makes of data alone is computed, not bounded, whatever operations that takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import Unsupported
from weightstring.testing import check_certificate_rule, check_verification_rule

FORMS = {
    "differences": lambda x: x.diff(dim=1, prepend=x[:, :1]).cumsum(1),
    "one-hot codes": lambda x: nn.functional.one_hot(x.argmax(1), 3).to(x),
    "divided by their sums": lambda x: x / x.abs().sum(1, keepdim=True),
    "sorted": lambda x: x.sort(dim=1).values,
    "examples moved and moved back": lambda x: x.T.diff(dim=0, append=x.T[:1]).T,
    "centred over their block": lambda x: x - x.mean(0),
    "numbered": lambda x: x * torch.arange(len(x)).to(x).unsqueeze(1),
    "looked up": lambda x: torch.linspace(-1, 1, 5, dtype=x.dtype)[(x > 0).long() + (x > 1).long()],
}


class Formed(nn.Module):
    def __init__(self, form, function=torch.relu) -> None:
        super().__init__()
        self.form, self.function = form, function
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(self.form(x))))


def problem_of(form, dtype: torch.dtype = torch.float64, function=torch.relu) -> ws.ModuleProblem:
    torch.manual_seed(0)
    data = torch.randn(12, 3, dtype=dtype), torch.randn(12, 2, dtype=dtype)
    return ws.ModuleProblem(Formed(form, function).to(dtype), nn.functional.mse_loss, data, dtype=dtype, engine="loop")


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("form", FORMS)
def test_it_is_proved_and_proved_again(form):
    problem = problem_of(FORMS[form])
    check_certificate_rule(problem)
    check_verification_rule(problem)


@pytest.mark.slow
def test_whole_numbers_of_the_inputs_are_computed_with():
    torch.manual_seed(0)
    net = Formed(lambda x: ((2 * x + 1) % 5).double()).double()
    data = torch.randint(9, (12, 3)), torch.randn(12, 2, dtype=torch.float64)
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, data, engine="loop")
    check_certificate_rule(problem)
    check_verification_rule(problem)


class Mixed(Formed):
    """Products with matrices that are no layers: constant, and parameters on either side."""

    def __init__(self) -> None:
        super().__init__(lambda x: x)
        self.mix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x @ torch.eye(3).flip(0).to(x)))
        left = torch.relu(self.mix @ h.unsqueeze(2)).squeeze(2)
        return self.last(left @ self.mix + h @ torch.linspace(-1, 1, 16).view(4, 4).to(h))


@pytest.mark.slow
def test_matrices_that_are_the_same_for_all_examples_are_layers():
    torch.manual_seed(0)
    data = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64)
    problem = ws.ModuleProblem(Mixed().double(), nn.functional.mse_loss, data, engine="loop")
    check_certificate_rule(problem)
    check_verification_rule(problem)


def test_single_precision_is_proved_too():
    problem = problem_of(FORMS["differences"], torch.float32)
    string = ws.WeightString(problem, [problem.initial(0), problem.initial(1)])
    certificate = ws.certify(problem, string, tol=0.05)
    assert certificate.largest_sample <= certificate.upper_bound <= 1.06 * certificate.largest_sample
    assert ws.verify(problem, string, certificate).ok


def test_the_same_operations_on_activations_are_refused(refused):
    problem = problem_of(lambda x: x, function=lambda h: h.diff(dim=1, prepend=h[:, :1]))
    string = ws.WeightString(problem, [problem.initial(0), problem.initial(1)])
    with refused(Unsupported, "diff"):
        ws.certify(problem, string)
