"""Recurrent layers, unrolled: no step outside its enclosure, and paths between two of them certified."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.tasks.text import NextWord
from weightstring.testing.steps import check_every_step


class Tagger(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], first: bool, both: bool, **settings: Any) -> None:
        super().__init__()
        self.words, self.first = nn.Embedding(9, 4), first
        self.layer = kind(4, 3, batch_first=first, bidirectional=both, **settings)
        self.head = nn.Linear(3 * (1 + both), 9)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        if self.first:
            return self.head(self.layer(x)[0])
        return self.head(self.layer(x.transpose(0, 1))[0].transpose(0, 1))


def of_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@pytest.mark.parametrize(
    ("kind", "first", "both", "settings"),
    [(nn.LSTM, True, False, {"num_layers": 2}), (nn.GRU, False, True, {}), (nn.RNN, False, False, {"bias": False})],
)
def test_a_path_between_two_recurrent_networks_is_certified(
    kind: type[nn.RNNBase], first: bool, both: bool, settings: dict[str, Any]
) -> None:
    torch.manual_seed(3)
    data = torch.randint(9, (4, 3)), torch.randint(9, (4, 3))
    problem = ws.ModuleProblem(Tagger(kind, first, both, **settings), of_tokens, data, dtype=torch.float64)
    a = problem.initial(0)
    beads = torch.stack([a, a + 0.2 * torch.randn_like(a)])
    assert check_every_step(problem, beads, 0.25, 0.5, torch.linspace(-1, 1, 5).double()) > 500
    string = ws.WeightString(problem, beads)
    certificate = ws.certify(problem, string, tol=0.02)
    assert certificate.largest_sample <= certificate.upper_bound <= 1.0201 * certificate.largest_sample
    assert ws.verify(problem, string, certificate).ok


def test_a_missing_rule_is_named_before_a_loss_that_counts_its_examples() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.elu(self.layer(x) - self.layer(x).mean(0)) * len(x)

    problem = ws.ModuleProblem(Counted(), F.mse_loss, (torch.randn(9, 4), torch.randn(9, 3)))
    string = ws.WeightString(problem, [problem.initial(0), problem.initial(1)])
    with pytest.raises(ws.Unsupported, match=r"^mean\.dim|^elu"):
        ws.certify(problem, string)


def test_outputs_with_the_classes_along_axis_one_are_those_of_tokens() -> None:
    torch.manual_seed(5)
    data = torch.randint(7, (3, 4)), torch.randint(7, (3, 4))
    problem = ws.ModuleProblem(NextWord(7, 4, 1), F.cross_entropy, data, dtype=torch.float64)
    a = problem.initial(0)
    string = ws.WeightString(problem, torch.stack([a, a + 0.2 * torch.randn_like(a)]))
    certificate = ws.certify(problem, string, tol=0.02)
    assert certificate.largest_sample <= certificate.upper_bound <= 1.0201 * certificate.largest_sample


class Formula(nn.Module):
    """Roots, quotients, exponentials and logarithms by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h / (h.square().mean(1, keepdim=True) + 0.5).sqrt() + h.exp().clamp(max=3.0)
        h = torch.minimum(h, 2 - h) * (1 + h.abs()).log() + torch.rsqrt(h * h + 1) - (1.5 + h.sin()) ** -0.7
        return self.last(h / (1 + h.sigmoid()))


def test_no_step_of_a_formula_lies_outside_its_enclosure() -> None:
    torch.manual_seed(4)
    data = torch.randn(5, 4).double(), torch.randn(5, 3).double()
    problem = ws.ModuleProblem(Formula(), F.mse_loss, data, dtype=torch.float64)
    a = problem.initial(0)
    beads = torch.stack([a, a + 0.3 * torch.randn_like(a)])
    for low, high in ((0.25, 0.3125), (0.0, 0.5)):
        check_every_step(problem, beads, low, high, torch.linspace(-1, 1, 9).double())
