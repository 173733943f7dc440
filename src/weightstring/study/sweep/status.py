"""How far a sweep is, and who is at it, read from its directory while processes work there."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weightstring.store.locks import is_held
from weightstring.study.sweep.collecting import Gathered, Where, gather
from weightstring.study.sweep.directory import SweepDirectory

WINDOWS = (3600.0, 86400.0)
"""Seconds over which finished pairs are counted: the first window that has some of them."""


@dataclass(frozen=True)
class Progress:
    """A variant at a threshold.

    Args:
        networks: trained, of those
        networks_needed: that the pairs need, as far as is known.
        pairs: with a row, of those
        pairs_wanted: that are to be there.
        connected: of those with a row.
        failed: networks that never reached the threshold.
    """

    networks: int
    networks_needed: int
    pairs: int
    pairs_wanted: int
    connected: int
    failed: int


@dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Args:
        at: each variant and threshold.
        training: blocks of networks that processes are at; and
        connecting: blocks of pairs.
        finished: searches that ended within
        window: the last so many seconds.
    """

    at: dict[Where, Progress]
    training: int
    connecting: int
    finished: int
    window: float

    @property
    def pairs(self) -> int:
        """With a row."""
        return sum(each.pairs for each in self.at.values())

    @property
    def wanted(self) -> int:
        """That are to be there."""
        return sum(each.pairs_wanted for each in self.at.values())

    @property
    def left(self) -> float | None:
        """Seconds until the end at the rate of the window; None where nobody is at it, or nothing ended yet."""
        if not self.connecting or not self.finished:
            return 0.0 if self.pairs >= self.wanted else None
        return max(0, self.wanted - self.pairs) * self.window / self.finished


def status(store: str | os.PathLike[str]) -> Status:
    """How far the sweep in a directory is. Nothing is written, and nobody at work there is held up.

    Raises:
        InvalidRun: there is no sweep, or a file is damaged.
    """
    directory = SweepDirectory(Path(store))
    found = gather(directory)
    names = [variant.name for variant in found.record.variants]
    ends, pairs = (
        sum(is_held(lock) for name in names for lock in directory.path.glob(f"{kind}/{name}/{lock_files}"))
        for kind, lock_files in (("ends", "seeds-*/lock"), ("rows", "*.lock"))
    )
    now = time.time()
    ages = sorted(now - ended for ended in _ends_of_searches(directory, found))
    begun = now - (directory.path / "sweep.json").stat().st_mtime
    window = next((each for each in WINDOWS if any(age < each for age in ages)), WINDOWS[-1])
    return Status(_progress(found), ends, pairs, sum(age < window for age in ages), max(1.0, min(window, begun)))


def _progress(found: Gathered) -> dict[Where, Progress]:
    there = Counter((row.variant, row.threshold) for row in found.rows)
    connected = Counter((row.variant, row.threshold) for row in found.rows if row.connected)
    return {
        where: Progress(ends.trained, ends.needed, there[where], ends.pairs, connected[where], len(ends.failed))
        for where, ends in found.ends.items()
    }


def _ends_of_searches(directory: SweepDirectory, found: Gathered) -> Iterator[float]:
    """When each search ended, by the clock of the file system."""
    for variant, level in found.ends:
        folder = directory.run(variant, level, 0).parent
        for run in os.scandir(folder) if folder.is_dir() else ():
            try:
                yield os.stat(os.path.join(run.path, "result.json")).st_mtime
            except OSError:  # not ended, or removed since
                continue
