"""Who hears how the searches of a call get on: a display, a log, a tracker. What is to be told is told once, to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from weightstring.notebook import Viewable
from weightstring.runs.costs import Estimate
from weightstring.runs.progress import display
from weightstring.runs.showing import Concluding, Display, Silent
from weightstring.search import Event
from weightstring.store.names import Names
from weightstring.trackers import Setting


@dataclass(frozen=True)
class Begun:
    """What a search or a sweep begins with.

    Args:
        name: for people.
        settings: what decides it, by dotted names.
        kept: where it is kept; None: nowhere.
    """

    name: str
    settings: Mapping[str, Setting]
    kept: Names | None


@dataclass(frozen=True)
class Ended:
    """What a search or a sweep has come to.

    Args:
        words: one line.
        fields: its numbers and words by name.
        result: which can be drawn, and
        figures: the names of those to draw.
        files: what makes the content of each file worth keeping, by name.
        search: whether it was a single one.
    """

    words: str
    fields: Mapping[str, str | float | bool | None]
    result: Viewable
    figures: Sequence[str] = ()
    files: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    search: bool = True


class Follower(Silent):
    """A listener that is told of the search itself, beside what a person is shown; what it needs it overrides."""

    def begun(self, begun: Begun) -> None:
        """What is asked is known; nothing is searched yet."""

    def reached(self, step: int, numbers: Mapping[str, float]) -> None:
        """A round of the search is over, or more pairs of a sweep; steps rise from 1."""

    def ended(self, ended: Ended) -> None:
        """There is a verdict."""

    def closed(self, error: BaseException | None) -> None:
        """Nothing more will be told; the exception that ends it, where it is one."""


class Listeners:
    """All who hear one search or sweep: a display while something is computed, and followers to the end.

    Args:
        progress: what is shown, see :func:`weightstring.connect`.
        followers: who else hears it.
    """

    def __init__(self, progress: bool | Display | None, followers: Sequence[Follower] = ()) -> None:
        self._progress, self._followers = progress, followers
        self._shown: Display = Silent()

    @contextmanager
    def showing(self) -> Iterator[Listeners]:
        """Within the context the display is open."""
        with display(self._progress) as shown:
            before, self._shown = self._shown, shown
            try:
                yield self
            finally:
                self._shown = before

    # -- what is shown

    def stage(self, name: str, seconds: float | None = None) -> None:
        """See :class:`~weightstring.runs.progress.Display`, as for all that is shown."""
        for each in (*self._followers, self._shown):
            each.stage(name, seconds)

    def estimated(self, estimate: Estimate) -> None:
        """What the search takes."""
        for each in (*self._followers, self._shown):
            each.estimated(estimate)

    def event(self, event: Event) -> None:
        """Something was done."""
        for each in (*self._followers, self._shown):
            each.event(event)

    def measuring(self) -> None:
        """A part of a curve was measured."""
        for each in (*self._followers, self._shown):
            each.measuring()

    def answered(self, words: str) -> None:
        """All is over; what is left to be read."""
        if isinstance(self._shown, Concluding):
            self._shown.answered(words)

    # -- what the search itself tells, made only where anyone follows

    def begun(self, made: Callable[[], Begun]) -> None:
        """See :class:`Follower`, as for all that follows."""
        if self._followers:
            begun = made()
            for each in self._followers:
                each.begun(begun)

    def reached(self, made: Callable[[], Iterator[tuple[int, Mapping[str, float]]]]) -> None:
        """Steps, those told before among them."""
        if self._followers:
            for step, numbers in made():
                for each in self._followers:
                    each.reached(step, numbers)

    def ended(self, made: Callable[[], Ended]) -> None:
        """The verdict."""
        if self._followers:
            ended = made()
            for each in self._followers:
                each.ended(ended)

    def closed(self, error: BaseException | None) -> None:
        """The end."""
        for each in self._followers:
            each.closed(error)


class Aside(Silent):
    """Shows on another display what is done beside the search that it is about, and tells nobody who follows that."""

    def __init__(self, shown: Display) -> None:
        self._shown = shown

    def stage(self, name: str, seconds: float | None = None) -> None:
        """Show it."""
        self._shown.stage(name, seconds)

    def estimated(self, estimate: Estimate) -> None:
        """Show it."""
        self._shown.estimated(estimate)

    def event(self, event: Event) -> None:
        """Show it."""
        self._shown.event(event)

    def measuring(self) -> None:
        """Show it."""
        self._shown.measuring()


def aside(progress: bool | Display | None) -> bool | Display | None:
    """What to show of searches that nobody is to follow one by one, where that is a display."""
    return progress if progress is None or isinstance(progress, bool | Aside) else Aside(progress)


@contextmanager
def listening(progress: bool | Display | None, *followers: Follower) -> Iterator[Listeners]:
    """Within the context all of these hear what is searched; then it is closed.

    Args:
        progress: what is shown. Where that is all who listen already, they are told, and stay open.
        followers: who else hears it.
    """
    if isinstance(progress, Listeners) and not followers:
        yield progress
        return
    told = Listeners(progress, followers)
    try:
        yield told
    except BaseException as error:
        told.closed(error)
        raise
    told.closed(None)
