"""The loss that a model computes itself when it is given labels, as those of Hugging Face do, with its weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidData, InvalidModel, InvalidSetting
from weightstring.problem.batchwise.per_batch import MeanOf
from weightstring.problem.datasets.batches import Batches, form_of_batch
from weightstring.problem.inspection.originals import evaluating
from weightstring.text import first_line

LABELS = "labels"

IGNORED = -100
"""The label that Hugging Face's models and torch's cross-entropy do not count."""


@dataclass(frozen=True)
class OwnLoss:
    """``net(**batch).loss`` with the number of labels that it is the mean over.

    Args:
        shifted: whether position i predicts label i + 1, as in causal language models, so that the first of each
            sequence does not count.
    """

    shifted: bool

    def __call__(self, net: nn.Module, batch: object) -> MeanOf:
        """The loss of one batch."""
        assert isinstance(batch, Mapping)
        return MeanOf(net(**batch).loss, self.weight(batch[LABELS]))

    def weight(self, labels: Tensor) -> Tensor | int:
        """How many labels count: numbers all do, of classes those that are not −100.

        >>> OwnLoss(shifted=True).weight(torch.tensor([[1, 2, 3, -100]])).item()
        2
        """
        if labels.is_floating_point():
            return labels.numel()
        return (labels[..., 1:] if self.shifted else labels).ne(IGNORED).sum()


def own_loss(net: nn.Module, sets: Iterable[Batches]) -> OwnLoss:
    """What a model's own loss is a mean over: tried is whether leaving out the first label of a sequence changes it.

    Whether the weights so found add up is tried on parts of batches, as for any loss.

    Raises:
        InvalidData: a batch is no dict with ``"labels"``.
        InvalidSetting: the model does not return a loss.
        InvalidModel: it fails.
    """
    first = next(net.parameters())
    with evaluating(net), torch.no_grad():
        for batch in chain.from_iterable(each.to(first.device, first.dtype) for each in sets):
            labels = batch.get(LABELS) if isinstance(batch, Mapping) else None
            if not isinstance(batch, Mapping) or not isinstance(labels, Tensor):
                raise InvalidData(
                    f"a batch is {form_of_batch(batch)}: without loss=, the model's own is taken, for which a batch "
                    f"must be a dict with {LABELS!r}; pass loss=fn(net, batch)"
                )
            if labels.is_floating_point() or labels.ndim < 2:
                return OwnLoss(shifted=False)
            if bool(labels[..., 0].ne(IGNORED).any()):
                rest = labels.clone()
                rest[..., 0] = IGNORED
                return OwnLoss(shifted=torch.equal(_loss(net, batch), _loss(net, {**batch, LABELS: rest})))
    return OwnLoss(shifted=False)  # the first label counts nowhere


def _loss(net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    try:
        loss = getattr(net(**batch), "loss", None)
    except Exception as error:
        raise InvalidModel(
            f"net(**batch) fails on {form_of_batch(batch)} ({first_line(error)}): pass loss=fn(net, batch)"
        ) from error
    if not isinstance(loss, Tensor) or loss.ndim:
        raise InvalidSetting(
            f"{type(net).__name__} returns no loss of a batch with {LABELS!r}: pass loss=fn(net, batch), which returns "
            "(sum, weight) or ws.MeanOf(mean, weight)"
        )
    return loss
