"""One form of a sweep as blocks of work, which any process may do: train a block of seeds, connect a block of pairs.

A block reads what it needs from the sweep's directory and writes what is its own: networks, run directories, rows. It
is idempotent: what stands is not done again, and a search that was cut off goes on from its journal. A block of pairs
can begin when its networks are known, which takes that all seeds before theirs are settled, since one that fails is
replaced by the next. So blocks of seeds come first; no block waits for more than the seeds before its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

from weightstring.errors import RunLocked
from weightstring.runs.align_step import align_pair
from weightstring.runs.computing import by_engine
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Pair, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_all
from weightstring.store import RunDirectory
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import EndTrainer, GivenEnds
from weightstring.study.sweep.forms import Form
from weightstring.study.sweep.networks import KeptNetworks
from weightstring.study.sweep.plan import PAIRS, Plan
from weightstring.study.sweep.rows import Place, SweepPair, line_barriers, row_of, stands
from weightstring.study.sweep.table import Row
from weightstring.study.sweep.trivial import trivial_levels

Chosen = dict[float, tuple[list[int], bool]]
"""At each threshold the seeds of the networks that are paired, as far as is known, and whether these are all."""


class Block(NamedTuple):
    """A block of work of one form.

    Args:
        kind: what is done; ends come before pairs.
        number: of the block, from 0.
    """

    kind: Literal["ends", "pairs"]
    number: int


@dataclass
class Part:
    """One form of a sweep: its blocks, and how they are done.

    Args:
        form: of the task.
        plan: what is asked.
        directory: where all is kept; None: in memory.
        known: rows that stood in the table when this began.
        block: pairs in a block; twice as many seeds.
        above: all thresholds of the sweep.
        engine: what computes; empty: as the problem chooses.
        threads: CPU threads of large calls; None: the same.
        executor: what runs the jobs.
        progress: what is shown.
        on_rows: told which pairs have rows that had none.
    """

    form: Form
    plan: Plan
    directory: SweepDirectory | None
    known: dict[Place, Row] = field(default_factory=dict)
    block: int = PAIRS
    above: tuple[float, ...] = ()
    engine: str = ""
    threads: int | None = None
    executor: Workers = None
    progress: bool | Display | None = None
    on_rows: Callable[[Sequence[Row]], None] | None = None
    _standing: set[int] = field(default_factory=set, repr=False)

    def open(self) -> list[Block]:
        """What is not done and can be begun now, ends first; nothing: all is done, or waits for ends under way."""
        with self.computing():
            ends = [Block("ends", number) for number in self.networks.missing()]
            chosen = self._chosen()
        most = max(len(seeds) for seeds, _ in chosen.values()) // 2
        pairs = []
        for number in range(-(-max(most, 1) // self.block)):
            last = min((number + 1) * self.block, self.plan.pairs)
            ready = all(whole or len(seeds) >= 2 * last for seeds, whole in chosen.values())
            if ready and number not in self._standing:
                if self._stands(number, chosen):
                    self._standing.add(number)
                else:
                    pairs.append(Block("pairs", number))
        return [*ends, *pairs]

    def take(self, blocks: Sequence[Block]) -> list[Block]:
        """Do those blocks, of one kind, that no other process is at; which they were.

        Raises:
            KeyboardInterrupt: Ctrl-C ended a search; what was finished is kept.
        """
        with ExitStack() as locks:
            taken = []
            for block in blocks:
                with suppress(RunLocked):
                    if self.directory is not None:
                        lock = self.directory.ends_lock if block.kind == "ends" else self.directory.pairs_lock
                        locks.enter_context(lock(self.form.name, block.number))
                    taken.append(block)
            numbers = [block.number for block in taken]
            if numbers:
                with self.computing():
                    if taken[0].kind == "ends":
                        if isinstance(self.progress, Display):
                            self.progress.stage("training networks")
                        self.networks.train(numbers)
                    else:
                        self._connect(numbers)
        return taken

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute as all of the form is computed."""
        with by_engine(self.form.problem, self.engine or None, self.threads):
            yield

    @cached_property
    def networks(self) -> GivenEnds | EndTrainer:
        """The ends, given or trained."""
        folder = None if self.directory is None else self.directory.ends(self.form.name)
        if self.form.checkpoints is not None:
            kept = KeptNetworks(folder, 2 * self.block)
            return GivenEnds(self.form.problem, self.plan, self.form.checkpoints, kept)
        return EndTrainer(self.form.problem, self.plan, folder, 2 * self.block, self.above)

    def _chosen(self) -> Chosen:
        return {level: self.networks.chosen(level) for level in self.plan.levels}

    def _stands(self, number: int, chosen: Chosen) -> bool:
        rows = self._rows(number)
        whole = all(stands(rows.get(place), self._run(place)) for place, _ in self._places(number, chosen))
        return whole and (number > 0 or self.directory is None or bool(self._trivial()))

    def _connect(self, numbers: Sequence[int]) -> None:
        """Connect what is missing in some blocks, side by side."""
        form, plan = self.form, self.plan
        settings = replace(
            plan, recipe=form.recipe, executor=self.executor, progress=self.progress, task=form.variant.task
        )
        standing = {
            number: {place: row for place, row in self._rows(number).items() if stands(row, self._run(place))}
            for number in numbers
        }
        chosen = self._chosen()
        pairs = [pair for number in numbers for pair in self._pairs(number, chosen, standing[number])]
        pairs = [replace(each, pair=align_pair(form.problem, each.pair, settings)) for each in pairs]
        results = connect_all(form.problem, [each.pair for each in pairs], settings) if pairs else []
        over = [(each, result) for each, result in zip(pairs, results, strict=True) if not interrupted(result)]
        lines = line_barriers(form.problem, [each.pair for each, _ in over])
        found = {
            each.place: row_of(form.problem, plan, each, result, line)
            for (each, result), line in zip(over, lines, strict=True)
        }
        if self.directory is None:
            self.known |= found
        else:
            for number in numbers:
                new = {place: row for place, row in found.items() if place.pair // self.block == number}
                self.directory.write_block(form.name, number, list({**standing[number], **new}.values()))
            if 0 in numbers and not self._trivial():
                self.directory.write_trivial({form.name: trivial_levels(form.problem, plan.bind)}, form.name)
        if self.on_rows is not None:
            self.on_rows(list(found.values()))
        if len(over) < len(results):
            raise KeyboardInterrupt

    def _pairs(self, number: int, chosen: Chosen, standing: dict[Place, Row]) -> list[SweepPair]:
        """The pairs of a block that are to be connected."""
        found = []
        places = list(self._places(number, chosen))
        for level in self.plan.levels:
            missing = [each for each in places if each[0].threshold == level and each[0] not in standing]
            thetas = self.networks.thetas_of(level, [seed for _, seeds in missing for seed in seeds])
            for i, (place, seeds) in enumerate(missing):
                run = self._run(place)
                name = f"{place.variant}, threshold {level:g}, pair {place.pair}: "
                a, b = thetas[2 * i], thetas[2 * i + 1]
                pair = Pair(a=a, b=b, threshold=level, directory=run, name=name, align=self.plan.align)
                found.append(SweepPair(place, pair, seeds))
        return found

    def _places(self, number: int, chosen: Chosen) -> Iterator[tuple[Place, tuple[int, int]]]:
        """The pairs of a block, and the seeds of their networks."""
        for level, (seeds, _) in chosen.items():
            last = min((number + 1) * self.block, len(seeds) // 2)
            for pair in range(number * self.block, last):
                yield Place(self.form.name, level, pair), (seeds[2 * pair], seeds[2 * pair + 1])

    def _rows(self, number: int) -> dict[Place, Row]:
        """The rows of a block that are known, whichever thresholds they are of."""
        if self.directory is None:
            return {place: row for place, row in self.known.items() if place.pair // self.block == number}
        return self._before.get(number, {}) | {
            Place.of(row): row for row in self.directory.block(self.form.name, number)
        }

    @cached_property
    def _before(self) -> dict[int, dict[Place, Row]]:
        """The rows that were known when this began, by block."""
        found: dict[int, dict[Place, Row]] = {}
        for place, row in self.known.items():
            found.setdefault(place.pair // self.block, {})[place] = row
        return found

    def _run(self, place: Place) -> RunDirectory | None:
        return None if self.directory is None else RunDirectory(self.directory.run(*place))

    def _trivial(self) -> bool:
        directory, name = self.directory, self.form.name
        return directory is not None and name in (directory.trivial(name) or directory.trivial())
