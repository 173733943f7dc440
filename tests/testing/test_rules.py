"""The checks of rules tell a wrong rule from a right one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting, NotEquivalent
from weightstring.proof.enclose import smooth
from weightstring.proof.enclose.rules import RULES
from weightstring.proof.verify.activations import by_derivatives
from weightstring.proof.verify.operations import OPERATIONS, curve_of
from weightstring.symmetry import rules as symmetry_rules
from weightstring.symmetry.axes import Label
from weightstring.testing.rules import check_certificate_rule, check_symmetry_rule, check_verification_rule


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 24, dtype=torch.float64).reshape(12, 2)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, x[:, :1] * x[:, 1:].expand(-1, 3)))


@pytest.mark.slow
def test_right_rules_pass(problem):
    check_certificate_rule(problem)
    check_verification_rule(problem)
    check_symmetry_rule(problem)


def test_an_enclosure_that_is_too_narrow_is_found_out(problem, monkeypatch):
    right = smooth.TANH

    def halved(z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(derivative / 2 for derivative in right.derivatives(z))

    narrow = smooth.Smooth(torch.tanh, halved, tuple(bound / 2 for bound in right.bounds), limit=1.0)
    monkeypatch.setitem(RULES._entries, "tanh.default", lambda call, x: narrow(call.enclosed(x)))
    with pytest.raises(AssertionError, match=r"outside its enclosure, t from .* of segment \d, seed 0"):
        check_certificate_rule(problem)


def test_a_bound_of_verify_that_is_too_low_is_found_out(problem, monkeypatch):
    def low(at: object, x: object) -> object:
        return by_derivatives(curve_of(x), lambda v: np.tanh(v) / 2, lambda v: 0 * v, lambda v: 0 * v, (0.0,) * 3)

    monkeypatch.setitem(OPERATIONS._entries, "tanh.default", low)
    with pytest.raises(AssertionError, match=r"loss is .*, over verify's bound .*, t from .*, seed 0"):
        check_verification_rule(problem)


def test_axes_that_are_not_tied_are_found_out(problem, monkeypatch):
    def untied(call: symmetry_rules.Call) -> Label:
        return call.label("input").replace(-1, call.label("weight").axes[0])

    monkeypatch.setitem(symmetry_rules.RULES._entries, "linear", untied)
    again = ws.ModuleProblem(problem.evaluating.module, nn.functional.mse_loss, (torch.ones(3, 2), torch.ones(3, 3)))
    with pytest.raises((AssertionError, NotEquivalent), match="differ"):
        check_symmetry_rule(again)


def test_rules_are_not_checked_in_float32(problem):
    narrow = ws.ModuleProblem(nn.Linear(2, 1), nn.functional.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)))
    for check in (check_certificate_rule, check_verification_rule, check_symmetry_rule):
        with pytest.raises(InvalidSetting, match=r"in float64, the problem is in torch.float32: .*dtype=torch.float64"):
            check(narrow)
