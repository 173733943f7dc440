"""One pair on its way through the stages of :mod:`weightstring.runs.stages`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from weightstring.path import Objective, Unresolved, WeightString
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.result import Result
from weightstring.runs.settings import Pair, Settings
from weightstring.search import Bead, Query, Search
from weightstring.store import Manifest, Store

COSTLY = 1.0
"""Seconds of one evaluation from which on a person waits for a curve."""


@dataclass(frozen=True)
class Computing:
    """How the searches of a call are computed.

    Args:
        recipe: how beads descend.
        width: models descended side by side; 1 where each job is run by itself.
        threads: CPU threads of large calls.
        adaptive: whether segments are sampled only where their bends ask for it.
        seconds: that one evaluation took: of one model, of what the threshold binds.
    """

    recipe: Recipe
    width: int
    threads: int
    adaptive: bool = False
    seconds: float = 0.0

    @property
    def sparing(self) -> bool:
        """Whether the finished string's curve leaves out what would cost more than the search."""
        return self.adaptive and self.seconds >= COSTLY


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pair, ready to be searched.

    Args:
        pair: its two models.
        settings: how to search.
        objective: what the threshold binds, and of which loss.
        computing: how it is computed.
        manifest: of the run that an earlier session began; None: it begins here.
        ends: the models with their heights.
        threshold: L0.
        through: the waypoints with theirs.
        line: the straight line of an earlier session's result, which was not final.
    """

    pair: Pair
    settings: Settings
    objective: Objective
    computing: Computing
    manifest: Manifest | None
    ends: tuple[Bead, Bead]
    threshold: float
    through: tuple[Bead, ...] = ()
    line: WeightString | None = None

    @property
    def problem(self) -> LossProblem:
        """The loss."""
        return self.objective.problem

    @property
    def directory(self) -> Store | None:
        """Where the run is kept; None: in memory."""
        return self.pair.directory

    @property
    def query(self) -> Query:
        """What the strategy is asked."""
        return Query(self.ends, self.threshold, self.settings.seed, self.through)

    def with_result(self, result: Result, search: Search[Any] | None = None, *, read_back: bool = False) -> SearchedRun:
        """The run with its result: see :class:`SearchedRun`."""
        return SearchedRun(**vars(self), result=result, search=search, read_back=read_back, written=read_back)


@dataclass(frozen=True, kw_only=True)
class SearchedRun(Run):
    """A run with a result.

    Args:
        result: what was found.
        search: by which it was found; None: by an earlier session, or without a search.
        read_back: an earlier session had found it.
        written: whether it is on disk.
    """

    result: Result
    search: Search[Any] | None = None
    read_back: bool = False
    written: bool = False

    @property
    def answer(self) -> Result:
        """The result, with what is known of the pair beside the search."""
        alignment = self.pair.alignment or self.result.alignment
        as_saved = self.pair.as_saved if self.directory is None else self.result.as_saved
        return replace(self.result, alignment=alignment, as_saved=as_saved)


def interrupted(result: Result) -> bool:
    """Whether Ctrl-C ended the search."""
    return isinstance(result.outcome, Unresolved) and result.outcome.reason == "interrupted"


def taken_back(result: Result) -> bool:
    """Whether the search had connected, and a sample met since says otherwise."""
    return isinstance(result.outcome, Unresolved) and result.outcome.reason == "higher_sample"
