"""Numbers that vanish or explode in float64: bounds of both implementations hold for what real arithmetic gives."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone calls it

import weightstring as ws
from weightstring.proof.verify.replay import Replay

ONE = torch.ones(1, 1, dtype=torch.float64)


class Chain(nn.Module):
    """c_k … c_2 c_1 θ x, in that order."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        found = self.first(x)
        for factor in self.factors:
            found = found * factor
        return found


def problem_of(net: nn.Module, targets: Tensor = 0 * ONE) -> ws.ModuleProblem:
    return ws.ModuleProblem(net.double(), lambda o, y: (o - y).mean(), (ONE, targets), engine="loop", batch_size=None)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    "factors",
    [(1e-200, 1e-200, 1e200, 1e200), (1e-310, 1e-10, 1e300), (2.0**-1000, 2.0**-80, 2.0**1000, 2.0**60), (1e-160,) * 3],
)
def test_a_product_that_underflows_on_the_way_is_bounded(factors: tuple[float, ...]) -> None:
    problem = problem_of(Chain(*factors))
    string = ws.WeightString(problem, torch.tensor([[0.5], [3.0]], dtype=torch.float64))
    exact = Fraction(3)
    for factor in factors:
        exact *= Fraction(factor)
    assert Fraction(ws.certify(problem, string).upper_bound) >= exact
    assert Fraction(Replay(problem, "loss").bound(string[0].numpy(), string[1].numpy(), 0.0, 1.0)) >= exact


class Deep(nn.Module):
    """w₃ w₂ w₁ x, w₁ and w₂ tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_layers_whose_product_underflows_are_bounded() -> None:
    problem = problem_of(Deep())
    beads = torch.tensor([[1e-200, 1e-200, 1e300], [3e-200, 2e-200, 1.7e308]], dtype=torch.float64)
    exact = Fraction(3e-200) * Fraction(2e-200) * Fraction(1.7e308)
    assert Fraction(ws.certify(problem, ws.WeightString(problem, beads)).upper_bound) >= exact > 0
    assert Fraction(Replay(problem, "loss").bound(beads[0].numpy(), beads[1].numpy(), 0.0, 1.0)) >= exact


def test_numbers_taken_for_zero_by_the_processor_are_refused() -> None:
    problem = problem_of(Chain(1.0))
    string = ws.WeightString(problem, torch.tensor([[0.5], [3.0]], dtype=torch.float64))
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        with pytest.raises(ws.Unsupported, match="set_flush_denormal"):
            ws.certify(problem, string)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_what_is_certified_are_the_stored_numbers_of_a_narrow_dtype(dtype: torch.dtype) -> None:
    net, x = nn.Linear(1, 1, bias=False).to(dtype), ONE.to(dtype)
    settings = {"engine": "loop", "batch_size": None, "dtype": torch.float32}  # no rule for rounding at every point
    problem = ws.ModuleProblem(net, F.mse_loss, (x, 0 * x), **settings)
    beads = torch.tensor([[0.1], [0.3]], dtype=dtype).float()
    certificate = ws.certify(problem, ws.WeightString(problem, beads))
    exact = Fraction(float(beads[1])) ** 2
    # The module's own value may be above it by its rounding, and is allowed for.
    assert exact <= Fraction(certificate.upper_bound) <= exact * (1 + 4 * Fraction(torch.finfo(torch.float32).eps))
    assert certificate.largest_sample <= certificate.upper_bound
    assert ws.verify(problem, ws.WeightString(problem, beads), certificate).ok


X = torch.tensor([[1.0], [-0.5], [0.25]], dtype=torch.float64)

SMALL: dict[str, tuple[nn.Module, Callable[..., Tensor], Tensor, list[float], Callable[[Tensor], Tensor]]] = {
    **{
        f"squared, {scale}": (nn.Linear(1, 1, bias=False), F.mse_loss, 0 * X, [scale / 2, scale], torch.square)
        for scale in (3e-5, 1e-15, 1e-75, 0.0)
    },
    "tanh": (
        nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh()), F.mse_loss, 0 * X, [1e-15, 2e-15],
        lambda z: z.tanh().square(),
    ),
    **{
        f"entropy, {margin}": (
            nn.Linear(1, 2, bias=False), F.cross_entropy, (X[:, 0] < 0).long(),
            [margin, -margin, 1.1 * margin, -margin], lambda z: (-2 * z.abs()).exp().log1p(),
        )
        for margin in (45.0, 100.0, 1e4)
    },
    **{
        f"binary, {margin}": (
            nn.Linear(1, 1, bias=False), F.binary_cross_entropy_with_logits, (X > 0).double(), [margin, 1.2 * margin],
            lambda z: (-z.abs()).exp().log1p(),
        )
        for margin in (90.0, 400.0, 1e4)
    },
}  # fmt: skip


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("name", SMALL)
def test_small_losses_are_certified_closely_and_verified(name: str) -> None:
    net, criterion, targets, numbers, of_outputs = SMALL[name]
    problem = ws.ModuleProblem(net.double(), criterion, (X, targets), engine="loop", batch_size=None)
    string = ws.WeightString(problem, torch.tensor(numbers, dtype=torch.float64).view(2, -1))
    highest = max(float(of_outputs(bead[0] * X).mean()) for bead in string.beads)
    certificate = ws.certify(problem, string, threshold=1.001 * highest + 1e-280)
    assert highest <= certificate.upper_bound <= certificate.threshold
    verification = ws.verify(problem, string, certificate)
    assert verification.ok, verification
