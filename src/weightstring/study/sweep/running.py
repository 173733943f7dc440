"""``sweep``: train the ends, connect all pairs, keep a table (Section V); the simplest driver of its blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.notebook import Viewable
from weightstring.path import Objective
from weightstring.recipe import Recipe
from weightstring.runs.listening import Aside, listening
from weightstring.runs.settings import Workers
from weightstring.runs.showing import Display
from weightstring.runs.tracking import trackers
from weightstring.search import Dask, Greedy, MaxBeads, StopRule, Strategy
from weightstring.search.running.dask import Client
from weightstring.store.objects import local_path
from weightstring.study.sweep.collecting import collect, gather, in_order
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.elsewhere import do_on
from weightstring.study.sweep.forms import Form, Sweepable, forms_of
from weightstring.study.sweep.part import Block, Part
from weightstring.study.sweep.plan import MAX_BEADS, PAIRS, Ends, Plan, Shard, Variant, shown, whole
from weightstring.study.sweep.rows import Place
from weightstring.study.sweep.summary import Summary, summarised
from weightstring.study.sweep.table import Row
from weightstring.study.sweep.telling import Tally
from weightstring.trackers import Tracker

DEFAULT_STRATEGY = Greedy()
DEFAULT_STOP = MaxBeads(MAX_BEADS)
AT_ONCE = 8
"""Blocks that a process takes side by side where it need not leave any to others."""
LOOK_AGAIN = 1.0
"""Seconds until a process looks again for what others are at."""


@dataclass(frozen=True, repr=False)
class Sweep(Viewable):
    """What a sweep found.

    Args:
        plan: what was asked.
        rows: one a pair.
        failed: for each variant and threshold, seeds of networks that never reached it.
    """

    plan: Plan
    rows: tuple[Row, ...]
    failed: Mapping[tuple[str, float], tuple[int, ...]]

    def __str__(self) -> str:
        connected = sum(row.connected for row in self.rows)
        levels = ", ".join(f"{level:g}" for level in self.plan.levels)
        return f"a sweep over thresholds {levels}: {connected} of {len(self.rows)} pairs connected"

    @property
    def summary(self) -> tuple[Summary, ...]:
        """Means and shares with their intervals, one for each variant and threshold."""
        return summarised(self.rows, self.failed, self.plan.seed)


@undisturbed
def sweep(
    problem: Sweepable | Mapping[str, Sweepable],
    thresholds: Sequence[float],
    *,
    pairs: int | None = None,
    bind: str = "loss",
    ends: Ends = "carried",
    checkpoints: Sequence[Theta] | Mapping[str, Sequence[Theta]] | None = None,
    align: bool = False,
    seed: int = 0,
    tries: int = 20,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    recipe: Recipe | Mapping[str, Recipe | None] | None = None,
    executor: Workers = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool | Display | None = None,
    tracker: str | Tracker | None = None,
    variants: Sequence[Variant] | None = None,
    shard: str | None = None,
    block: int | None = None,
) -> Sweep:
    """Connect many pairs of networks at several thresholds, in shared batches.

    Any number of processes may do one sweep together: the same call with the same ``store``, at any time.

    Args:
        problem: the loss, or several by name, such as networks of different widths.
        thresholds: L0; at each the ends are networks that reach it.
        pairs: at each threshold, of each problem; 32, or as many as the checkpoints make, unless given.
        bind: what thresholds bind, in the words of :func:`weightstring.connect`, but one quantity: ``"evaluate"`` or
            ``"loss"``, ``"train"``, or a metric such as ``"error"``.
        ends: ``"carried"``: a network for a lower threshold goes on from the same seed's for a higher one;
            ``"afresh"``: each starts from its random model.
        checkpoints: models in place of trained networks, each (P,); of several problems by name. Pair i at a threshold
            has the i-th two of them that reach it, in their order: no model is in two pairs.
        align: bring the second end of each pair to the symmetric copy of the lowest line from the first, see
            :func:`weightstring.align`.
        seed: of the first network; pair i at a threshold has the i-th two networks that reach it.
        tries: networks trained at most for each one needed; those that fail are counted and replaced.
        strategy: how to search.
        stop: when to stop without a string; holds for each pair.
        recipe: how beads descend, of several problems also by name; as a problem has it by default. Networks are
            trained as the problem has it in any case, so that two recipes search between the same ends.
        executor: what runs the jobs; see :func:`weightstring.connect`.
        store: a directory. What is there already is used: a sweep that was interrupted goes on, more thresholds or
            pairs compute what is missing, further checkpoints come after those known, and the row of a run that was
            resumed is made again.
        progress: True or False; by default only on a terminal.
        tracker: where to send how it gets on and what it finds, see :func:`weightstring.connect`.
        variants: what the problems are called and how to build them again; by default by their names alone.
        shard: ``"K/N"``, from 1: this process is one of N that do the sweep; it begins with its own blocks, goes on
            with what the others have not begun, and returns without waiting for them, with the rows so far. The table
            is then :func:`weightstring.collect`'s to write. None: all that is missing, and the table.
        block: pairs in a block of work, which one process does; a sweep keeps that of its first call (default: 32).

    Raises:
        InvalidSetting: a setting is unknown or out of range; nothing was written.
        InvalidCheckpoint: a checkpoint is not its problem's.
        Unsupported: ``align``, and the symmetry of a module cannot be found.
        InvalidRun: ``store`` holds another sweep, or a damaged one.
        RunLocked: another process does not let the sweep's own files go.
        StoreFailed: the disk refuses.

    >>> from weightstring.tasks import load_task
    >>> swept = sweep(load_task("polynomial"), [0.05], pairs=2)
    >>> [row.outcome for row in swept.rows], swept.summary[0].connected.value
    (['connected', 'connected'], 1.0)
    """
    given = Shard.of(shard)
    store = None if store is None else local_path(store)
    cluster = Dask(executor) if isinstance(executor, Client) else executor
    if given is not None and isinstance(cluster, Dask):
        raise InvalidSetting("sweep(shard=...): a dask cluster shares the blocks out itself; leave shard or dask out")
    if given is not None and store is None:
        raise InvalidSetting("sweep(shard=...): give store=, a directory that all shards see")
    if ends == "given" and checkpoints is None:
        raise InvalidSetting("sweep(ends='given'): give the models, checkpoints=[...]")
    how = ends if checkpoints is None else "given"
    count = PAIRS if pairs is None else pairs
    plan = Plan(_numbers(thresholds), count, how, tries, align, strategy=strategy, stop=stop, bind=bind, seed=seed)
    forms = forms_of(problem, variants, recipe, checkpoints)
    made = max(len(form.checkpoints or ()) // 2 for form in forms)
    if made and (pairs is None or made < plan.pairs):
        plan = replace(plan, pairs=made)
    plan = replace(plan, bind=_quantity(forms, plan.bind))
    block = None if block is None else whole("block", block, 1)
    directory = None if store is None else SweepDirectory(Path(store))
    parts = parts_of(plan, forms, directory, block)
    with listening(progress, *trackers(tracker)) as told, told.showing():
        known = [row for part in parts for row in part.known.values()]
        tally = Tally(told, plan, directory, shard or "", known)
        parts = [replace(part, executor=cluster, progress=Aside(told), on_rows=tally.add) for part in parts]
        swept = _swept(parts, plan, directory, given)
        tally.end(swept, swept.rows, swept.summary)
    return swept


def _swept(parts: Sequence[Part], plan: Plan, directory: SweepDirectory | None, shard: Shard | None) -> Sweep:
    """Do all blocks, and put together what they found."""
    cluster = parts[0].executor
    try:
        if isinstance(cluster, Dask) and directory is not None:
            do_on(cluster, parts, directory)
        else:
            do(parts, shard)
    except KeyboardInterrupt:
        if directory is not None and shard is None:
            collect(directory.path)
        raise
    if directory is None:
        rows = in_order((row for part in parts for row in part.known.values()), [part.form.name for part in parts])
        failed = {(part.form.name, level): part.networks.failed(level) for part in parts for level in plan.levels}
        return Sweep(plan, rows, failed)
    found = collect(directory.path) if shard is None else gather(directory)
    return Sweep(plan, found.rows, found.failed)


def parts_of(
    plan: Plan, forms: Sequence[Form], directory: SweepDirectory | None, block: int | None = None
) -> list[Part]:
    """The forms of a sweep as blocks of work, once what is asked is written down.

    Raises:
        InvalidRun: the directory holds another sweep, or a damaged one.
        RunLocked: another process does not let the sweep's own files go.
        StoreFailed: the disk refuses.
    """
    if directory is None:
        return [Part(form, plan, None, block=block or PAIRS) for form in forms]
    with directory.locked():
        record = directory.begin(plan, forms, block)
    known = {Place.of(row): row for row in gather(directory).rows}
    variants = {variant.name: variant for variant in record.variants}
    return [
        Part(
            form,
            plan,
            directory,
            {place: row for place, row in known.items() if place.variant == form.name},
            record.block,
            record.thresholds,
            variants[form.name].engine,
            variants[form.name].threads,
        )
        for form in forms
    ]


def do(parts: Sequence[Part], shard: Shard | None = None) -> None:
    """Do all blocks that no other process is at, and wait for those that others are at where anything needs them.

    Args:
        parts: of the sweep.
        shard: which blocks come first; this process leaves what others are at to them, but for ends, which its own
            pairs may need. None: it leaves nothing.

    Raises:
        KeyboardInterrupt: Ctrl-C ended a search; what was finished is kept.
    """
    looks = 0
    while True:
        left: list[Block] = []
        for part in parts:
            while blocks := part.open():
                if not _took(part, blocks, shard):
                    left += blocks
                    break
                looks = 0
        if not left or (shard is not None and looks and all(block.kind == "pairs" for block in left)):
            return
        looks += 1
        time.sleep(LOOK_AGAIN)


def _took(part: Part, blocks: Sequence[Block], shard: Shard | None) -> bool:
    """Whether there was a block to take; ends before pairs, one's own before others'."""
    for kind in ("ends", "pairs"):
        of_kind = [block for block in blocks if block.kind == kind]
        if shard is None:
            if of_kind and part.take(of_kind[:AT_ONCE]):
                return True
            of_kind = of_kind[AT_ONCE:]
        elif shard.of_all > 1:
            of_kind.sort(key=lambda block: (block.number - shard.number) % shard.of_all)
        if any(part.take([block]) for block in of_kind):
            return True
    return False


def _numbers(thresholds: Any) -> tuple[float, ...]:
    try:
        if isinstance(thresholds, str | bytes):  # which have parts too
            raise TypeError
        return tuple(map(float, thresholds))
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(
            f"sweep(thresholds={shown(thresholds)}): give positive numbers, such as [0.1, 0.01]"
        ) from None


def _quantity(forms: Sequence[Form], bind: str) -> str:
    """What the threshold binds, by the one name that all problems measure it by."""
    purpose = "networks of a sweep are trained to"
    names = {form.name: Objective(form.problem, bind).quantity(purpose) for form in forms}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{quantity} of {name}" for name, quantity in names.items())
        raise InvalidSetting(f"sweep(bind={bind!r}): binds {listed:.200}; give the name of a quantity that all measure")
    return next(iter(names.values()))
