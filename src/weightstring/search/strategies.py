"""Strategies by name, and their settings as a run's manifest holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry
from weightstring.search.strategy import Strategy

STRATEGIES: Registry[type[Strategy[Any]]] = Registry("strategy", group="weightstring.strategies")
"""Every strategy that is known by name: a manifest names it, and the command line and ``compare`` offer it."""

for _name, _home in {
    "greedy": "greedy:Greedy",
    "even": "even:Even",
    "as-in-the-paper": "as_in_the_paper:AsInThePaper",
    "constrained": "constrained:Constrained",
    "breadth-first": "breadth_first:BreadthFirst",
    "bezier": "curves:Bezier",
    "poly-chain": "curves:PolyChain",
    "autoneb": "autoneb:AutoNEB",
    "shortened": "shortened:Shortened",
    "lower-ends": "lower_ends:LowerEnds",
    "lowered": "lowered:Lowered",
    "relay": "relay:Relay",
    "reoptimized": "reoptimized:Reoptimized",
    "persistent": "persistent:Persistent",
    "sinking": "sinking:Sinking",
}.items():
    STRATEGIES.add(_name, f"weightstring.search.methods.{_home}")


def plain(strategy: Strategy[Any]) -> dict[str, Any]:
    """A strategy as JSON values: its name and its settings; those inside another likewise.

    >>> from weightstring.search import Greedy
    >>> plain(Greedy(alpha=0.9))["name"], plain(Greedy(alpha=0.9))["alpha"]
    ('greedy', 0.9)
    """
    settings = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}  # type: ignore[arg-type]
    kind = type(strategy)
    return {
        "name": STRATEGIES.name_of(kind) or kind.__name__,
        **{name: _plain_value(value) for name, value in settings.items()},
    }


def from_plain(settings: Mapping[str, Any]) -> Strategy[Any]:
    """The inverse of :func:`plain`.

    Raises:
        InvalidSetting: an unknown strategy, or settings that it does not take.

    >>> from weightstring.search import BreadthFirst
    >>> from_plain(plain(BreadthFirst(alpha1=0.1))).alpha1
    0.1
    """
    name = settings.get("name", "")
    kind = STRATEGIES[name]
    inner = {key: _value(value) for key, value in settings.items() if key != "name"}
    try:
        return kind(**inner)
    except TypeError as problem:
        raise InvalidSetting(f"strategy {name}: its settings cannot be read: {problem}") from None


def compared() -> dict[str, Strategy[Any]]:
    """Every registered strategy with the settings under which it is compared by default, by name.

    Raises:
        InvalidSetting: one cannot be made without settings, and does not say with which.
    """
    strategies: dict[str, Strategy[Any]] = {}
    for name, kind in STRATEGIES.items():
        try:
            strategies |= kind.compared(name)
        except TypeError as problem:
            raise InvalidSetting(f"strategy {name}: say in compared() with which settings: {problem}") from None
    return strategies


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_value(one) for key, one in value.items()}
    return plain(value) if isinstance(value, Strategy) else value


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return from_plain(value) if "name" in value else {key: _value(one) for key, one in value.items()}
