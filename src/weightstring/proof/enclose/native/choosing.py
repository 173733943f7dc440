"""Which arithmetic bounds a loss: compiled code in float32 where that is near enough, in float64, or operations.

Errors of deep networks grow from layer to layer, of those that are known by their size alone at a worst case's rate.
Compiled code can follow them by generators, which costs several times as much an interval. A rehearsal tells which of
both needs less in all: how wide an interval each bounds near enough, at the largest sample, on some of the examples.
"""

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

DEEP = 4
"""Hidden layers from which on generators may pay."""

GENERATORS = (8, 16)
"""How many each example may have."""

REHEARSED = 64
"""Examples, about, of a rehearsal."""

NARROWEST = 2.0**-13
"""Half the width of the narrowest interval of a rehearsal."""


def fastest(enclosing: Enclosing, room: float, where: tuple[int, float]) -> Examining:
    """The fastest way to bound a loss that loses little of the room to its target.

    Args:
        enclosing: the loss, enclosed operation by operation.
        room: between the target and the loss.
        where: segment and t of a point at which rounding, and how wide an interval can be, is looked at.
    """
    network = plain(enclosing)
    if network is None:
        return enclosing
    try:
        coarse, fine = (Compiled(enclosing, network, dtype) for dtype in (torch.float32, torch.float64))
    except Unavailable:
        return enclosing
    chosen = coarse if _loose(coarse, where, 0.0, SOME) <= SHARE * room else fine
    if len(network.steps) <= DEEP:
        return chosen
    ways = [chosen, *(Compiled(enclosing, network, torch.float64, count) for count in GENERATORS)]
    return min(ways, key=lambda way: way.price / _half_width(way, where, room))


def _half_width(way: Compiled, where: tuple[int, float], room: float) -> float:
    """Of the widest interval around a point, a power of two, that it bounds within the room."""
    half = 0.25
    while half > NARROWEST and not _loose(way, where, half, REHEARSED) <= room:
        half /= 2
    return half


def _loose(way: Compiled, where: tuple[int, float], half: float, some: int) -> float:
    """About how far the bound of an interval around a point lies above the loss, by some of the examples."""
    segment, t = where
    low, high = (torch.tensor([edge], dtype=torch.float64) for edge in (max(0.0, t - half), min(1.0, t + half)))
    rows = way.order[:: max(1, len(way.order) // some)]
    ((_, found),) = way.examined(Intervals(torch.tensor([segment]), low, high), rows)
    return float(found.loose.sum()) * len(way.order) / len(rows)
