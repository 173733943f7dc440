"""What constant masks choose; what they leave at −∞, or at what is as good, is left to a softmax."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.rules.attention import under
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.softmax import NEVER, Masked
from weightstring.proof.enclose.values import Data


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(call: Call, x: object, mask: object, value: object) -> Enclosure | Masked:
    """A number in the places of a mask."""
    return where(call, mask, value, x)


@rule("where.self", "where.ScalarOther", "where.ScalarSelf")
def where(call: Call, mask: object, x: object, y: object) -> Enclosure | Masked:
    """One or the other, by a mask that does not depend on θ."""
    chosen = _mask(call, mask)
    found: Enclosure | None = None
    constant = torch.zeros((), dtype=torch.float64, device=chosen.device)
    for part, other, keep in ((x, y, chosen), (y, x, ~chosen)):
        if (number := _number(part)) is None:
            kept = _kept(call.operand(part), keep.double())
            found = kept if found is None else found + kept
        elif number <= NEVER:
            return under(call, call.operand(other), mask if keep is not chosen else _not(call, mask))
        else:
            constant = constant + number * keep.double()
    if found is None:
        raise call.refuse("it chooses between numbers")
    return found.shifted(constant) if bool(constant.any()) else found


def _kept(x: Enclosure, keep: Tensor) -> Enclosure:
    """Where 1 stands itself, 0 elsewhere; what is repeated on the way is no group of the same length any more."""
    found = x.each(lambda values: values * keep, lambda norm: norm)
    return found if found.shape == x.shape else replace(found, norm=None)


def _number(part: object) -> float | None:
    constant = isinstance(part, int | float) or (isinstance(part, Tensor) and not part.ndim)
    return float(part) if constant else None  # type: ignore[arg-type]


def _not(call: Call, mask: object) -> object:
    return mask.mapped(torch.logical_not, call.step.name) if isinstance(mask, Data) else ~_mask(call, mask)


def _mask(call: Call, mask: object) -> Tensor:
    """(n or 1, ...) as data of all examples."""
    given = mask.values if isinstance(mask, Data) else mask
    if not isinstance(given, Tensor) or given.dtype != torch.bool:
        raise call.refuse("its mask depends on θ")
    if isinstance(mask, Data) and given.ndim != len(call.step.shape):
        raise call.refuse("it combines different examples")
    return given
