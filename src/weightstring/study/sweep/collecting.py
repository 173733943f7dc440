"""What a sweep's directory holds, gathered from its blocks: a pure function of what lies there, whoever wrote it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.networks import KeptNetworks
from weightstring.study.sweep.records import SweepRecord, VariantRecord
from weightstring.study.sweep.rows import Place
from weightstring.study.sweep.selection import Selection, Settled
from weightstring.study.sweep.summary import Summary, summarised
from weightstring.study.sweep.table import Row

Where = tuple[str, float]
"""A variant and a threshold."""


@dataclass(frozen=True)
class Ends:
    """The networks of a variant at a threshold.

    Args:
        failed: seeds of those needed that never reached it.
        trained: how many networks are there of those needed; and
        needed: how many are, where all that are not trained yet get there.
        pairs: how many pairs that makes.
    """

    failed: tuple[int, ...]
    trained: int
    needed: int
    pairs: int


@dataclass(frozen=True, repr=False)
class Gathered:
    """A sweep as far as it is.

    Args:
        record: what was asked.
        rows: one a pair, by variant as these were asked for, thresholds falling, pairs rising.
        failed: for each variant and threshold, seeds of networks that never reached it.
        trivial: what trivial predictors reach, by variant and predictor.
        ends: the networks of each variant at each threshold.
    """

    record: SweepRecord
    rows: tuple[Row, ...]
    failed: Mapping[Where, tuple[int, ...]]
    trivial: Mapping[str, Mapping[str, float | None]]
    ends: Mapping[Where, Ends]

    def __repr__(self) -> str:
        return f"<Gathered: {len(self.rows)} pairs of a sweep of {len(self.record.variants)} variants>"

    @property
    def summary(self) -> tuple[Summary, ...]:
        """Means and shares with their intervals, one for each variant and threshold."""
        return summarised(self.rows, self.failed, self.record.seed)

    @cached_property
    def missing(self) -> tuple[Place, ...]:
        """Pairs that were asked for and have no row yet."""
        known = {Place.of(row) for row in self.rows}
        wanted = (Place(*where, pair) for where, ends in self.ends.items() for pair in range(ends.pairs))
        return tuple(place for place in wanted if place not in known)


def gather(directory: SweepDirectory) -> Gathered:
    """What the directory holds; nothing is written.

    Raises:
        InvalidRun: there is no sweep, or a file is damaged.
    """
    record = directory.record()
    names = [variant.name for variant in record.variants]
    rows = {Place.of(row): row for row in directory.known()}
    for name in names:
        for number in directory.blocks(name):
            rows |= {Place.of(row): row for row in directory.block(name, number)}
    ends = {where: each for variant in record.variants for where, each in _ends(directory, record, variant)}
    told = {where: each.failed for where, each in ends.items() if each.trained or each.failed}
    trivial = directory.trivial()
    for name in names:
        trivial |= directory.trivial(name)
    return Gathered(record, in_order(rows.values(), names), {**directory.failed(), **told}, trivial, ends)


def collect(store: str | os.PathLike[str]) -> Gathered:
    """Gather what the blocks of a sweep say into its table and what lies beside that.

    Args:
        store: the sweep's directory. Shards may be at work there.

    Raises:
        InvalidRun: there is no sweep, or a file is damaged.
        RunLocked: another process does not let the table go.
        StoreFailed: the disk refuses.

    >>> from tempfile import TemporaryDirectory
    >>> from weightstring.study.sweep.running import sweep
    >>> from weightstring.tasks import load_task
    >>> with TemporaryDirectory() as store:
    ...     for shard in ("1/2", "2/2"):  # each in a process of its own, as a rule
    ...         _ = sweep(load_task("polynomial"), [0.2], pairs=2, block=1, store=store, shard=shard)
    ...     found = collect(store)
    >>> len(found.rows), found.missing
    (2, ())
    """
    directory = SweepDirectory(Path(store))
    directory.record()
    with directory.locked():
        found = gather(directory)
        directory.write_trivial(found.trivial)
        directory.write_failed(found.failed)
        directory.write_table(found.rows)
    return found


def shown(store: Path) -> Gathered:
    """What the directory holds, for who wants to see pairs.

    Raises:
        InvalidRun: there is no sweep, not one pair is finished, or a file is damaged.
    """
    found = gather(SweepDirectory(store))
    if not found.rows and found.missing:
        raise InvalidRun(f"{store}: not one pair is finished yet; the same command goes on with it")
    return found


def in_order(rows: Iterable[Row], names: Iterable[str]) -> tuple[Row, ...]:
    """By variant in the order of their names, thresholds falling, pairs rising; other variants come last."""
    rows = list(rows)
    order = {name: place for place, name in enumerate(dict.fromkeys([*names, *(row.variant for row in rows)]))}
    return tuple(sorted(rows, key=lambda row: (order[row.variant], -row.threshold, row.pair)))


def _ends(directory: SweepDirectory, record: SweepRecord, variant: VariantRecord) -> Iterable[tuple[Where, Ends]]:
    kept = KeptNetworks(directory.ends(variant.name), record.seeds)
    for level in record.thresholds:
        if count := 2 * variant.pairs_at(level, record.pairs):
            yield (variant.name, level), _of(record, kept.settled(level), count)


def _of(record: SweepRecord, known: Settled, count: int) -> Ends:
    if record.ends == "given":
        there = min(count, len(known.reached)) if known.reached or known.failed else count
        return Ends(tuple(sorted(known.failed)), there, there, there // 2)
    selection = Selection(record.seed, count, record.tries * count)
    needed = selection.needed(known)
    trained = sum(seed in known.reached for seed in needed)
    return Ends(selection.failures(known), trained, len(needed), len(needed) // 2)
