"""Every strategy of ours keeps to what an outsider's must, and what does not is told in one line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import structs

import weightstring as ws
from weightstring.search import STRATEGIES, Strategy
from weightstring.search.strategies import compared
from weightstring.testing.strategies import check_strategy

QUICK: dict[str, dict[str, Any]] = {
    "bezier": {"bends": 2, "steps": 60},
    "poly-chain": {"bends": 3, "steps": 100},
    "autoneb": {"steps": 100},
    "sinking": {"tolerance": 0.05},
}
"""Settings with which curves are fitted, and strings sunk, in few steps."""
LONG = ("persistent", "sinking", "relay", "lowered")
"""Those that search several times."""


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in STRATEGIES]
)
def test_every_registered_strategy_keeps_to_the_contract(name: str) -> None:
    check_strategy(STRATEGIES[name](**QUICK.get(name, {})))


@dataclass(frozen=True)
class Broken(ws.Greedy):
    """Greedy search but for one thing."""

    def onward(self, query, chain):
        raise NotImplementedError


class Twice(Broken):
    def propose(self, string):
        return 2 * super().propose(string)


class Moody(Broken):
    asked = 0

    def propose(self, string):
        type(self).asked += 1
        return [job.renamed(f"{job.name}/{self.asked}") for job in super().propose(string)]


class Easy(Broken):
    def measured(self, string):
        chain = [replace(link, measured=structs.replace(link.measured, accepted=True)) for link in string.chain]
        return replace(string, chain=tuple(chain))


class Drifting(Broken):
    def absorb(self, string, results):
        first, *others = super().absorb(string, results).chain
        left = replace(first.left, theta=first.left.theta + 0.01)
        return replace(string, chain=(replace(first, left=left), *others))


class Timid(Broken):
    def give_up(self, string):
        return "stalled"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Twice(), "two jobs have the same name"),
        (Moody(), "proposing twice gives other jobs"),
        (Easy(), "on two wells its string rises to .*, over 1.675"),
        (Drifting(), "an end was moved, though frees_ends is False"),
        (Timid(), "on two wells no string was found at 1.675, though Γ is 1.25: unresolved"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Strategy) else "",
)
def test_what_a_strategy_does_wrong_is_told(broken: Strategy[Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says) as caught:
        check_strategy(broken)
    assert "\n" not in str(caught.value)


def test_what_is_no_strategy_is_told(unchecked: None) -> None:
    with pytest.raises(AssertionError, match="is no Strategy: derive its class from that"):
        check_strategy(ws.Greedy)  # type: ignore[arg-type]


def test_a_strategy_need_not_find_what_it_says_it_need_not() -> None:
    check_strategy(Timid(), connects=False)


def test_what_cannot_be_compared_without_settings_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(Broken):
        def __init__(self, needed: int) -> None:
            super().__init__(max_depth=needed)

    monkeypatch.setitem(STRATEGIES._entries, "needy", Needy)
    with pytest.raises(ws.InvalidSetting, match=r"^strategy needy: say in compared\(\) with which settings: "):
        compared()
