"""Constraints by their names, as the command line and a run's manifest hold them."""

from __future__ import annotations

from typing import Any

from weightstring.descent.constraint import Both, Constraint, Free, Hyperplane, Soft, Spring, parts_of
from weightstring.errors import InvalidSetting


def constraint(name: str) -> Constraint:
    """A constraint by its name: ``free``, ``hyperplane``, ``spring:ζ``, ``soft:κ``, or several joined by ``+``.

    Raises:
        InvalidSetting: there is none of that name, or a weight is missing or out of range.

    >>> constraint("hyperplane+spring:0.01")
    Both(parts=(Hyperplane(), Spring(zeta=0.01)))
    """
    parts = [_single(part) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def on_planes(tie: Constraint) -> bool:
    """Whether beads are held on the hyperplanes."""
    return any(isinstance(part, Hyperplane) for part in parts_of(tie))


def _single(name: str) -> Constraint:
    kind, _, weight = name.partition(":")
    plain: dict[str, Constraint] = {"free": Free(), "hyperplane": Hyperplane()}
    weighted: dict[str, Any] = {"spring": Spring, "soft": Soft}
    if kind in plain and not weight:
        return plain[kind]
    try:
        made: Constraint = weighted[kind](float(weight))
    except (KeyError, ValueError):
        raise InvalidSetting(
            f"constraint {name!r}: choose free, hyperplane, spring:ZETA or soft:KAPPA, or several joined by +"
        ) from None
    return made
