"""The journal: what a run's state is rebuilt from."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from weightstring.arrays import Thetas
from weightstring.path import Reason


class Round(NamedTuple):
    """One finished round of a search.

    ``jobs`` are the jobs' names and ``results`` their results, in the same order, as dictionaries that only the jobs
    themselves can read; ``thetas`` (k, P) holds the models that came of them. A round that was given up has no jobs;
    ``steps`` are the gradient steps that were lost with it. Neither has one at which an attempt ``ended`` and the
    strategy's next one begins.
    """

    jobs: tuple[str, ...]
    results: tuple[object, ...]
    thetas: Thetas | None
    seconds: float
    steps: int = 0
    ended: Reason | None = None


@runtime_checkable
class Journal(Protocol):
    """Where a search writes its finished rounds and finds those of an earlier session."""

    def replay(self) -> list[Round]:
        """The rounds written so far."""

    def append(self, finished: Round) -> Thetas | None:
        """Write a round; when this returns, it survives a power cut.

        Returns:
            The round's models from where they are kept, to be used in place of those handed in.
        """


class InMemory:
    """The journal of a search that is not kept."""

    def replay(self) -> list[Round]:
        """Nothing was kept."""
        return []

    def append(self, finished: Round) -> Thetas | None:
        """Keep nothing: the search's state holds all that it needs, the round's models too."""
        return finished.thetas
