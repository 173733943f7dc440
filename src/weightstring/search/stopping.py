"""When to stop without a string (Section II.D): rules that compose with ``|``."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.strategy import Strategy


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Args:
        beads: beads on the string, ends counted.
        pending: descents and evolutions about to be run.
        steps: gradient steps so far, summed over all beads.
        seconds: time spent so far, over all sessions of the run.
        adding: beads that what is pending may add to the string.
    """

    beads: int = 0
    pending: int = 0
    steps: int = 0
    seconds: float = 0.0
    adding: int = 0


class StopRule(ABC):
    """A limit on a search. ``a | b`` stops at whichever comes first."""

    @abstractmethod
    def reason(self, progress: Progress) -> Reason | None:
        """Why to stop here, or None to go on."""

    def steps_left(self, progress: Progress) -> int | None:
        """Gradient steps that may still be taken; None: any number."""
        return None

    def left(self, progress: Progress) -> StopRule | None:
        """The limit on a search of a part of a string that has come so far; None where nothing is left.

        Beads of the part are counted as those of a string, its two ends included.
        """
        return self

    def plain(self) -> tuple[dict[str, Any], ...]:
        """The rules as JSON values, for a run's manifest."""
        return ({"rule": type(self).__name__, **asdict(self)},)  # type: ignore[call-overload]

    @property
    def timed(self) -> bool:
        """Whether it looks at the clock, and so is asked amid a round."""
        return True

    def __or__(self, other: StopRule) -> StopRule:
        return AnyOf((self, other))


@dataclass(frozen=True)
class AnyOf(StopRule):
    """Stops when any of its rules does."""

    rules: tuple[StopRule, ...]

    @property
    def timed(self) -> bool:
        """Whether one of its rules does."""
        return any(rule.timed for rule in self.rules)

    def steps_left(self, progress: Progress) -> int | None:
        """As many as every rule allows."""
        allowed = [steps for rule in self.rules if (steps := rule.steps_left(progress)) is not None]
        return min(allowed, default=None)

    def left(self, progress: Progress) -> StopRule | None:
        """What is left of all, unless nothing is left of one."""
        rules = [rule.left(progress) for rule in self.rules]
        kept = tuple(rule for rule in rules if rule is not None)
        return AnyOf(kept) if len(kept) == len(rules) else None

    def reason(self, progress: Progress) -> Reason | None:
        """The first rule's reason that has one."""
        return next((reason for rule in self.rules if (reason := rule.reason(progress))), None)

    def plain(self) -> tuple[dict[str, Any], ...]:
        """All its rules."""
        return tuple(plain for rule in self.rules for plain in rule.plain())


@dataclass(frozen=True)
class MaxBeads(StopRule):
    """At most ``count`` beads on the string, its two ends included.

    >>> (MaxBeads(64) | Budget(seconds=600)).reason(Progress(beads=64, pending=1, adding=1))
    'beads'
    """

    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", _whole("MaxBeads", self.count))
        if self.count < 2:
            raise InvalidSetting(f"MaxBeads({self.count}): a string has at least its two ends")

    @property
    def timed(self) -> bool:
        """No."""
        return False

    def reason(self, progress: Progress) -> Reason | None:
        """``beads`` when the next round could exceed the limit."""
        return "beads" if progress.pending and progress.beads + progress.adding > self.count else None

    def left(self, progress: Progress) -> StopRule | None:
        """Room for the beads that the whole string may still get."""
        room = self.count - progress.beads
        return MaxBeads(room + 2) if room > 0 else None


@dataclass(frozen=True)
class MaxSteps(StopRule):
    """At most ``count`` gradient steps, summed over all beads and sessions.

    A round that needs more than are left is given up when they are spent, as by a :class:`Budget`.
    """

    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", _whole("MaxSteps", self.count))
        if self.count < 1:
            raise InvalidSetting(f"MaxSteps({self.count}): must be at least 1")

    @property
    def timed(self) -> bool:
        """No."""
        return False

    def reason(self, progress: Progress) -> Reason | None:
        """``steps`` when descents are due and the limit is reached."""
        return "steps" if progress.pending and progress.steps >= self.count else None

    def steps_left(self, progress: Progress) -> int | None:
        """What the count leaves."""
        return max(0, self.count - progress.steps)

    def left(self, progress: Progress) -> StopRule | None:
        """What the count leaves."""
        left = self.count - progress.steps
        return MaxSteps(left) if left > 0 else None


@dataclass(frozen=True)
class Budget(StopRule):
    """At most ``seconds`` of search, over all sessions of a run. The round under way is given up."""

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, float | int) or not 0 < self.seconds < math.inf:
            raise InvalidSetting(f"Budget(seconds={self.seconds}): must be positive and finite")

    def reason(self, progress: Progress) -> Reason | None:
        """``time`` when the budget is spent."""
        return "time" if progress.seconds >= self.seconds else None

    def left(self, progress: Progress) -> StopRule | None:
        """The seconds that are left."""
        left = self.seconds - progress.seconds
        return Budget(left) if left > 0 else None


DEFAULT_BEADS = 64
"""What a search may make where nothing is said."""


def rules_of(rule: StopRule) -> tuple[StopRule, ...]:
    """The rules of which any stops a search.

    >>> rules_of(MaxBeads(9) | Budget(60))
    (MaxBeads(count=9), Budget(seconds=60))
    """
    return rule.rules if isinstance(rule, AnyOf) else (rule,)


def default_stop(strategy: object) -> MaxBeads:
    """The limit of a search for which none is given: 64 beads, or as many as the strategy's depth allows.

    >>> default_stop(None)
    MaxBeads(count=64)
    """
    most = strategy.most_beads if isinstance(strategy, Strategy) else None
    return MaxBeads(max(DEFAULT_BEADS, most or 0))


def _whole(name: str, count: object) -> int:
    """A whole number of any type, such as NumPy's."""
    try:
        if not isinstance(count, bool):
            return operator.index(count)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise InvalidSetting(f"{name}({count!r:.80}): give a whole number")


def stop_from_plain(plain: Sequence[Mapping[str, Any]]) -> StopRule:
    """The inverse of :meth:`StopRule.plain`.

    Raises:
        InvalidSetting: an unknown rule or a value out of range.
    """
    rules = {kind.__name__: kind for kind in (MaxBeads, MaxSteps, Budget)}
    try:
        made = [rules[entry["rule"]](**{k: v for k, v in entry.items() if k != "rule"}) for entry in plain]
    except (KeyError, TypeError) as problem:
        raise InvalidSetting(f"unknown stopping rule {list(plain)!r:.200}: {problem}") from None
    return AnyOf(tuple(made))
