"""A problem of a model of ``transformers`` and its data, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidData, InvalidModel, InvalidSetting
from weightstring.problem.batchwise.per_batch import BatchLoss
from weightstring.problem.datasets.batches import batch_digest
from weightstring.problem.datasets.sources import holdouts, told
from weightstring.problem.hugging_face.finding import found_head
from weightstring.problem.hugging_face.heads import Metric
from weightstring.problem.hugging_face.rows import Collate, Padding
from weightstring.problem.hugging_face.signature import Accepted
from weightstring.problem.hugging_face.sources import Rows, batched, unwrapped
from weightstring.problem.inspection.own_loss import LABELS
from weightstring.problem.losses.metric_objects import as_criterion
from weightstring.problem.module import ModuleProblem
from weightstring.recipe import Recipe

TRIED = 2
"""Batches of each set on which a model's own loss is compared with ours."""


def from_transformers(
    model: nn.Module,
    train: Rows,
    evaluate: Rows | None = None,
    *,
    holdout: Rows | Mapping[str, Rows] | None = None,
    labels: str = "labels",
    batch_size: int = 8,
    tokenizer: object | None = None,
    collator: Callable[[list[Any]], Mapping[str, Any]] | None = None,
    seed: int | None = None,
    head: str | None = None,
    loss: BatchLoss | None = None,
    metrics: Mapping[str, Metric] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    recipe: Recipe | None = None,
    training_recipe: Recipe | None = None,
    train_curves: bool | Literal["auto"] = "auto",
) -> ModuleProblem:
    """The loss of a model of ``transformers`` over a tokenised dataset.

    It is Σ of the losses of all labels that count / their number, computed from the logits. On a few batches the
    model's own loss is compared with it: what is not the mean over labels of one of the known kinds of head is refused.
    Labels of −100 do not count, padding gets −100 and an attention mask of 0, and the model keeps no cache.

    ========================== ==================================================================
    head                       quantities beside the loss
    ========================== ==================================================================
    language models            ``perplexity``, exp(loss)
    classes, of tokens too     ``error`` and ``accuracy``, of the labels that count
    numbers, several labels    none
    ========================== ==================================================================

    Args:
        model: causal, masked or sequence-to-sequence language model, classification of sequences, tokens or images,
            or regression; with an adapter of ``peft`` in it too. It is copied, and never changed.
        train: rows of a ``datasets.Dataset``, of a torch Dataset of dicts, or in a list; or batches: a DataLoader, or
            a list of dicts of tensors. Columns that the model does not take are left out.
        evaluate: likewise the set on which the loss is measured; None: the training set.
        holdout: a set, or several by name, that is only ever reported.
        labels: the column of labels; ``"input_ids"`` for a language model that predicts its own tokens.
        batch_size: rows in a batch; that is also a minibatch.
        tokenizer: says by what and on which side rows are padded; None: the model's configuration, on the right.
        collator: makes a batch of rows in place of that, such as ``DataCollatorForSeq2Seq``.
        seed: lets a collator draw, once for each batch: of masked language models. None: data that change are refused.
        head: the kind of loss where a model's own cannot tell: ``"next-token"``, ``"token"``, ``"class"``,
            ``"number"`` or ``"yes-or-no"``.
        loss: a loss of (net, batch) in place of all that; see :meth:`ModuleProblem.from_batches`.
        metrics: further quantities by name: metrics of ``torchmetrics``, or ``metric(scores, labels)`` of the labels of
            a batch that count: (sum, weight), :class:`weightstring.MeanOf` or :class:`weightstring.FromSums`.
        device: where to compute; None: where the model is.
        dtype: in what to compute; None: each parameter's own.
        recipe: how to descend this loss unless told otherwise.
        training_recipe: how random models are trained.
        train_curves: as of :class:`ModuleProblem`.

    Raises:
        InvalidModel: the model's own loss is none of ours, or depends on padding.
        InvalidData: rows without labels, or that do not become a batch.
        InvalidSetting, NotDeterministic: as of :class:`ModuleProblem`.
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise InvalidModel(f"model is a {type(model).__name__}: pass a model of transformers, AutoModelFor….from_…")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidSetting(f"batch_size={batch_size!r}: pass an integer of at least 1")
    accepted = Accepted.by(model)
    if loss is None and LABELS not in accepted.names:
        raise InvalidModel(
            f"{accepted.model} takes no {LABELS!r} and has no loss of them: pass a class with a head, such as "
            "AutoModelForCausalLM, or loss=fn(net, batch)"
        )
    floats = dtype or next((each.dtype for each in model.parameters() if each.is_floating_point()), None)
    collate = Collate(accepted, labels, _padding(model, tokenizer), collator, seed, floats)
    sources = {"train": train, "evaluate": evaluate, **{f"holdout {k}": v for k, v in holdouts(holdout).items()}}
    batches = {name: batched(each, collate, batch_size, name) for name, each in sources.items() if each is not None}
    with torch.random.fork_rng(devices=[]):
        tried = [batch for name, each in batches.items() for batch in _first(each, name, drawing=collator is not None)]
    if loss is None:
        loss = replace(
            found_head(model, accepted, tried, head),
            metrics={name: as_criterion(metric) for name, metric in (metrics or {}).items()},
        )
    elif metrics or head:
        raise InvalidSetting("loss= is given, beside which metrics= and head= say nothing: return a dict from it")
    held = {name.removeprefix("holdout "): each for name, each in batches.items() if name.startswith("holdout ")}
    return ModuleProblem.from_batches(
        model,
        batches["train"],
        batches.get("evaluate"),
        loss,
        holdout=held or None,
        device=device,
        dtype=dtype,
        recipe=recipe,
        training_recipe=training_recipe,
        train_curves=train_curves,
    )


def _first(source: object, name: str, drawing: bool) -> list[Mapping[str, Tensor]]:
    """The first batches of a set.

    Raises:
        InvalidData: a collator makes others of the same rows at its second call.
    """
    first = list(islice(told(unwrapped(source), name), TRIED))
    again = list(islice(told(unwrapped(source), name), TRIED)) if drawing else first
    if any(batch_digest(one) != batch_digest(other) for one, other in zip(first, again, strict=True)):
        raise InvalidData(
            f"{name}: the collator makes another batch of the same rows at each call: pass seed=, with which it draws "
            "once for each, or a collator that does not draw"
        )
    return cast("list[Mapping[str, Tensor]]", first)


def _padding(model: nn.Module, tokenizer: object | None) -> Padding:
    token = getattr(tokenizer, "pad_token_id", None)
    if token is None:
        token = getattr(model.config, "pad_token_id", None)
    side = getattr(tokenizer, "padding_side", "right")
    return Padding(0 if token is None else int(token), "left" if side == "left" else "right")
