"""Descending: beads that each go to a level of their own, and models that move together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec

from weightstring.codec import Take, decode
from weightstring.descent import Check, Descended, Descents, Evolution, Evolved, Start
from weightstring.descent.allowance import Allowances
from weightstring.protocol import Manner
from weightstring.search.jobs.job import JobContext, Key
from weightstring.store import digest


@dataclass(frozen=True)
class Descend:
    """Step 3: descend from here to a level, by the recipe itself or another form of it."""

    start: Start
    manner: Manner = "own"

    descends: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.start.place

    def renamed(self, name: str) -> Descend:
        """The same job at another place in the search."""
        return replace(self, start=replace(self.start, place=name))

    def adds(self, beads: int) -> int:
        """One bead."""
        return 1

    def content(self) -> Iterable[object]:
        """Where it starts, how far it goes, what ties it, and its place, on which minibatches depend."""
        start, tether = self.start, self.start.tether
        yield from ("descend", self.manner, digest(start.point()))
        yield from (start.aim, start.limit, start.place, start.rate, start.value)
        if tether is not None:
            yield from (tether.constraint, digest(tether.left), digest(tether.right))

    def decode(self, encoded: object, take: Take) -> Descended:
        """Its result, from what was written of it."""
        return decode(encoded, Descended, take)

    @property
    def work(self) -> tuple[Manner, Start]:
        """What is run, and by which form of the recipe."""
        return self.manner, self.start

    @classmethod
    def batch(cls, context: JobContext, allowed: Allowances) -> DescentBatch:
        """An empty batch of descents."""
        return DescentBatch(context, allowed)


@dataclass(frozen=True)
class Evolve:
    """Let models descend that move together."""

    evolution: Evolution

    descends: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.evolution.place

    def renamed(self, name: str) -> Evolve:
        """The same job at another place in the search."""
        return Evolve(replace(self.evolution, place=name))

    def adds(self, beads: int) -> int:
        """As many as the string that comes of it has more."""
        return max(0, self.evolution.motion.beads(len(self.evolution.thetas)) - beads)

    def content(self) -> Iterable[object]:
        """The models, how they move and how far, and its place, on which all that is random depends."""
        asked = self.evolution
        yield from ("evolve", digest(asked.thetas.flatten()), len(asked.thetas), asked.place, asked.moving)
        yield from (asked.motion, asked.aim, asked.limit, asked.steps, asked.values, asked.rate)

    def decode(self, encoded: object, take: Take) -> Evolved:
        """Its result, from what was written of it."""
        evolved = decode(encoded, Evolved, take)
        if len(evolved.statuses) != len(self.evolution.moving):
            raise msgspec.ValidationError(f"{len(evolved.statuses)} statuses where {len(self.evolution.moving)} moved")
        return evolved

    @property
    def work(self) -> tuple[Manner, Evolution]:
        """What is run, and by which form of the recipe."""
        return "own", self.evolution

    @classmethod
    def batch(cls, context: JobContext, allowed: Allowances) -> DescentBatch:
        """An empty batch of evolutions."""
        return DescentBatch(context, allowed)


class DescentBatch:
    """Descents under way side by side, those of each form of the recipe in a loop of their own."""

    noun = "descents"
    at_once = False

    def __init__(self, context: JobContext, allowed: Allowances) -> None:
        self._context, self._allowed = context, allowed
        self._loops: dict[Manner, Descents[Key, Descended | Evolved]] = {}
        self._keys: dict[Key, None] = {}
        self.check: Check | None = None

    @property
    def keys(self) -> Sequence[Key]:
        """The jobs taken in."""
        return tuple(self._keys)

    @property
    def running(self) -> int:
        """Models that descend."""
        return sum(loop.running for loop in self._loops.values())

    def add(self, key: Key, job: Descend | Evolve) -> None:
        """Take in a descent."""
        manner, asked = job.work
        if manner not in self._loops:
            self._loops[manner] = self._loop(manner)
        self._loops[manner].add(asked, key, key[0])
        self._keys[key] = None

    def ready(self, descending: int) -> bool:
        """As long as there are any."""
        return bool(self._keys)

    def advance(self, on_chunk: Callable[[], None]) -> Mapping[Key, Descended | Evolved]:
        """Descend until the next measurement."""
        finished: dict[Key, Descended | Evolved] = {}
        for loop in self._loops.values():
            if not loop.idle:
                finished |= loop.advance()
        self._keys = {key: None for key in self._keys if key not in finished}
        return finished

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        for loop in self._loops.values():
            loop.cancel(keys)
        self._keys = {key: None for key in self._keys if key not in keys}

    def _loop(self, manner: Manner) -> Descents[Key, Descended | Evolved]:
        context = self._context
        return Descents(
            context.objective.problem,
            context.objective,
            seed=context.seed,
            recipe=context.recipe.by(manner),
            width=context.width,
            screening=context.objective.screening,
            on_check=self._note,
            allowed=self._allowed,
        )

    def _note(self, check: Check) -> None:
        self.check = check
