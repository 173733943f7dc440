"""Strategies by name, and their settings as a run's manifest holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.search.methods.as_in_the_paper import AsInThePaper
from weightstring.search.methods.autoneb import AutoNEB
from weightstring.search.methods.breadth_first import BreadthFirst
from weightstring.search.methods.constrained import Constrained
from weightstring.search.methods.curves import Bezier, PolyChain
from weightstring.search.methods.even import Even
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.lowered import Lowered
from weightstring.search.methods.persistent import Persistent
from weightstring.search.methods.relay import Relay
from weightstring.search.methods.reoptimized import Reoptimized
from weightstring.search.methods.shortened import Shortened
from weightstring.search.methods.sinking import Sinking
from weightstring.search.strategy import Strategy

STRATEGIES: dict[str, type[Any]] = {
    "greedy": Greedy,
    "even": Even,
    "as-in-the-paper": AsInThePaper,
    "constrained": Constrained,
    "breadth-first": BreadthFirst,
    "bezier": Bezier,
    "poly-chain": PolyChain,
    "autoneb": AutoNEB,
    "shortened": Shortened,
    "lowered": Lowered,
    "relay": Relay,
    "reoptimized": Reoptimized,
    "persistent": Persistent,
    "sinking": Sinking,
}


def plain(strategy: Strategy[Any]) -> dict[str, Any]:
    """A strategy as JSON values: its name and its settings; those inside another likewise.

    >>> plain(Greedy(alpha=0.9))["name"], plain(Greedy(alpha=0.9))["alpha"]
    ('greedy', 0.9)
    """
    settings = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}  # type: ignore[arg-type]
    names = {kind: name for name, kind in STRATEGIES.items()}
    return {
        "name": names.get(type(strategy), type(strategy).__name__),
        **{name: _plain_value(value) for name, value in settings.items()},
    }


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_value(one) for key, one in value.items()}
    return plain(value) if isinstance(value, Strategy) else value


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return from_plain(value) if "name" in value else {key: _value(one) for key, one in value.items()}


def from_plain(settings: Mapping[str, Any]) -> Strategy[Any]:
    """The inverse of :func:`plain`.

    Raises:
        InvalidSetting: an unknown strategy, or settings that it does not take.

    >>> from_plain(plain(BreadthFirst(alpha1=0.1))).alpha1
    0.1
    """
    name = settings.get("name")
    if name not in STRATEGIES:
        raise InvalidSetting(f"unknown strategy {name!r:.80}: choose one of {', '.join(STRATEGIES)}")
    inner = {key: _value(value) for key, value in settings.items() if key != "name"}
    try:
        made: Strategy[Any] = STRATEGIES[name](**inner)
    except TypeError as problem:
        raise InvalidSetting(f"strategy {name}: its settings cannot be read: {problem}") from None
    return made
