"""The string under construction, and what the search has learnt on the way: the state of every strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from weightstring.descent import Descended
from weightstring.path import Evidence
from weightstring.search.account import Account
from weightstring.search.chain import Bead, Chain, Link, afresh, held_to, is_string, with_measured
from weightstring.search.jobs import JobResult, Looks

Kind = TypeVar("Kind", bound="String")


@dataclass(frozen=True)
class Query:
    """What a search is to find.

    Args:
        ends: the two models to connect, with their heights.
        threshold: L0.
        seed: of everything drawn at random.
        through: waypoints, in order: models that the first string passes through.
    """

    ends: tuple[Bead, Bead]
    threshold: float
    seed: int
    through: tuple[Bead, ...] = ()

    @property
    def beads(self) -> tuple[Bead, ...]:
        """The models that were given: the ends, and the waypoints between them."""
        return (self.ends[0], *self.through, self.ends[1])

    @property
    def first(self) -> Chain:
        """The string to begin with: straight from each model that was given to the next."""
        return tuple(Link(left, right) for left, right in pairwise(self.beads))


@dataclass(frozen=True)
class String:
    """A string under construction. Strategies that keep more of their own extend it.

    Args:
        query: what is to be found.
        chain: its links, in order.
        level: what they are held to: the threshold, or a level on the way down to it.
        intervals: of the grid on which alone links are measured; None: wherever their maximum is found best.
        prunes: whether it is done once all its links are at most the level, but for superfluous beads, which are
            dropped; if not, the strategy itself says when it is done.
        hasty: whether open links may be looked at roughly, and closely only before the strategy gives up.
        known: measured segments that are not on it: those that were split, and shortcuts past a bead.
        created: beads inserted so far; names the next one.
        neighboured: ends beside which a bead was sought (:mod:`weightstring.search.crowding`).
        base: the depth of the first string, 0 of the straight segment.
        best: what to show where the search ends without a string; None: the chain as it stands.
        account: what was measured so far, and what failed.
        length_before: its length before it was shortened; None where it was not.
    """

    query: Query
    chain: Chain
    level: float
    intervals: int | None = None
    prunes: bool = True
    hasty: bool = False
    known: Mapping[str, Link] = field(default_factory=dict)
    created: int = 0
    neighboured: tuple[str, ...] = ()
    base: int = 0
    best: Chain | None = None
    account: Account = field(default_factory=Account)
    length_before: float | None = None

    @classmethod
    def straight(cls: type[Kind], query: Query, *, intervals: int | None = None, prunes: bool = True) -> Kind:
        """The segment between the ends, whatever waypoints there are."""
        return cls(query, (Link(*query.ends),), query.threshold, intervals, prunes)

    @classmethod
    def first(cls: type[Kind], query: Query, *, prunes: bool = True, hasty: bool = False) -> Kind:
        """The string through the models that were given."""
        return cls(query, query.first, query.threshold, prunes=prunes, hasty=hasty)

    @classmethod
    def through(cls: type[Kind], query: Query, chain: Chain, *, hasty: bool = False) -> Kind:
        """A string that another search has left, to be split on from there."""
        links = afresh(chain, query.threshold)
        account = Account().measured(link for link in links if link.measured is not None)
        base = max(link.depth for link in links)
        return cls(query, links, query.threshold, hasty=hasty, base=base, account=account)

    def passed_on(self, query: Query, chain: Chain) -> String:
        """The string that a search passes on with what it has learnt, held to the threshold of a query."""
        links, level = held_to(chain, query.threshold), query.threshold
        return String(query, links, level, account=self.account)

    @property
    def string(self) -> String:
        """Itself: what a search shows of its state."""
        return self

    @property
    def unmeasured(self) -> tuple[Link, ...]:
        """The links to be measured before anything else is done."""
        return tuple(link for link in self.chain if link.measured is None)

    @property
    def open(self) -> tuple[Link, ...]:
        """The links that are over the level."""
        return tuple(link for link in self.chain if link.open)

    @property
    def looks(self) -> Looks:
        """How far its open links are looked at."""
        return "roughly" if self.hasty else "closely"

    @property
    def rough(self) -> tuple[Link, ...]:
        """The open links that were not looked at closely."""
        return tuple(link for link in self.open if link.measured is not None and link.measured.rough)

    @property
    def closed(self) -> bool:
        """Whether it is done but for superfluous beads."""
        return self.prunes and is_string(self.chain)

    @property
    def shown(self) -> Chain:
        """The string to show where the search ends here without one under the threshold."""
        return self.chain if self.best is None else self.best

    @property
    def evidence(self) -> Evidence:
        """Where the search stands (Section II.D)."""
        return self.account.evidence(self.shown)

    def with_measured(self: Kind, results: Mapping[str, JobResult]) -> Kind:
        """The string with the links that were measured."""
        chain = with_measured(self.chain, results)
        fresh = [(link, old.measured is None) for link, old in zip(chain, self.chain, strict=True) if link is not old]
        account = self.account.measured(link for link, first in fresh if first)
        return replace(self, chain=chain, account=account.looked_at(link for link, first in fresh if not first))

    def with_descents(
        self: Kind, results: Mapping[str, JobResult], retries: int = 0, name: Callable[[Link], str] | None = None
    ) -> Kind:
        """The string after descents from its open links: split where one got low enough, else one attempt older.

        Args:
            results: of the round's jobs.
            retries: how often a failed descent is tried again.
            name: what a link's bead is called; by default its number.
        """
        string, chain = self, list[Link]()
        for link in self.chain:
            result = results.get(link.descent_name) if link.open else None
            if not isinstance(result, Descended):
                chain.append(link)
            elif result.status == "reached":
                bead = Bead(str(string.created) if name is None else name(link), result.theta, result.value)
                chain += link.split(bead)
                string = replace(string, created=string.created + 1, known={**string.known, link.name: link})
            else:
                chain.append(replace(link, attempts=link.attempts + 1))
                account = string.account.failed(result.value, again=link.attempts < retries)
                string = replace(string, account=account)
        return replace(string, chain=tuple(chain))
