"""What a sweep asks: thresholds × variants of a task × pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from weightstring.errors import InvalidSetting
from weightstring.search import Greedy, MaxBeads, StopRule, Strategy
from weightstring.store.records import Task

Ends = Literal["carried", "afresh"]
"""Networks for a lower threshold go on from the same seed's for a higher one, or start from a random model."""

MAX_BEADS = 256


@dataclass(frozen=True)
class Plan:
    """What is swept.

    Args:
        thresholds: L0, each by itself, in any order.
        pairs: how many pairs of networks at each threshold and for each variant.
        bind: what the threshold binds, and what ends are trained by: ``"loss"`` or a metric such as ``"error"``.
        ends: how they are trained.
        seed: of the first network; every one has a seed of its own.
        tries: networks trained at most for each that is needed, before a threshold counts as out of reach.
        strategy: how to search.
        stop: when to stop without a string; holds for each pair.

    Raises:
        InvalidSetting: no thresholds, one that is not positive and finite, or counts below 1.

    >>> Plan((0.1, 0.01), pairs=2).levels
    (0.1, 0.01)
    """

    thresholds: tuple[float, ...]
    pairs: int = 32
    bind: str = "loss"
    ends: Ends = "carried"
    seed: int = 0
    tries: int = 20
    strategy: Strategy[Any] = field(default_factory=Greedy)
    stop: StopRule = field(default_factory=lambda: MaxBeads(MAX_BEADS))

    def __post_init__(self) -> None:
        if not self.thresholds or not all(math.isfinite(level) and level > 0 for level in self.thresholds):
            raise InvalidSetting(f"sweep(thresholds={self.thresholds}): give positive numbers")
        for name in ("pairs", "tries"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InvalidSetting(f"sweep({name}={getattr(self, name)!r}): give at least 1")
        if self.ends not in get_args(Ends):
            raise InvalidSetting(f"sweep(ends={self.ends!r}): choose one of {', '.join(get_args(Ends))}")

    @property
    def levels(self) -> tuple[float, ...]:
        """The thresholds from the highest to the lowest, each once: the order in which ends are trained."""
        return tuple(sorted(set(self.thresholds), reverse=True))

    @property
    def quantity(self) -> str:
        """The measured quantity that the threshold binds."""
        return {"evaluate": "loss"}.get(self.bind, self.bind)


@dataclass(frozen=True)
class Variant:
    """One form of the task.

    Args:
        name: of its directory, such as ``width=8``.
        options: what distinguishes it, by name; empty where there is only one.
        task: how to build its problem again; None: built in Python.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    task: Task | None = None


def variants(task: Task, over: Mapping[str, Sequence[str]]) -> list[Variant]:
    """All combinations of options of a task.

    Args:
        task: with the options that all have in common.
        over: for each option the values that are swept.

    >>> [variant.name for variant in variants(Task(name="polynomial"), {"width": ["4", "8"]})]
    ['width=4', 'width=8']
    """
    combined: list[dict[str, str]] = [{}]
    for name, values in over.items():
        combined = [{**options, name: value} for options in combined for value in values]
    return [
        Variant(
            ",".join(f"{key}={value}" for key, value in options.items()) or "all",
            options,
            Task(name=task.name, options={**task.options, **options}),
        )
        for options in combined
    ]
