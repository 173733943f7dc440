"""Which head a model has: its own loss of a few batches is compared with that of each kind of head.

Classes have names, but what a loss is a mean over, a model's own number says: the head is the one whose mean over the
labels that count is what the model returns. A loss with further terms agrees with none, and is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.datasets.batches import form_of_batch
from weightstring.problem.hugging_face.heads import HEADS, HeadLoss
from weightstring.problem.hugging_face.signature import IDS, MASK, Accepted
from weightstring.problem.inspection.originals import evaluating
from weightstring.problem.inspection.own_loss import LABELS
from weightstring.text import first_line

LOG = logging.getLogger("weightstring")

CLOSE = {torch.float16: 1e-3, torch.bfloat16: 5e-3}
"""How far, relatively, a model's own loss may lie from ours, as rounding goes; elsewhere 1e-4."""

CLEAR = 16
"""How many times as far any other kind of head must lie."""

APART = 1e-3
"""From which relative difference on a mean of batches' means is told."""

Batch = Mapping[str, Tensor]


class Own(NamedTuple):
    """What a model returns of one batch: its own loss, and its logits, beside the labels."""

    loss: float
    logits: Tensor
    labels: Tensor

    def __str__(self) -> str:
        return f"{form_of_batch({'logits': self.logits, LABELS: self.labels})}"


def found_head(model: nn.Module, accepted: Accepted, batches: Iterable[Batch], named: str | None) -> HeadLoss:
    """The loss of a model by its head, which agrees with the model's own on some batches.

    Args:
        model: as the caller has it; left as it is.
        accepted: what it takes.
        batches: some of its data.
        named: the head, where the caller says it; None: the one that agrees.

    Raises:
        InvalidSetting: there is no such head.
        InvalidModel: the model fails, returns no loss, or one that is the mean of no kind of head; or its logits
            depend on what padding holds.
    """
    if named is not None and named not in HEADS:
        raise InvalidSetting(f"head={named!r}: pass one of {', '.join(map(repr, HEADS))}, or None to have it found")
    place = next(model.parameters())
    with evaluating(model), torch.no_grad():
        moved = [{name: _at(place, name, value) for name, value in batch.items()} for batch in batches]
        seen = [_own(model, accepted, batch) for batch in moved]
        told = [own for own in seen if own.loss == own.loss]  # without a label that counts it is 0 / 0
        if not told:
            raise InvalidModel(
                f"{type(model).__name__}'s own loss of the first {len(seen)} batches is no number: none of their "
                "labels counts, or the model has diverged"
            )
        head = _agreeing(type(model).__name__, told, CLOSE.get(place.dtype, 1e-4), named)
        language = head.endswith("token") and seen[0].logits.shape[-1] == _vocabulary(model)
        loss = HeadLoss(head, language, accepted.decodes, accepted.options)
        for batch in moved:
            _check_padding(model, loss, batch)
    return loss


def _at(place: Tensor, name: str, value: Tensor) -> Tensor:
    return value.to(place.device, place.dtype if value.is_floating_point() and name != LABELS else value.dtype)


def _own(model: nn.Module, accepted: Accepted, batch: Batch) -> Own:
    """What the model returns with labels, and its logits as our loss reads them."""
    name = type(model).__name__
    inputs = {key: value for key, value in batch.items() if accepted.decodes or key != LABELS}
    try:
        loss = getattr(model(**batch, **accepted.options), "loss", None)
        logits = getattr(model(**inputs, **accepted.options), "logits", None)
    except Exception as error:  # whatever a model raises of data that do not suit it
        raise InvalidModel(
            f"{name} fails on a batch {form_of_batch(batch)} ({type(error).__name__}: {first_line(error)})"
        ) from error
    if not isinstance(loss, Tensor) or loss.ndim or not isinstance(logits, Tensor):
        missing = "logits" if isinstance(loss, Tensor) and not loss.ndim else f"loss for {LABELS!r}"
        raise InvalidModel(f"{name} returns no {missing}: pass loss=fn(net, batch), which returns (sum, weight)")
    return Own(float(loss), logits, batch[LABELS])


def _agreeing(model: str, seen: list[Own], close: float, named: str | None) -> str:
    """The head whose mean is the model's own loss on each batch.

    Raises:
        InvalidModel: none is, or several are.
    """
    counted = {name: _means(name, seen) for name in ([named] if named else HEADS)}
    apart = {name: max(map(_relative, means, (own.loss for own in seen))) for name, means in counted.items() if means}
    near = sorted((name for name in apart if apart[name] <= close), key=apart.__getitem__)
    if near and (len(near) == 1 or apart[near[0]] * CLEAR <= apart[near[1]]):
        _tell(model, near[0], seen)
        return near[0]
    if near:
        raise InvalidModel(
            f"{model}'s own loss of the first batch, {seen[0].loss:.6g}, is {HEADS[near[0]].words} and "
            f"{HEADS[near[1]].words} alike: say which it is, head={near[0]!r} or head={near[1]!r}"
        )
    others = "; ".join(f"{HEADS[name].words} has the mean {counted[name][0]:.6g}" for name in apart)
    raise InvalidModel(
        f"{model}'s own loss of the first batch is {seen[0].loss:.6g}, which is no mean over labels that is known here "
        f"({others or f'none fits {seen[0]}'}): it may have further terms; pass loss=fn(net, batch), which returns "
        "(sum, weight)"
    )


def _means(name: str, seen: list[Own]) -> list[float]:
    """Means over the labels of each batch; none where logits and labels are not of this kind.

    Of logits in half precision some models round the loss too: of the two numbers the one that is nearer to theirs.
    """
    head, means = HEADS[name], []
    for own in seen:
        wide = own.logits if own.logits.dtype == torch.float64 else own.logits.float()
        ways = [head.place(logits, own.labels) for logits in {wide.dtype: wide, own.logits.dtype: own.logits}.values()]
        placed = [each for each in ways if each is not None]
        if not placed or (head.classes and placed[0].labels.max() >= placed[0].scores.shape[-1]):
            return []
        found = [float(head.loss(*each, "mean")) for each in placed]
        means.append(min(found, key=partial(_relative, own.loss)))
    return means


def _relative(mean: float, own: float) -> float:
    return abs(mean - own) / max(abs(mean), abs(own), 1e-12) if mean == mean and own == own else float("inf")


def _tell(model: str, name: str, seen: list[Own]) -> None:
    """Say where the mean of batches' means, which Trainer reports, is another number than the mean over labels."""
    head = HEADS[name]
    placed = [head.place(own.logits, own.labels) for own in seen]
    weights = [int(head.weight(each.labels)) for each in placed if each is not None]
    whole = sum(weight * own.loss for weight, own in zip(weights, seen, strict=True) if weight) / max(sum(weights), 1)
    plain = sum(own.loss for own in seen) / len(seen)
    if _relative(whole, plain) > APART:
        LOG.info(
            "%s: %s, over all %s labels that count; of the first %s batches that is %.6g, where the mean of their means"
            " is %.6g",
            *(model, head.words, f"{sum(weights):,}", len(seen), whole, plain),
        )


def _check_padding(model: nn.Module, loss: HeadLoss, batch: Batch) -> None:
    """Refuse a model whose loss depends on what stands in padding."""
    ids, mask = batch.get(IDS), batch.get(MASK)
    if ids is None or mask is None or mask.shape != ids.shape or bool((mask != 0).all()):
        return
    other = {**batch, IDS: torch.where(mask == 0, (ids + 1) % max(_vocabulary(model), 2), ids)}
    first, second = (float(loss(model, each)["loss"][0]) for each in (batch, other))  # type: ignore[index]
    if _relative(first, second) > CLOSE.get(next(model.parameters()).dtype, 1e-4):
        raise InvalidModel(
            f"{type(model).__name__}'s loss depends on the tokens in padding ({first:.6g} and {second:.6g} with others "
            "there): it does not heed attention_mask; pass rows of one length"
        )


def _vocabulary(model: nn.Module) -> int:
    config: object = getattr(model, "config", None)
    for each in (config, getattr(config, "text_config", None)):
        if isinstance(size := getattr(each, "vocab_size", None), int):
            return size
    return 0
