"""A sweep's directory: its settings, its networks, one run directory a pair, rows in blocks, and the table of them all.

Any number of processes work there at once, each on blocks of its own, which a lock keeps from the others; what belongs
to no block is written under the sweep's lock. Every file is replaced whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec
import torch

from weightstring.errors import InvalidRun
from weightstring.runs.manifest import as_read_back
from weightstring.search.strategies import plain
from weightstring.store import digest, replace_file
from weightstring.store.files import writing
from weightstring.store.locks import held, locked
from weightstring.store.members import member
from weightstring.store.refusals import reason, remedy
from weightstring.study.sweep.forms import Form
from weightstring.study.sweep.networks import block_name
from weightstring.study.sweep.plan import PAIRS, Plan, flaw
from weightstring.study.sweep.records import (
    FAILED,
    GO_ON,
    SWEEP,
    TRIVIAL,
    FailedRecord,
    SweepRecord,
    VariantRecord,
    read_record,
)
from weightstring.study.sweep.table import AGAIN, Row, read_table, write_table

FORMAT = 1
TABLE = "table.csv"
"""All rows, once they are collected."""
WAIT = 600.0
"""Seconds that the sweep's own files may be in another process's hands; the first one chooses the engine meanwhile."""
SAME = ("bind", "ends", "seed", "strategy", "stop", "align")
"""What an earlier sweep in the directory must share; thresholds, pairs and variants may be added."""


class SweepDirectory:
    """A directory that holds a sweep.

    What reads raises InvalidRun where a file is missing or damaged; what writes, StoreFailed where the disk refuses.

    Args:
        path: where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is a sweep."""
        return self._has("sweep.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing what belongs to no block. The lock dies with its owner, however that ends.

        Raises:
            RunLocked: another process does not let it go.
            InvalidRun: the directory cannot be made, or holds files but no sweep.
            StoreFailed: the disk refuses it.
        """
        busy = "another sweep is beginning or writing here; wait for it or choose another directory"
        with locked(self.path, "sweep", begun=lambda: self.exists, busy=busy, then=GO_ON, wait=WAIT):
            yield

    def ends_lock(self, variant: str, number: int) -> AbstractContextManager[None]:
        """Take a block of seeds; RunLocked where another process trains them."""
        place = member(self.path, "ends", variant, block_name(number))
        return held(place / "lock", "another process trains these networks", GO_ON)

    def pairs_lock(self, variant: str, number: int) -> AbstractContextManager[None]:
        """Take a block of pairs; RunLocked where another process connects them."""
        place = member(self.path, "rows", variant, f"{number:04d}.lock")
        return held(place, f"another process connects the pairs of block {number}", GO_ON)

    def begin(self, plan: Plan, forms: Sequence[Form], block: int | None = None) -> SweepRecord:
        """Write what is asked, or add it to what was asked before. Only for who holds the lock."""
        begun = self.record() if self.exists else None
        wanted = record_of(plan, forms, () if begun is None else begun.variants, block or PAIRS)
        if begun is not None:
            for name in SAME:
                if getattr(begun, name) != getattr(wanted, name):
                    raise InvalidRun(
                        f"{self.path}: holds another sweep: {name} is {getattr(begun, name)!r} there, "
                        f"{getattr(wanted, name)!r} here; choose another directory"
                    )
            tasks = [{_task(variant) for variant in record.variants} for record in (begun, wanted)]
            if tasks[0] != tasks[1]:
                there, here = (", ".join(sorted(each)) for each in tasks)
                raise InvalidRun(
                    f"{self.path}: holds a sweep of another task: {there:.200} there, {here:.200} here; choose another "
                    "directory"
                )
            known = {variant.name: variant for variant in begun.variants}
            for variant in wanted.variants:
                if variant.name in known:
                    known[variant.name] = self._same(known[variant.name], variant)
            if block not in (None, begun.block):
                raise InvalidRun(f"{self.path}: has blocks of {begun.block} pairs, not {block}; leave block out")
            wanted = msgspec.structs.replace(
                wanted,
                block=begun.block,
                thresholds=tuple(sorted({*begun.thresholds, *wanted.thresholds}, reverse=True)),
                pairs=max(begun.pairs, wanted.pairs),
                variants=(*known.values(), *(variant for variant in wanted.variants if variant.name not in known)),
            )
        if wanted != begun:
            self._write("sweep.json", wanted, indent=2)
        return wanted

    def _same(self, begun: VariantRecord, wanted: VariantRecord) -> VariantRecord:
        """A variant as it is known, with the checkpoints that were given after those known."""
        for what, there, here in (
            ("problem", begun.problem, wanted.problem),
            ("recipe", begun.recipe, wanted.recipe),
            ("checkpoints", begun.checkpoints[: len(wanted.checkpoints)], wanted.checkpoints[: len(begun.checkpoints)]),
        ):
            if there != here:
                raise InvalidRun(f"{self.path}: {begun.name} has another {what} there; choose another directory")
        longer = max(begun.checkpoints, wanted.checkpoints, key=len)
        asked = {level: max(begun.asked.get(level, 0), count) for level, count in wanted.asked.items()}
        return msgspec.structs.replace(begun, checkpoints=longer, asked={**begun.asked, **asked})

    def record(self) -> SweepRecord:
        """What was asked."""
        record = read_record(member(self.path, "sweep.json"), SWEEP.decode, "restore it, or choose another directory")
        if record is None:
            raise InvalidRun(f"{self.path}: no sweep here (no sweep.json); give the directory that --out named")
        return record

    def ends(self, variant: str) -> Path:
        """Where the networks of a variant are kept."""
        return member(self.path, "ends", variant)

    def run(self, variant: str, threshold: float, pair: int) -> Path:
        """The run directory of a pair."""
        return member(self.path, self.run_name(variant, threshold, pair))

    @staticmethod
    def run_name(variant: str, threshold: float, pair: int) -> str:
        """The run directory of a pair, as the table names it."""
        return Path("runs", variant, repr(threshold), f"pair-{pair:04d}").as_posix()

    def write_table(self, rows: Sequence[Row]) -> None:
        """Write the table, in one piece."""
        write_table(self.path / TABLE, rows)

    def write_block(self, variant: str, number: int, rows: Sequence[Row]) -> None:
        """Write the rows of a block of pairs. Only for who holds it."""
        write_table(member(self.path, "rows", variant, f"{number:04d}.csv"), rows)

    def block(self, variant: str, number: int) -> list[Row]:
        """The rows of a block of pairs; none where it was not begun."""
        path = member(self.path, "rows", variant, f"{number:04d}.csv")
        return self._rows(path) if path.exists() else []

    def _rows(self, path: Path) -> list[Row]:
        rows = read_table(path)
        for number, row in enumerate(rows, 1):
            if damage := flaw(row.variant):
                raise InvalidRun(f"{path}: damaged: row {number} is of {row.variant!r:.200}: {damage}; {AGAIN}")
            if row.run not in ("", self.run_name(row.variant, row.threshold, row.pair)):
                raise InvalidRun(f"{path}: damaged: row {number} names the run {row.run!r:.200}, not its own; {AGAIN}")
        return rows

    def known(self) -> list[Row]:
        """The rows in the table; none where it was not made."""
        return self._rows(self.path / TABLE) if self._has(TABLE) else []

    def blocks(self, variant: str) -> list[int]:
        """Numbers of the blocks of pairs that have rows."""
        names = self._names("rows", variant)
        return sorted(int(name[:-4]) for name in names if name.endswith(".csv") and name[:-4].isdecimal())

    def write_failed(self, failed: Mapping[tuple[str, float], Sequence[int]]) -> None:
        """Write which networks never reached their threshold."""
        records = [
            FailedRecord(variant=name, threshold=level, seeds=tuple(seeds)) for (name, level), seeds in failed.items()
        ]
        self._write("failed.json", records, indent=1)

    def write_trivial(self, levels: Mapping[str, Mapping[str, float | None]], variant: str = "") -> None:
        """Write what trivial predictors reach, by variant and predictor; of one variant, beside its rows."""
        self._write(Path("rows", variant, "trivial.json") if variant else "trivial.json", levels, indent=1)

    def trivial(self, variant: str = "") -> dict[str, dict[str, float | None]]:
        """What trivial predictors reach, by variant and predictor; None where there is no such predictor."""
        again = "delete it, and the sweep of its variants makes it again"
        place = ("rows", variant) if variant else ()
        return read_record(member(self.path, *place, "trivial.json"), TRIVIAL.decode, again) or {}

    def failed(self) -> dict[tuple[str, float], tuple[int, ...]]:
        """For each variant and threshold, seeds of networks that never reached it, as they were last written."""
        again = "delete it, and it is made again from what is kept of the networks"
        records = read_record(member(self.path, "failed.json"), FAILED.decode, again) or []
        return {(each.variant, each.threshold): each.seeds for each in records}

    def arithmetic(self, variant: str) -> tuple[str, int]:
        """By which engine and on how many threads all of a variant is computed."""
        record = next(record for record in self.record().variants if record.name == variant)
        return record.engine, record.threads

    def _names(self, *place: str) -> list[str]:
        try:
            return os.listdir(member(self.path, *place))
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise InvalidRun(f"{self.path}: cannot be looked into: {reason(problem)}; {remedy(problem)}") from None

    def _has(self, name: str) -> bool:
        try:
            return member(self.path, name).exists()
        except OSError as problem:
            raise InvalidRun(f"{self.path}: cannot be looked into: {reason(problem)}; {remedy(problem)}") from None

    def _write(self, name: str | Path, content: object, indent: int) -> None:
        with writing(self.path / name, GO_ON):
            replace_file(self.path / name, msgspec.json.format(msgspec.json.encode(content), indent=indent))


def record_of(
    plan: Plan, forms: Sequence[Form], known: Sequence[VariantRecord] = (), block: int = PAIRS
) -> SweepRecord:
    """What determines a sweep, as it is written.

    Args:
        plan: what was asked.
        forms: the problems.
        known: variants that are written already.
        block: pairs in a block of work.
    """
    return SweepRecord(
        format=FORMAT,
        versions={"weightstring": version("weightstring"), "torch": str(torch.__version__)},
        thresholds=plan.levels,
        pairs=plan.pairs,
        bind=plan.bind,
        ends=plan.ends,
        seed=plan.seed,
        tries=plan.tries,
        strategy=as_read_back(plain(plan.strategy)),
        stop=[as_read_back(rule) for rule in plan.limits.plain()],
        align=plan.align,
        block=block,
        variants=tuple(_variant_record(form, plan, any(form.name == other.name for other in known)) for form in forms),
    )


def _variant_record(form: Form, plan: Plan, known: bool) -> VariantRecord:
    """A variant's record; what computes it is chosen where it is not known yet."""
    problem = form.problem
    engine = "" if known else problem.engine_choice().name
    threads = 1 if known else problem.engine_choice().threads or torch.get_num_threads()
    return VariantRecord(
        **msgspec.structs.asdict(form.variant),
        problem=problem.fingerprint(),
        engine=engine,
        threads=threads,
        recipe=None if form.recipe is None else as_read_back(form.recipe.plain()),
        checkpoints=tuple(map(digest, form.checkpoints or ())),
        asked=dict.fromkeys(map(repr, plan.levels), plan.pairs),
    )


def _task(variant: VariantRecord) -> str:
    """What the variants of one sweep have in common: their task, and its options but for those that are swept."""
    if variant.task is None:
        return "problems built in Python"
    shared = [f"{key}={value}" for key, value in sorted(variant.task.options.items()) if key not in variant.options]
    return " ".join([variant.task.name, *shared])
