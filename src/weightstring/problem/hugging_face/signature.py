"""What a model takes, and batches that are checked against it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidData
from weightstring.problem.datasets.batches import form_of_batch
from weightstring.problem.inspection.own_loss import IGNORED, LABELS

AS_LABELS = ("labels", "label", "label_ids")
"""Names of the column of labels that collators of ``transformers`` know."""

IDS, MASK = "input_ids", "attention_mask"
"""Tokens, and which of them are no padding."""

REFUSED = {
    "num_items_in_batch": "divides the loss by a number of the whole step: a set's loss is divided by its own labels",
    "past_key_values": "holds what another call computed",
    "cache": "holds what another call computed",
    "encoder_outputs": "holds what another call computed",
    "shift_labels": "moves labels in a way of its own",
    "return_dict": "changes what is returned",
    "logits_to_keep": "leaves logits out",
}
"""Arguments of a model that make a batch no data, and why."""


@dataclass(frozen=True)
class Accepted:
    """What a model's ``forward`` takes.

    Args:
        model: its class's name.
        names: of the arguments.
        decodes: whether a decoder reads the labels, behind an encoder that reads the inputs.
    """

    model: str
    names: tuple[str, ...]
    decodes: bool

    @classmethod
    def by(cls, model: nn.Module) -> Accepted:
        """What a model takes; with an adapter around it, what the model inside takes."""
        base = getattr(model, "get_base_model", None)
        inside = base() if callable(base) else model
        parameters = inspect.signature(inside.forward).parameters.values()
        named = tuple(each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD)
        return cls(type(inside).__name__, named, bool(getattr(model.config, "is_encoder_decoder", False)))

    @property
    def options(self) -> dict[str, bool]:
        """Arguments by which the model keeps nothing for further calls."""
        return {"use_cache": False} if "use_cache" in self.names else {}

    def columns(self, row: Mapping[str, Any], labels: str) -> dict[str, Any]:
        """Those of a row that it takes, and its labels."""
        wanted = {*self.names, *AS_LABELS, labels}
        return {name: value for name, value in row.items() if name in wanted}


def checked(batch: object, accepted: Accepted, labels: str, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """A batch as the model is given it, with labels under their own name.

    Raises:
        InvalidData: it is no dict of tensors, has no labels, or something that no data are.
    """
    if not isinstance(batch, Mapping):
        raise InvalidData(
            f"a batch is a {type(batch).__name__}: {accepted.model} takes a dict from names to tensors; pass "
            "collator=, or loss=fn(net, batch)"
        )
    found = dict(batch)
    given = [name for name in dict.fromkeys((labels, *AS_LABELS)) if name in found]
    if not given:
        raise InvalidData(
            f"a batch has {', '.join(map(repr, found))} but no labels: name their column by labels=, such as "
            "labels='input_ids' for a language model that predicts its own tokens; or pass loss=fn(net, batch)"
        )
    if given[0] == IDS:  # a language model predicts its own tokens, of which padding is none
        found[LABELS] = found[IDS].masked_fill(found[MASK] == 0, IGNORED) if MASK in found else found[IDS]
    elif given[0] != LABELS:
        found[LABELS] = found.pop(given[0])
    for name, value in found.items():
        if name in REFUSED:
            raise InvalidData(f"a batch has {name!r}, which {REFUSED[name]}: leave it out")
        if name not in accepted.names:
            raise InvalidData(
                f"a batch has {name!r}, which {accepted.model} does not take: leave it out in the collate function, or "
                "pass loss=fn(net, batch)"
            )
        if not isinstance(value, Tensor):
            raise InvalidData(f"{name!r} of a batch is a {type(value).__name__}: return tensors (return_tensors='pt')")
    return _labelled({name: _typed(name, value, dtype) for name, value in found.items()}, accepted)


def _typed(name: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Labels as cross-entropy takes them, floating inputs as the model computes."""
    if name == LABELS:
        return value if value.is_floating_point() else value.long()
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def _labelled(batch: dict[str, Tensor], accepted: Accepted) -> dict[str, Tensor]:
    """Refuse labels that stand for nothing."""
    labels, mask = batch[LABELS], batch.get(MASK)
    if labels.is_floating_point():
        return batch
    strange = labels[(labels < 0) & (labels != IGNORED)]
    if len(strange):
        raise InvalidData(f"labels of a batch hold {int(strange[0])}: what does not count is {IGNORED}")
    if mask is not None and mask.shape == labels.shape and not accepted.decodes:
        padded = int(((labels != IGNORED) & (mask == 0)).sum())
        if padded:
            raise InvalidData(
                f"{padded} labels of a batch {form_of_batch(batch)} lie on padding, where attention_mask is 0, and "
                f"would count: set them to {IGNORED}, or pass the batches to ws.ModuleProblem.from_batches, which "
                "takes them as they are"
            )
    return batch
