"""Strategies made of others, which take turns: each is a search of its own within the search."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from weightstring.path import Reason
from weightstring.search.jobs import Job, JobResult
from weightstring.search.rounds import absorbed, due, failure
from weightstring.search.strategy import Strategy
from weightstring.search.string import Query, String


@dataclass(frozen=True)
class Stage:
    """The search under way within a search.

    Args:
        query: what is to be found in the end.
        strategy: whose turn it is.
        search: its state.
        number: turns before this one.
        place: what the names of its jobs begin with, so that it draws minibatches of its own.
    """

    query: Query
    strategy: Strategy[Any]
    search: Any
    number: int = 0
    place: str = ""

    @property
    def string(self) -> String:
        """The string of the search under way."""
        string: String = self.search.string
        return string


StageT = TypeVar("StageT", bound=Stage)


class Composite(Strategy[StageT]):
    """A strategy made of others. It says which comes first (``start``), and which after each (``following``)."""

    @abstractmethod
    def following(self, stage: StageT, reason: Reason | None) -> StageT | None:
        """What comes after a stage that has failed for a reason, or found its string; None: nothing."""

    def settled(self, stage: StageT) -> StageT:
        """The first stage from this one on that has something to do; the last one, where none has."""
        while (reason := failure(stage.strategy, stage.search)) or not due(stage.strategy, stage.search):
            following = self.following(stage, reason)
            if following is None:
                break
            stage = following
        return stage

    def propose(self, stage: StageT) -> tuple[Job, ...]:
        """What the strategy proposes whose turn it is."""
        return tuple(job.renamed(stage.place + job.name) for job in due(stage.strategy, stage.search))

    def absorb(self, stage: StageT, results: Mapping[str, JobResult]) -> StageT:
        """Its search goes on; where it is over, the next begins."""
        results = {name.removeprefix(stage.place): result for name, result in results.items()}
        return self.settled(replace(stage, search=absorbed(stage.strategy, stage.search, results)))

    def give_up(self, stage: StageT) -> Reason | None:
        """For the reason for which the last search does."""
        return failure(stage.strategy, stage.search)

    def after(self, stage: StageT, reason: Reason) -> StageT | None:
        """The next attempt of the strategy whose turn it is."""
        search = stage.strategy.after(stage.search, reason)
        return None if search is None else self.settled(replace(stage, search=search))

    def attempt(self, stage: StageT) -> str | None:
        """What the strategy tries whose turn it is."""
        return stage.strategy.attempt(stage.search)

    @classmethod
    def compared(cls, name: str) -> Mapping[str, Strategy[Any]]:
        """Nothing: it is compared by what it is made of."""
        return {}


class Around(Composite[StageT]):
    """A strategy made of another, whose traits it has."""

    strategy: Strategy[Any]

    @property
    def frees_ends(self) -> bool:
        """As the other."""
        return self.strategy.frees_ends

    @property
    def splits(self) -> bool:
        """As the other."""
        return self.strategy.splits

    @property
    def most_beads(self) -> int | None:
        """As the other."""
        return self.strategy.most_beads


class Rest(Strategy[String]):
    """Does nothing: a string is measured, and loses its superfluous beads, for which no strategy is needed."""

    def start(self, query: Query) -> String:
        """The segment between the ends."""
        return String.straight(query)

    def propose(self, string: String) -> tuple[Job, ...]:
        """Nothing."""
        return ()

    def absorb(self, string: String, results: Mapping[str, JobResult]) -> String:
        """The string as it is."""
        return string

    def give_up(self, string: String) -> Reason | None:
        """Never."""
        return None
