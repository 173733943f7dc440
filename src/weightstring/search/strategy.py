"""What a search method is: propose → run → absorb.

A strategy is configuration. Its state travels separately: ``propose`` says which independent jobs
come next, ``absorb`` takes in their results; both are pure, so a state can be rebuilt from a
journal of results. No jobs means that it is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search.chain import Bead, Chain
from weightstring.search.jobs import Job, Result


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


@dataclass(frozen=True)
class Task:
    """What is asked of a strategy.

    Args:
        ends: the two models to connect, with their heights.
        threshold: L0.
        seed: of everything drawn at random.
    """

    ends: tuple[Bead, Bead]
    threshold: float
    seed: int


State = TypeVar("State")
Co = TypeVar("Co", covariant=True)
Contra = TypeVar("Contra", contravariant=True)


@runtime_checkable
class Strategy(Protocol[State]):
    """One method of finding a string."""

    def start(self, task: Task) -> State:
        """The state before the first round."""

    def propose(self, state: State) -> tuple[Job, ...]:
        """The next round's jobs, independent of each other and named uniquely within the search."""

    def absorb(self, state: State, results: Mapping[str, Result]) -> State:
        """The state after a round, whole: one result for every job proposed, by its name."""

    def failure(self, state: State) -> Reason | None:
        """Why the method gave up, if it has. Without jobs to propose and without a failure it has succeeded."""

    def level(self, state: State) -> float:
        """What the string is held to at this stage: the threshold, or a level on the way down to it."""

    def chain(self, state: State) -> Chain:
        """The string as it stands."""

    def best(self, state: State) -> Chain:
        """The string to show where the search ends without one under the threshold."""

    def evidence(self, state: State) -> Evidence:
        """Where the search stands, in numbers (Section II.D)."""


@runtime_checkable
class Persists(Protocol[State]):
    """A strategy that has something else to try where an attempt has failed."""

    def after(self, state: State, reason: Reason) -> State | None:
        """The state in which the next attempt begins, where the last one ended so; None: there is none left."""

    def attempt(self, state: State) -> str | None:
        """What is being tried, in a few words; None where there is nothing else to try."""


@runtime_checkable
class Onward(Protocol[Co]):
    """A strategy that can begin from any string between the ends."""

    def onward(self, task: Task, chain: Chain) -> Co:
        """The state before the first round, where the string is this one and not the straight segment."""


@runtime_checkable
class Shortens(Protocol[Contra]):
    """A strategy that shortens the string it has found."""

    def length_before(self, state: Contra) -> float | None:
        """How long the string was before; None as long as there is none."""
