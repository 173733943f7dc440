"""What a model's logits and labels say together: for each kind of head, which score belongs to which label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import Unsupported
from weightstring.problem.batchwise.per_batch import Returned
from weightstring.problem.inspection.own_loss import IGNORED, LABELS
from weightstring.problem.losses.folded import FromSums
from weightstring.problem.losses.means import Criterion


class Placed(NamedTuple):
    """Scores (n, …) and the labels (n, …) that they are compared with; ignored ones are among them."""

    scores: Tensor
    labels: Tensor


Metric: TypeAlias = Callable[[Tensor, Tensor], Returned]
"""``metric(scores, labels)`` of the labels of one batch that count."""


@dataclass(frozen=True)
class Head:
    """A kind of head.

    Args:
        words: what its loss is.
        place: scores and labels, one beside the other; None where these logits and labels are none of this kind.
        loss: of what :func:`place` returns, and a reduction: ``"sum"`` or ``"mean"``.
        classes: whether labels are numbers of classes, of which some may be ignored.
    """

    words: str
    place: Callable[[Tensor, Tensor], Placed | None]
    loss: Callable[[Tensor, Tensor, str], Tensor]
    classes: bool = True

    def placed(self, logits: Tensor, labels: Tensor) -> Placed:
        """Scores and labels, those in half precision as float32."""
        found = self.place(logits if logits.dtype == torch.float64 else logits.float(), labels)
        assert found is not None
        return found

    def weight(self, labels: Tensor) -> Tensor | int:
        """How many labels count."""
        return labels.ne(IGNORED).sum() if self.classes else labels.numel()


def _of_next_tokens(logits: Tensor, labels: Tensor) -> Placed | None:
    """Place i predicts label i + 1.

    >>> _of_next_tokens(torch.zeros(2, 5, 7), torch.zeros(2, 5, dtype=torch.int64)).scores.shape
    torch.Size([8, 7])
    """
    if _of_tokens(logits, labels) is None:
        return None
    return Placed(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def _of_tokens(logits: Tensor, labels: Tensor) -> Placed | None:
    if labels.is_floating_point() or labels.ndim != 2 or logits.shape[:-1] != labels.shape:
        return None
    return Placed(logits.flatten(0, 1), labels.flatten())


def _of_classes(logits: Tensor, labels: Tensor) -> Placed | None:
    if labels.is_floating_point() or logits.ndim != 2 or logits.shape[1] < 2 or labels.numel() != len(logits):
        return None
    return Placed(logits, labels.flatten())


def _of_numbers(logits: Tensor, labels: Tensor) -> Placed | None:
    if labels.numel() != logits.numel() or (logits.ndim == labels.ndim and logits.shape != labels.shape):
        return None
    return Placed(logits, labels.view_as(logits).to(logits))


def _of_several(logits: Tensor, labels: Tensor) -> Placed | None:
    if not labels.is_floating_point() or labels.shape != logits.shape:
        return None
    return Placed(logits, labels.to(logits))


def _cross_entropy(scores: Tensor, labels: Tensor, reduction: str) -> Tensor:
    return functional.cross_entropy(scores, labels, ignore_index=IGNORED, reduction=reduction)


def _squares(scores: Tensor, labels: Tensor, reduction: str) -> Tensor:
    return functional.mse_loss(scores, labels, reduction=reduction)


def _yes_or_no(scores: Tensor, labels: Tensor, reduction: str) -> Tensor:
    return functional.binary_cross_entropy_with_logits(scores, labels, reduction=reduction)


HEADS = {
    "next-token": Head("the cross-entropy of each next token", _of_next_tokens, _cross_entropy),
    "token": Head("the cross-entropy of each token", _of_tokens, _cross_entropy),
    "class": Head("the cross-entropy of each example", _of_classes, _cross_entropy),
    "number": Head("the square of each number's error", _of_numbers, _squares, classes=False),
    "yes-or-no": Head("the binary cross-entropy of each label", _of_several, _yes_or_no, classes=False),
}
"""The kinds of heads, by the names under which a caller may say which it is."""


@dataclass(frozen=True, eq=False)
class HeadLoss:
    """The loss of a model with one of :data:`HEADS`, and what else the same forward pass tells.

    Over a set it is the mean over all labels that count, as no mean of batches' means is.

    Args:
        head: its name in :data:`HEADS`.
        language: whether classes are the tokens of a vocabulary, so that exp(loss) is a perplexity.
        labelled: whether the model is given the labels too, which a decoder reads.
        options: further arguments of the model.
        metrics: of scores and labels that count, by name.
    """

    head: str
    language: bool = False
    labelled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def targets(self) -> str:
        """What it compares with, among a batch's tensors."""
        return LABELS

    @property
    def rising(self) -> tuple[str, ...]:
        """Quantities that are better the higher they are."""
        told = [name for name, metric in self.metrics.items() if getattr(metric, "higher_is_better", False)]
        return ("accuracy", *told)

    def __call__(self, net: nn.Module, batch: object) -> dict[str, Returned]:
        """The quantities of one batch."""
        given = cast(Mapping[str, Any], batch)
        labels = given[LABELS]
        inputs = {name: value for name, value in given.items() if self.labelled or name != LABELS}
        return self.of(net(**inputs, **self.options).logits, labels)

    def criterion(self, name: str) -> Criterion:
        """A quantity over any examples together, of what the model returns and their labels.

        Raises:
            Unsupported: the model reads the labels too, or the quantity is no mean, nor e to one.
        """
        if self.labelled:
            raise Unsupported("certificates read models of inputs alone; this one is given the labels, as decoders are")
        if name not in ("loss", "perplexity", "error"):
            raise Unsupported(f"certificates have no rule for {name!r} of a model: bound its loss, perplexity or error")
        return partial(_over_all, head=HEADS[self.head], name=name)

    def of(self, logits: Tensor, labels: Tensor) -> dict[str, Returned]:
        """The quantities of one batch from what the model returns; logits in half precision as float32."""
        head = HEADS[self.head]
        scores, told = head.placed(logits, labels)
        total, weight = head.loss(scores, told, "sum"), head.weight(told)
        found: dict[str, Returned] = {"loss": (total, weight)}
        if self.language:
            sums = torch.stack([total.detach().double(), torch.as_tensor(weight).to(total.device, torch.float64)])
            found["perplexity"] = FromSums(sums, perplexity)
        elif head.classes:
            hits = scores.argmax(-1).eq(told).sum()  # an ignored label is no class
            found |= {"error": (weight - hits, weight), "accuracy": (hits, weight)}
        if self.metrics:
            counts = told.ne(IGNORED) if head.classes else slice(None)
            found |= {name: metric(scores[counts].detach(), told[counts]) for name, metric in self.metrics.items()}
        return found


def _over_all(output: Any, labels: Tensor, *, head: Head, name: str) -> Tensor:
    scores, told = head.placed(output.logits, labels)
    if name == "error":
        return scores.argmax(-1).ne(told).double().mean()
    mean = head.loss(scores, told, "mean")
    return mean.exp() if name == "perplexity" else mean


def perplexity(sums: Tensor) -> Tensor:
    """exp(Σ loss / Σ weight).

    >>> perplexity(torch.tensor([0.0, 3.0]))
    tensor(1.)
    """
    return (sums[0] / sums[1]).exp()
