"""What a loss is seen to take an output for."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.problem.averaging.ensembles import NotShownError, predictions_of
from weightstring.problem.datasets.data import Examples
from weightstring.problem.losses.means import Mean

NUMBERS = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def found(loss_fn, output: Tensor, targets: Tensor) -> str:
    mean = Mean(loss_fn)
    return predictions_of(output, Examples((output,), targets), mean, {}).by.name


@pytest.mark.parametrize(
    ("loss_fn", "name"),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.1, weight=torch.tensor([1.0, 2.0, 3.0])), "probabilities"),
        (functional.cross_entropy, "probabilities"),
        (functools.partial(functional.cross_entropy, label_smoothing=0.1), "probabilities"),
        (type("Own", (nn.CrossEntropyLoss,), {})(), "probabilities"),
        (lambda o, t: functional.nll_loss(o.log_softmax(1), t), "probabilities"),
        (lambda o, t: (o.softmax(-1) - functional.one_hot(t, 3)).square().sum(), "probabilities"),
        (lambda o, t: (o.logsumexp(1) - o.gather(1, t[:, None])[:, 0]).mean(), "probabilities"),
        (nn.NLLLoss(), "log_probabilities"),
        (functional.nll_loss, "log_probabilities"),
    ],
)
def test_losses_of_classes_are_seen(loss_fn, name):
    assert found(loss_fn, NUMBERS, torch.tensor([0, 2])) == name


@pytest.mark.parametrize(
    ("loss_fn", "name"),
    [
        (nn.BCEWithLogitsLoss(), "binary_probabilities"),
        (functional.binary_cross_entropy_with_logits, "binary_probabilities"),
        (nn.SmoothL1Loss(), "outputs"),
    ],
)
def test_losses_of_numbers_are_seen(loss_fn, name):
    assert found(loss_fn, NUMBERS, torch.rand(2, 3)) == name


@pytest.mark.parametrize(
    "loss_fn",
    [
        lambda o, t: functional.cross_entropy(o / 2, t),  # the mean of softmax(o) is not that of softmax(o / 2)
        lambda o, t: functional.cross_entropy(o, t) + o.square().mean(),
        lambda o, t: functional.multi_margin_loss(o, t),
        lambda o, t: -o.gather(1, t[:, None]).mean(),
    ],
)
def test_what_the_loss_does_not_show_is_refused(loss_fn, refused):
    with refused(NotShownError, r"the loss does not show what it takes the predictions \(2, 3\) float32 for: say"):
        found(loss_fn, NUMBERS, torch.tensor([0, 2]))
