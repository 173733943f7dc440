"""Two strategies in turn: what one leaves behind is the other's first string.

The straight segment is but one place to begin from. A fitted curve, or a string that sank as a whole, may pass round
what lies between the ends on the straight way, though it is over the threshold somewhere itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason
from weightstring.search.chain import Chain
from weightstring.search.jobs import Job, Result
from weightstring.search.methods.curves import Bezier
from weightstring.search.methods.greedy import Greedy
from weightstring.search.strategy import Onward, Persists, Strategy, Task


@dataclass(frozen=True)
class RelayState:
    """The search under way, and whether it is the second."""

    task: Task
    search: Any
    second: bool = False


@dataclass(frozen=True)
class Relay:
    """Let one strategy search, and where it fails, another from the best string that it has left.

    Args:
        first: the strategy that begins.
        then: the one that goes on; it must be able to begin from any string, as ``Greedy`` can.

    Raises:
        InvalidSetting: the second cannot.

    >>> Relay(Bezier(bends=3), Greedy()).then.alpha
    0.95
    """

    first: Strategy[Any] = field(default_factory=Bezier)
    then: Strategy[Any] = field(default_factory=Greedy)

    def __post_init__(self) -> None:
        if not isinstance(self.then, Onward):
            raise InvalidSetting(
                f"Relay(then={type(self.then).__name__}(...)): it can begin from the straight segment alone; "
                "pass one with a method onward(task, chain), such as Greedy"
            )

    def _runs(self, state: RelayState) -> Strategy[Any]:
        return self.then if state.second else self.first

    def start(self, task: Task) -> RelayState:
        """The first begins."""
        return self._handed_over(RelayState(task, self.first.start(task)))

    def propose(self, state: RelayState) -> tuple[Job, ...]:
        """What the strategy whose turn it is proposes."""
        return self._runs(state).propose(state.search)

    def absorb(self, state: RelayState, results: Mapping[str, Result]) -> RelayState:
        """It goes on; where the first fails, the second begins."""
        return self._handed_over(replace(state, search=self._runs(state).absorb(state.search, results)))

    def after(self, state: RelayState, reason: Reason) -> RelayState | None:
        """The first is ended for want of room for its beads: the second begins."""
        runs = self._runs(state)
        following = runs.after(state.search, reason) if isinstance(runs, Persists) else None
        if following is not None:
            return self._handed_over(replace(state, search=following))
        return None if state.second else self._second(state)

    def attempt(self, state: RelayState) -> str | None:
        """What the strategy whose turn it is tries."""
        runs = self._runs(state)
        return runs.attempt(state.search) if isinstance(runs, Persists) else None

    def _handed_over(self, state: RelayState) -> RelayState:
        if state.second or not self.first.failure(state.search):
            return state
        return self._second(state)

    def _second(self, state: RelayState) -> RelayState:
        assert isinstance(self.then, Onward)
        chain = self.first.best(state.search)
        return replace(state, search=self.then.onward(state.task, chain), second=True)

    def failure(self, state: RelayState) -> Reason | None:
        """That of the second; the first's ends nothing."""
        return self.then.failure(state.search) if state.second else None

    def level(self, state: RelayState) -> float:
        """What the string is held to by the strategy whose turn it is."""
        return self._runs(state).level(state.search)

    def chain(self, state: RelayState) -> Chain:
        """The string as it stands."""
        return self._runs(state).chain(state.search)

    def best(self, state: RelayState) -> Chain:
        """The best of the strategy whose turn it is."""
        return self._runs(state).best(state.search)

    def evidence(self, state: RelayState) -> Evidence:
        """Where it stands."""
        return self._runs(state).evidence(state.search)
