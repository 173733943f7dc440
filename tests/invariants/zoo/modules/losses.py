"""Losses: torch's own, weighted, with parts left out, of the whole batch, or with tensors of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import InvalidData, InvalidModel, InvalidSetting

from ..entry import Entry, accuracy, classes, draw


def scores(outputs: int = 4) -> object:
    return lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs))


def classifying(name: str, loss: object, targets: object = None, **options: object) -> Entry:
    return Entry(name=name, net=scores(), targets=targets or classes(4), loss=loss, **options)


def regressing(name: str, loss: object, targets: object = None, **options: object) -> Entry:
    return Entry(name=name, net=scores(2), targets=targets or draw(2), loss=loss, **options)


def ignoring(n: int) -> Tensor:
    """Classes in order, so that each part has others, the last two thirds ignored."""
    targets = torch.randint(4, (n,))
    targets[n // 3 :: 2] = -100
    return targets


def ordered(n: int) -> Tensor:
    return torch.randint(4, (n,)).sort().values


class TiedWeights(nn.CrossEntropyLoss):
    """A criterion with weights among its buffers, by class."""

    def __init__(self) -> None:
        super().__init__(weight=torch.tensor([0.2, 1.0, 3.0, 0.5]))


def weighted(output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of weighted losses, and the sum of the weights."""
    weights = 1.0 + targets.to(output.dtype)
    return (weights * functional.cross_entropy(output, targets, reduction="none")).sum(), weights.sum()


def f1(output: Tensor, targets: Tensor) -> Tensor:
    hit = output.argmax(1) == 1
    return 2 * (hit & (targets == 1)).sum().to(output.dtype) / (hit.sum() + (targets == 1).sum()).clamp(min=1)


def auc(output: Tensor, targets: Tensor) -> Tensor:
    """Share of pairs in the right order: of the whole set only."""
    positive, negative = output[targets == 1, 1], output[targets != 1, 1]
    return (positive.unsqueeze(1) > negative).to(output.dtype).mean()


def clip_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Each example against all others of its batch."""
    logits = functional.normalize(output) @ functional.normalize(targets).t() / 0.5
    return functional.cross_entropy(logits, torch.arange(len(output)))


def correlation(output: Tensor, targets: Tensor) -> Tensor:
    return 1 - torch.corrcoef(torch.stack([output.flatten(), targets.flatten()]))[0, 1]


def penalised(net: nn.Module) -> object:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(output, targets) + 0.1 * sum(p.square().sum() for p in net.parameters())

    return loss


class Proxies(nn.Module):
    """A loss with trainable numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.ones(4, 4) + torch.eye(4))

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(functional.normalize(output) @ functional.normalize(self.proxies).t(), targets)


class Centres(nn.Module):
    """A loss with constants of its own, in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.arange(16.0).view(4, 4))

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output - self.centres[targets].to(output)).square().sum(1).mean()


class Focal(nn.Module):
    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        losses = functional.cross_entropy(output, targets, reduction="none")
        return ((1 - (-losses).exp()) ** 2 * losses).mean()


def smoothed(net: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A training step with a term of its own."""
    output = net(inputs)
    return functional.cross_entropy(output, targets) + 0.01 * output.square().mean()


def noisy(net: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(net(inputs + 0.1 * torch.randn_like(inputs)), targets)


def missing(n: int) -> Tensor:
    return torch.randn(n, 2).masked_fill(torch.rand(n, 2) < 0.3, float("nan"))


def probabilities(n: int) -> Tensor:
    return torch.randn(n, 4).softmax(1)


WEIGHTS = torch.tensor([1.0, 50.0, 0.3, 2.0])

ENTRIES = [
    classifying("cross-entropy", functional.cross_entropy, metrics={"accuracy": accuracy}),
    classifying("label smoothing", nn.CrossEntropyLoss(label_smoothing=0.1)),
    classifying("soft targets", nn.CrossEntropyLoss(), probabilities),
    classifying("class weights", TiedWeights(), ordered),
    classifying("class weights and smoothing", nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2), ordered),
    classifying("ignored targets", nn.CrossEntropyLoss(), ignoring),
    classifying(
        "ignored targets, as a function", lambda out, t: functional.cross_entropy(out, t, ignore_index=-100), ignoring
    ),
    classifying("sum and weight", weighted, ordered),
    classifying(
        "negative log-likelihood with weights",
        lambda out, t: functional.nll_loss(out.log_softmax(1), t, weight=WEIGHTS.to(out)),
        ordered,
    ),
    classifying("focal loss", Focal()),
    classifying("multi-margin", nn.MultiMarginLoss()),
    classifying("F1 and AUC as metrics", functional.cross_entropy, metrics={"f1": f1, "auc": auc}),
    classifying(
        "Kullback–Leibler divergence",
        lambda out, t: functional.kl_div(out.log_softmax(1), t, reduction="batchmean"),
        probabilities,
    ),
    classifying(
        "distillation",
        lambda out, t: functional.kl_div((out / 3).log_softmax(1), (t / 3).softmax(1), reduction="batchmean") * 9,
        draw(4),
    ),
    classifying(
        "weights of positives",
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0, 9.0])),
        lambda n: torch.randint(2, (n, 4)).float(),
    ),
    classifying("contrast within the batch", clip_loss, draw(4)),
    classifying(
        "proxies of the loss's own", Proxies(), dtypes=(torch.float32,), refused=(InvalidSetting, "loss_fn's 'proxies'")
    ),
    classifying("centres of the loss's own", Centres()),
    classifying("training step with a penalty", functional.cross_entropy, options={"training_step": smoothed}),
    classifying("training step with noise", functional.cross_entropy, options={"training_step": noisy}, draws=True),
    regressing("Huber", nn.HuberLoss(delta=0.7)),
    regressing("smooth L1", functional.smooth_l1_loss),
    regressing("Poisson", nn.PoissonNLLLoss(), lambda n: torch.randint(5, (n, 2)).float()),
    regressing(
        "Gaussian likelihood", lambda out, t: functional.gaussian_nll_loss(out[:, :1], t, out[:, 1:].exp()), draw(1)
    ),
    regressing("quantiles", lambda out, t: torch.maximum(0.3 * (t - out), 0.7 * (out - t)).mean()),
    regressing(
        "missing values",
        lambda out, t: ((out - t).square()[~t.isnan()]).mean(),
        missing,
        refused=(InvalidData, "NaN"),
    ),
    regressing("correlation of the whole set", correlation),
    regressing("root of the mean square", lambda out, t: functional.mse_loss(out, t).sqrt()),
    regressing("sum instead of mean", nn.MSELoss(reduction="sum")),
    regressing("one loss for each example", nn.MSELoss(reduction="none"), refused=(InvalidSetting, "without axes")),
    Entry(name="loss that closes over the net", net=scores(2), loss_of=penalised, refused=(InvalidModel, "loss_fn")),
]
