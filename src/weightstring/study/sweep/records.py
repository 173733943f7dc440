"""What a sweep's directory holds as JSON, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from weightstring.codec import Record
from weightstring.errors import InvalidRun
from weightstring.store.files import UNREADABLE, one_line
from weightstring.store.members import read_whole
from weightstring.store.records import Threads
from weightstring.study.sweep.plan import PAIRS, Variant

Content = TypeVar("Content")

GO_ON = "the same sweep goes on"
"""What follows when the disk that refused is mended."""


class VariantRecord(Variant, frozen=True, kw_only=True):
    """A variant, and what its rows are computed of."""

    problem: str
    """Digest of the problem."""
    engine: str = ""
    """What computed its first networks, and how many threads: all its rows are computed alike."""
    threads: Threads = 1
    recipe: dict[str, Any] | None = None
    """How beads descend, where that is not as the problem has it."""
    checkpoints: tuple[str, ...] = ()
    """Digests of the models that were given in place of trained ends."""
    asked: dict[str, int] = msgspec.field(default_factory=dict)
    """How many pairs were asked for at each threshold."""

    def pairs_at(self, threshold: float, otherwise: int) -> int:
        """The same; ``otherwise`` where that was not yet written down."""
        return self.asked.get(repr(threshold), 0) if self.asked else otherwise


class SweepRecord(Record, frozen=True, kw_only=True):
    """What determines a sweep's rows, and how far it is to go."""

    format: int
    versions: dict[str, str]
    thresholds: tuple[float, ...]
    pairs: int
    bind: str
    ends: str
    seed: int
    tries: int
    strategy: dict[str, Any]
    stop: list[dict[str, Any]]
    variants: tuple[VariantRecord, ...]
    align: bool = False
    block: int = PAIRS
    """Pairs in a block of work, of which each is done by one process."""

    @property
    def seeds(self) -> int:
        """Networks in a block of work."""
        return 2 * self.block


class FailedRecord(Record, frozen=True, kw_only=True):
    """Which networks of a variant never reached a threshold."""

    variant: str
    threshold: float
    seeds: tuple[int, ...]


SWEEP = msgspec.json.Decoder(SweepRecord)
FAILED = msgspec.json.Decoder(list[FailedRecord])
TRIVIAL = msgspec.json.Decoder(dict[str, dict[str, float | None]])


def read_record(path: Path, decode: Callable[[bytes], Content], remedy: str) -> Content | None:
    """What a file says; None where there is none."""
    try:
        return decode(read_whole(path))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be read: {problem.strerror}; make it readable, or {remedy}") from None
    except UNREADABLE as problem:
        raise InvalidRun(f"{path}: damaged, or not written by weightstring: {one_line(problem)}; {remedy}") from None
