"""What is traced is what is computed, or it is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weightstring.errors import Unsupported
from weightstring.tracing import Trace
from weightstring.tracing.faithful import check_faithful, distance, disturbed, run


class Asking(nn.Module):
    """Leaves something out while it is traced."""

    def __init__(self, asks, amount: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.amount = nn.Parameter(torch.full((2,), amount))
        self.asks = asks

    def forward(self, x):
        out = self.last(self.first(x).relu())
        return out if self.asks() else out + self.amount


ASKED = [getattr(torch.compiler, name) for name in ("is_compiling", "is_exporting") if hasattr(torch.compiler, name)]


def traced(module: nn.Module, x: torch.Tensor):
    return Trace.of(torch.export.export(module, (x,), strict=False))


@pytest.mark.parametrize("amount", [0.7, 0.0])
@pytest.mark.parametrize("asks", ASKED)
def test_a_module_that_does_something_else_while_traced_is_refused(asks, amount):
    module, x = Asking(asks, amount), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Unsupported, match=r"what torch traces of Asking is not what Asking computes.*is_compiling"):
        check_faithful(traced(module, x), module, [x], "symmetry")


def test_the_traced_program_returns_what_the_module_does_at_any_parameters():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double().eval()
    x = torch.randn(5, 3, dtype=torch.float64)
    program = traced(module, x)
    check_faithful(program, module, [x], "symmetry")
    tensors = disturbed(module)
    (found,) = run(program, tensors, [x])
    module.load_state_dict(tensors)
    torch.testing.assert_close(found, module(x), rtol=1e-12, atol=1e-12)


def test_disturbed_parameters_stay_tied_and_frozen_ones_as_they_are():
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = one.weight
    two.bias.requires_grad_(False)
    found = disturbed(nn.Sequential(one, two))
    assert found["0.weight"] is found["1.weight"]
    assert not torch.equal(found["0.weight"], one.weight)
    assert torch.equal(found["1.bias"], two.bias)


def test_distances_count_infinite_numbers_at_other_places():
    x = torch.tensor([3.0, 4.0, torch.inf])
    assert distance(x, x) == 0
    assert distance(x + torch.tensor([0.0, 0.5, 0.0]), x) == pytest.approx(0.1)
    assert distance(-x, x) == torch.inf
    assert distance(torch.zeros(2), torch.ones(2)) == 1
    assert distance(torch.ones(2), torch.zeros(2)) == torch.inf
