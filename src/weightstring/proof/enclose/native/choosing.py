"""Which arithmetic bounds a loss: compiled code in float32 where that is near enough, in float64, or operations."""

from __future__ import annotations

import torch

from weightstring.problem.engines.base import Unavailable
from weightstring.proof.enclose.bounding import Examining
from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.native.compiled import Compiled
from weightstring.proof.enclose.native.plain import plain

SHARE = 0.15
"""Of the room between the target and the loss, what rounding in float32 may take."""

SOME = 512
"""Examples, about, by which that is seen."""


def fastest(enclosing: Enclosing, room: float, where: tuple[int, float]) -> Examining:
    """The fastest way to bound a loss that loses little of the room to its target.

    Args:
        enclosing: the loss, enclosed operation by operation.
        room: between the target and the loss.
        where: segment and t of a point at which rounding is looked at.
    """
    network = plain(enclosing)
    if network is None:
        return enclosing
    try:
        coarse, fine = (Compiled(enclosing, network, dtype) for dtype in (torch.float32, torch.float64))
    except Unavailable:
        return enclosing
    segment, t = where
    at = torch.tensor([t], dtype=torch.float64)
    rows = enclosing.order[:: max(1, len(enclosing.order) // SOME)]
    ((_, found),) = coarse.examined(Intervals(torch.tensor([segment]), at, at), rows)
    lost = float(found.loose.sum()) * len(enclosing.order) / len(rows)
    return coarse if lost <= SHARE * room else fine
