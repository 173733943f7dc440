"""What a module makes of data alone is computed, not bounded, whatever operations that takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import Unsupported
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.replay import Replay
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


def repeated(h: Tensor) -> Tensor:
    row = torch.linspace(-1, 1, 4, dtype=h.dtype)[None].gather(1, torch.arange(4).flip(0)[None])
    return torch.relu(h + row.expand(len(h), 4))


def row_by_row(h: Tensor) -> Tensor:
    return torch.relu(h + torch.linspace(-1, 1, 400, dtype=h.dtype).view(100, 4)[: len(h)])


@pytest.mark.parametrize("function", [repeated, row_by_row])
def test_a_table_that_no_example_enters_has_a_row_for_each(function):
    problem = problem_of(lambda x: x, function=function)
    check_certificate_rule(problem)
    check_verification_rule(problem)


class Learned(nn.Module):
    """Hidden units beside a table of parameters, whose rows are chosen by the number of examples."""

    def __init__(self, chosen) -> None:
        super().__init__()
        self.table, self.chosen = nn.Parameter(torch.randn(12, 4)), chosen

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table)

    def forward(self, h: Tensor) -> Tensor:
        return torch.relu(h + self.chosen(nn.functional.embedding(torch.arange(len(h)), self.table)))


def test_so_it_is_where_parameters_are_its_rows():
    check_verification_rule(problem_of(lambda x: x, function=Learned(lambda rows: 2 * rows)))


def test_rows_that_change_places_are_refused():
    problem = problem_of(lambda x: x, function=Learned(lambda rows: rows.flip(0)))
    with pytest.raises(NotVerifiable, match="it moves or combines examples"):
        Replay(problem, "loss")


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
