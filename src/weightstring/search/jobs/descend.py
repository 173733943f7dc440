"""Descending: beads that each go to a level of their own, and models that move together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec

from weightstring.codec import Take, decode
from weightstring.descent import Check, Descended, Descent, Descents, Evolved, Start, Step
from weightstring.descent.allowance import Allowances
from weightstring.problem.room import require_room
from weightstring.recipe import Manner
from weightstring.search.jobs.job import Job, JobContext, Key


@dataclass(frozen=True)
class Descend:
    """Step 3: descend to a level.

    Args:
        descent: a :class:`~weightstring.descent.Start`, for one bead by itself, or an
            :class:`~weightstring.descent.Evolution`, for models that move together.
        manner: by the recipe as it is given, or by another form of it.
    """

    descent: Descent
    manner: Manner = "given"

    descends: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its place in the search."""
        return self.descent.place

    def renamed(self, name: str) -> Descend:
        """The same job at another place in the search."""
        return replace(self, descent=self.descent.at(name))

    def adds(self, beads: int) -> int:
        """By how many beads a string of so many may grow through it."""
        return self.descent.adds(beads)

    def content(self) -> Iterable[object]:
        """That of the descent, and the form of the recipe."""
        yield from ("descend", self.manner, *self.descent.content())

    def decode(self, encoded: object, take: Take) -> Descended | Evolved:
        """Its result, from what was written of it."""
        result: Descended | Evolved = decode(encoded, self.descent.result, take)
        if not self.descent.fits(result):
            raise msgspec.ValidationError("other models moved")
        return result

    @classmethod
    def batch(cls, context: JobContext, allowed: Allowances) -> DescentBatch:
        """An empty batch of descents."""
        return DescentBatch(context, allowed)


def knowing(job: Job, step: Step | None) -> Job:
    """The job, told what step an earlier bead of the search found, where that matters to it."""
    if isinstance(job, Descend) and isinstance(job.descent, Start) and job.manner == "given":
        return replace(job, descent=replace(job.descent, step=step))
    return job


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

    def add(self, key: Key, job: Descend) -> None:
        """Take in a descent."""
        if job.manner not in self._loops:
            self._loops[job.manner] = self._loop(job.manner)
        self._loops[job.manner].add(job.descent, key, key[0])
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
        for key in finished:
            del self._keys[key]
        return finished

    def cancel(self, keys: Collection[Key]) -> None:
        """Give jobs up."""
        for loop in self._loops.values():
            loop.cancel(keys)
        self._keys = {key: None for key in self._keys if key not in keys}

    def _loop(self, manner: Manner) -> Descents[Key, Descended | Evolved]:
        context = self._context
        require_room(context.objective.problem, context.width)
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
