"""What a loss or metric is over a whole set, against one forward pass of everything and the user's own function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from weightstring.problem import ModuleProblem

COUNT = 53
WEIGHT = torch.tensor([1.0, 20.0, 0.1], dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(3)
INPUTS = 1 + torch.randn(COUNT, 4, generator=GENERATOR, dtype=torch.float64)
CLASSES = torch.randint(3, (COUNT,), generator=GENERATOR).sort().values
PARTLY = CLASSES.where(torch.rand(COUNT, generator=GENERATOR) < 0.6, -1)
"""Classes of which some are ignored."""
DENSE = torch.randn(COUNT, 3, generator=GENERATOR, dtype=torch.float64)
SHARES = DENSE.softmax(1)
BITS = (DENSE > 0.3).double()


class Weighted(nn.CrossEntropyLoss):
    """A subclass that is no mean, whatever its base class says."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, target).square()


def hooked() -> nn.Module:
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda module, args, value: value.sqrt())
    return loss


def with_own_forward() -> nn.Module:
    loss = nn.MSELoss()
    loss.forward = lambda output, target: (output - target).square().sum()
    return loss


def f1(output: Tensor, target: Tensor) -> Tensor:
    hit = output.argmax(1) == 1
    return 2 * (hit & (target == 1)).sum() / (hit.sum() + (target == 1).sum()).clamp(min=1)


def f1_sums(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    hit = output.argmax(1) == 1
    return 2 * (hit & (target == 1)).sum(), hit.sum() + (target == 1).sum()


def auc(output: Tensor, target: Tensor) -> float:
    scores, positive = output[:, 1] - output[:, 0], target == 1
    return float((scores[positive][:, None] > scores[~positive]).double().mean())


def r_squared(output: Tensor, target: Tensor) -> Tensor:
    return 1 - (output - target).square().sum() / (target - target.mean(0)).square().sum()


def pairs(output: Tensor, target: Tensor) -> Tensor:
    return (torch.cdist(output, output) - torch.cdist(target, target)).square().mean()


def mean_recall(output: Tensor, target: Tensor) -> Tensor:
    """NaN in a part where a class is missing."""
    right = output.argmax(1) == target
    return torch.stack([right[target == k].double().mean() for k in range(3)]).mean()


def tokens(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    each = functional.cross_entropy(output, target, ignore_index=-1, reduction="none")
    return each.sum(), (target != -1).sum()


def focal(output: Tensor, target: Tensor) -> Tensor:
    each = functional.cross_entropy(output, target, reduction="none")
    return ((1 - (-each).exp()).square() * each).mean()


CASES: dict[str, tuple[Callable[..., object], Tensor, str]] = {
    "mse": (nn.MSELoss(), DENSE, "mean"),
    "huber, partial": (partial(functional.huber_loss, delta=0.3), DENSE, "mean"),
    "mse, summed": (nn.MSELoss(reduction="sum"), DENSE, "sum"),
    "mse, hooked": (hooked(), DENSE, "whole"),
    "mse, its own forward": (with_own_forward(), DENSE, "sum"),
    "root of a mean": (lambda output, target: (output - target).square().mean().sqrt(), DENSE, "whole"),
    "cross-entropy": (nn.CrossEntropyLoss(), CLASSES, "mean"),
    "cross-entropy, subclass": (Weighted(), CLASSES, "whole"),
    "cross-entropy, weighted": (nn.CrossEntropyLoss(weight=WEIGHT), CLASSES, "ratio"),
    "cross-entropy, weighted and smooth": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), CLASSES, "ratio"),
    "cross-entropy, ignored": (nn.CrossEntropyLoss(ignore_index=-1), PARTLY, "ratio"),
    "cross-entropy, a class ignored": (nn.CrossEntropyLoss(ignore_index=1), CLASSES, "ratio"),
    "cross-entropy, all at once": (
        partial(functional.cross_entropy, weight=WEIGHT, ignore_index=-1, label_smoothing=0.1), PARTLY, "ratio"
    ),
    "cross-entropy, shares weighted": (nn.CrossEntropyLoss(weight=WEIGHT), SHARES, "mean"),
    "cross-entropy, in a function": (lambda o, t: functional.cross_entropy(o, t, weight=WEIGHT), CLASSES, "whole"),
    "negative log-likelihood": (
        lambda o, t: functional.nll_loss(o.log_softmax(1), t, ignore_index=-1), PARTLY, "whole"
    ),
    "focal": (focal, CLASSES, "mean"),
    "binary": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), BITS, "mean"),
    "binary, weighted": (partial(functional.binary_cross_entropy_with_logits, weight=WEIGHT), BITS, "mean"),
    "tokens as a pair": (tokens, PARTLY, "ratio"),
    "squares as a pair": (lambda o, t: ((o - t).square().sum(), torch.tensor(float(o.numel()))), DENSE, "ratio"),
    "pairs of examples": (pairs, DENSE, "whole"),
    "perplexity": (lambda output, target: functional.cross_entropy(output, target).exp(), CLASSES, "whole"),
    "cosine": (lambda output, target: 1 - functional.cosine_similarity(output, target).mean(), DENSE, "mean"),
    "in float64": (lambda output, target: functional.mse_loss(output.double(), target.double()), DENSE, "mean"),
    "largest": (lambda output, target: (output - target).abs().max(), DENSE, "whole"),
    "quantile": (lambda output, target: (output - target).abs().flatten().quantile(0.9), DENSE, "whole"),
}  # fmt: skip

METRICS: dict[str, tuple[Callable[..., object], Tensor, str]] = {
    "f1": (f1, CLASSES, "whole"),
    "f1_as_a_pair": (f1_sums, CLASSES, "ratio"),
    "auc": (auc, CLASSES, "whole"),
    "r_squared": (r_squared, DENSE, "whole"),
    "recall": (mean_recall, CLASSES, "whole"),
    "error": (lambda output, target: (output.argmax(1) != target).float().mean().item(), CLASSES, "mean"),
    "mistakes": (lambda output, target: int((output.argmax(1) != target).sum()), CLASSES, "sum"),
    "always": (lambda output, target: output.argmax(1).ge(0).float().mean(), CLASSES, "whole"),
}


def mlp() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def build(loss: Callable[..., object], targets: Tensor = CLASSES, net: nn.Module | None = None, **settings: object):
    return ModuleProblem(
        net or mlp(), loss, (INPUTS[: len(targets)], targets), **{"engine": "loop", "chunk": 7, **settings}
    )


def value_of(returned: object) -> Tensor:
    """A value, or the ratio of a pair."""
    if isinstance(returned, tuple):
        return torch.as_tensor(returned[0]).double() / torch.as_tensor(returned[1]).double()
    return torch.as_tensor(returned, dtype=torch.float64)


def reference(loss: Callable[..., object], targets: Tensor, problem: ModuleProblem, theta: Tensor) -> Tensor:
    """One forward pass of everything through a plain copy, differentiable."""
    output = functional_call(mlp(), problem.layout.views(theta), INPUTS[: len(targets)])
    return value_of(loss(output, targets))


def thetas_of(problem: ModuleProblem) -> Tensor:
    """Net's own, which is near uniform, and two far from that."""
    own = problem.flatten(mlp())
    return torch.stack([own, 3 * own + 0.1, -2 * own])


@pytest.mark.parametrize("name", CASES)
def test_a_loss_over_a_set_and_its_gradient_are_those_of_one_pass(name):
    loss, targets, kind = CASES[name]
    problem = build(loss, targets, batch_size=None)
    assert problem._means["loss"].kind == kind
    thetas = thetas_of(problem)
    for engine in ("loop", "vmap", "stack"):
        problem.use_engine(engine)
        measured = problem.measure(thetas)["loss"]
        losses, gradients = problem.gradient(thetas, None)
        for i, theta in enumerate(thetas):
            leaf = theta.clone().requires_grad_()
            value = reference(loss, targets, problem, leaf)
            (slope,) = torch.autograd.grad(value, leaf)
            value = value.detach()
            assert float(measured[i]) == pytest.approx(float(value), rel=1e-12), engine
            assert float(losses[i]) == pytest.approx(float(value), rel=1e-12), engine
            assert torch.allclose(gradients[i], slope, rtol=1e-9, atol=1e-11 * float(slope.abs().max())), engine


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("chunk", [5, 53])
def test_a_metric_over_a_set_is_that_of_one_pass(name, chunk):
    metric, targets, kind = METRICS[name]
    problem = build(
        nn.MSELoss() if targets is DENSE else nn.CrossEntropyLoss(), targets, chunk=chunk, metrics={name: metric}
    )
    assert problem._means[name].kind == kind
    thetas = thetas_of(problem)
    for i, found in enumerate(problem.measure(thetas, (name,))[name]):
        assert float(found) == pytest.approx(float(reference(metric, targets, problem, thetas[i])), rel=1e-6)
