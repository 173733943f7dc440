"""Rows of a table that moves along the string."""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.rounding import ELEMENTWISE
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.values import Data


@rule("embedding.default", grouped=True, smooth=True)
def embedding(call: Call, table: object, indices: object, *_: object) -> Enclosure | Weights:
    """The rows that numbers of the data name, of a table that is the same for all examples."""
    weights = call.weights(table)
    if isinstance(indices, Tensor):
        return Weights(weights.beads[:, indices.long()])
    if not isinstance(indices, Data):
        raise call.refuse("its indices are computed")
    rows = indices.values.long()
    whole = weights.enclosed(call.intervals, call.degree)
    chosen = whole.each(lambda values: values[:, 0].expand(len(call.intervals), *values.shape[2:])[:, rows])
    return Enclosure(chosen.nodes, torch.zeros_like(chosen.radius), chosen.size).widened(ELEMENTWISE * chosen.size)
