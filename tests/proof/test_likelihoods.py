"""Losses that are compositions: Gaussian likelihoods, focal losses, each example's own loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from weightstring.testing.steps import check_every_step

Loss = Callable[[Tensor, Tensor], Tensor]


def certified(loss: Loss, targets: Tensor, outputs: int = 4, smooth: bool = True) -> ws.Certificate:
    """Every step of a small network's loss inside its enclosure; its path certified and verified."""
    draw = torch.Generator().manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh() if smooth else nn.ReLU(), nn.Linear(5, outputs))
    inputs = torch.randn(*targets.shape[:1], 3, generator=draw).double()
    problem = ws.ModuleProblem(net, loss, (inputs, targets), dtype=torch.float64)
    a = problem.initial(0)
    beads = torch.stack([a, a + 0.3 * torch.randn(len(a), generator=draw).double()])
    check_every_step(problem, beads, 0.25, 0.5, torch.linspace(-1, 1, 5).double())
    string = ws.WeightString(problem, beads)
    certificate = ws.certify(problem, string, tol=0.02)
    assert ws.verify(problem, string, certificate).ok
    for piece in certificate.partition:
        t = torch.linspace(piece.low, piece.high, 9, dtype=torch.float64).unsqueeze(1)
        assert float(problem.measure(torch.lerp(beads[0], beads[1], t))["loss"].max()) <= piece.bound
    assert certificate.upper_bound <= certificate.largest_sample + 0.021 * abs(certificate.largest_sample)
    return certificate


def learned(outputs: Tensor, targets: Tensor) -> Tensor:
    mean, spread = outputs.chunk(2, 1)
    return nn.GaussianNLLLoss(full=True)(mean, targets, F.softplus(spread))


def for_all_numbers(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.gaussian_nll_loss(outputs[:, :2], targets, outputs[:, 2].exp(), eps=0.5)


def fixed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.gaussian_nll_loss(
        outputs[:, :2], targets, targets.new_tensor([[0.5, 0.0]]).expand(len(targets), 2), eps=0.2
    )


def one_number(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.gaussian_nll_loss(outputs[:, :2], targets, 0.3, reduction="none").mean()


def of_data(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.gaussian_nll_loss(outputs[:, :1], targets[:, :1], targets[:, 1:].abs())


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("loss", [for_all_numbers, learned, fixed, one_number, of_data])
def test_gaussian_likelihoods_are_certified(loss: Loss) -> None:
    certified(loss, torch.randn(6, 2, generator=torch.Generator().manual_seed(1)).double())


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """(1 − p)² (−log p) of the right class (Lin et al. 2017)."""
    losses = F.cross_entropy(logits, targets, reduction="none")
    return ((1 - (-losses).exp()) ** 2 * losses).mean()


def focal_by_hand(logits: Tensor, targets: Tensor) -> Tensor:
    losses = F.nll_loss(
        logits.log_softmax(1), targets, reduction="none", weight=logits.new_tensor([1.0, 2.0, 0.5, 1.0])
    )
    return ((1 - torch.exp(-losses)) ** 1.5 * losses).mean()


def focal_of_yes_and_no(logits: Tensor, targets: Tensor) -> Tensor:
    y = (targets == torch.arange(4)[:, None]).T.to(logits)
    losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    right = logits.sigmoid() * y + (1 - logits.sigmoid()) * (1 - y)
    return (losses * (1 - right) ** 2).mean()


def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="none", label_smoothing=0.2, ignore_index=3).square().mean()


def shares(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, F.one_hot(targets, 4).to(logits) * 0.7 + 0.1, reduction="none").square().mean()


CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("loss", [focal, focal_by_hand, focal_of_yes_and_no, smoothed, shares])
def test_compositions_of_each_examples_cross_entropy_are_certified(loss: Loss, smooth: bool) -> None:
    certified(loss, CLASSES, smooth=smooth)


def tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.view(-1, 2), targets.flatten(), reduction="none", ignore_index=-1)
    return ((1 - (-losses).exp()) * losses).mean()


@pytest.mark.slow
def test_focal_losses_of_tokens_are_certified() -> None:
    certified(tokens, torch.tensor([[0, 1], [1, -1], [0, 0]]))


DISTANCES = {
    "squared": F.mse_loss,
    "absolute": F.l1_loss,
    "huber": lambda x, y, reduction: F.huber_loss(x, y, reduction, 0.3),
    "smooth": lambda x, y, reduction: F.smooth_l1_loss(x, y, reduction=reduction, beta=0.5),
    "smooth at 0": lambda x, y, reduction: F.smooth_l1_loss(x, y, reduction=reduction, beta=0.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTANCES)
def test_weighted_distances_are_certified(name: str) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (DISTANCES[name](outputs, targets, reduction="none") * targets.abs()).mean()

    certified(loss, torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).double(), smooth=False)
