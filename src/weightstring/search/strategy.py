"""What a search method is: propose → run → absorb.

A strategy is configuration. Its state travels separately: a string under construction. The driver measures what is new
on it, drops superfluous beads from one that is closed, and runs what the strategy proposes; the strategy decides where
beads are inserted, and when to give up. All four methods are pure, so a state can be rebuilt from a journal of results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from weightstring.errors import InvalidSetting
from weightstring.path import Reason
from weightstring.search.chain import Chain
from weightstring.search.jobs import Job, JobResult
from weightstring.search.string import Query, String


@runtime_checkable
class HasString(Protocol):
    """The state of a search: a :class:`String`, or what keeps one beside more."""

    @property
    def string(self) -> String:
        """The string under construction."""


State = TypeVar("State", bound=HasString)


class Strategy(ABC, Generic[State]):
    """One method of finding a string: ``start``, ``propose``, ``absorb``, ``give_up``; the rest has defaults."""

    @abstractmethod
    def start(self, query: Query) -> State:
        """The state before the first round, mostly ``String.first(query)``."""

    @abstractmethod
    def propose(self, state: State) -> Sequence[Job]:
        """The next round's jobs, independent of each other; none: it is done.

        Asked where every link of the string is measured. A job's name determines its minibatches.
        """

    @abstractmethod
    def absorb(self, state: State, results: Mapping[str, JobResult]) -> State:
        """The state after a round, whole: one result for every job proposed, by its name."""

    @abstractmethod
    def give_up(self, state: State) -> Reason | None:
        """Why the method gives up here; None: it goes on."""

    def measured(self, state: State) -> State:
        """The state once every link is measured."""
        return state

    def after(self, state: State, reason: Reason) -> State | None:
        """The state in which another attempt begins, where the last one ended so; None: there is none left."""
        return None

    def attempt(self, state: State) -> str | None:
        """What is being tried, in a few words; None where there is nothing else to try."""
        return None

    @property
    def frees_ends(self) -> bool:
        """Whether the ends may begin above the threshold, since they descend too."""
        return False

    @property
    def splits(self) -> bool:
        """Whether segments over the threshold are split, and never joined again: the search can be drawn as a tree."""
        return False

    @property
    def most_beads(self) -> int | None:
        """Beads that a search makes at most, ends counted, unless it is limited further; None: the usual limit."""
        return None

    @classmethod
    def compared(cls, name: str) -> Mapping[str, Strategy[Any]]:
        """What :func:`weightstring.compare` runs of it unless told otherwise: by default itself as it is."""
        return {name: cls()}


@runtime_checkable
class Onward(Protocol):
    """A strategy that can begin from any string between the ends."""

    def onward(self, query: Query, chain: Chain) -> HasString:
        """The state before the first round, where the string is this one and not the straight segment."""


def require_numbers(strategy: object, names: Sequence[str]) -> None:
    """Refuse settings that are no numbers, such as a first setting that was given without its name.

    Raises:
        InvalidSetting: one is none.

    >>> from weightstring.search import Constrained
    >>> Constrained(alpha=True)
    Traceback (most recent call last):
    weightstring.errors.InvalidSetting: Constrained(alpha=True): give a number; name settings: alpha=...
    """
    for name in names:
        value = getattr(strategy, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            kind = type(strategy).__name__
            raise InvalidSetting(f"{kind}({name}={value!r:.80}): give a number; name settings: {name}=...")
