"""A sweep's directory: its settings, its networks, one run directory a pair, and its table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch

from weightstring.errors import InvalidRun, StoreFailed
from weightstring.problem import ModuleProblem
from weightstring.search.strategies import plain
from weightstring.store import replace_file
from weightstring.store.files import one_line
from weightstring.store.records import Record, Task
from weightstring.sweeps.plan import Plan, Variant
from weightstring.sweeps.table import Row, read_table, write_table

FORMAT = 1


class VariantRecord(Record, frozen=True, kw_only=True):
    """One form of the task."""

    name: str
    options: dict[str, str]
    task: Task | None
    problem: str
    """Digest of the problem."""


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


SAME = ("bind", "ends", "seed", "strategy", "stop")
"""What an earlier sweep in the directory must share; thresholds, pairs and variants may be added."""


class SweepDirectory:
    """A directory that holds a sweep.

    Args:
        path: where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is a sweep."""
        return (self.path / "sweep.json").exists()

    def begin(self, plan: Plan, problems: Mapping[str, ModuleProblem], variants: Sequence[Variant]) -> None:
        """Write what is asked, or add it to what was asked before.

        Raises:
            InvalidRun: there is another sweep, or other files.
            StoreFailed: the disk refuses.
        """
        asked = self._record(plan, problems, variants)
        if self.exists:
            found = self.record()
            for name in SAME:
                if getattr(found, name) != getattr(asked, name):
                    raise InvalidRun(
                        f"{self.path}: holds another sweep: {name} is {getattr(found, name)!r} there, "
                        f"{getattr(asked, name)!r} here; choose another directory"
                    )
            known = {own.name: own for own in found.variants}
            for own in asked.variants:
                if own.name in known and known[own.name].problem != own.problem:
                    raise InvalidRun(f"{self.path}: {own.name} is another problem there; choose another directory")
            asked = msgspec.structs.replace(
                asked,
                thresholds=tuple(sorted({*found.thresholds, *asked.thresholds}, reverse=True)),
                pairs=max(found.pairs, asked.pairs),
                variants=(*found.variants, *(own for own in asked.variants if own.name not in known)),
            )
        elif self.path.is_dir() and any(not own.name.startswith(".") for own in self.path.iterdir()):
            raise InvalidRun(f"{self.path}: holds other files and no sweep; choose an empty or new directory")
        self._write("sweep.json", msgspec.json.format(msgspec.json.encode(asked)))

    def record(self) -> SweepRecord:
        """What was asked.

        Raises:
            InvalidRun: there is no sweep, or it is damaged.
        """
        path = self.path / "sweep.json"
        if not self.exists:
            raise InvalidRun(f"{self.path}: no sweep here (no sweep.json); give the directory that --out named")
        try:
            return msgspec.json.decode(path.read_bytes(), type=SweepRecord)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise InvalidRun(f"{path}: damaged, or not written by weightstring: {one_line(problem)}") from None

    def ends(self, variant: str) -> Path:
        """Where the networks of a variant are kept."""
        return self.path / "ends" / variant

    def run(self, variant: str, threshold: float, pair: int) -> Path:
        """The run directory of a pair."""
        return self.path / "runs" / variant / repr(threshold) / f"pair-{pair:04d}"

    def write_table(self, rows: Sequence[Row]) -> None:
        """Write the table, in one piece.

        Raises:
            StoreFailed: the disk refuses.
        """
        write_table(self.path / "table.csv", rows)

    def table(self) -> list[Row]:
        """The rows so far.

        Raises:
            InvalidRun: there are none, or the table is damaged.
        """
        if not (self.path / "table.csv").exists():
            self.record()
            raise InvalidRun(f"{self.path}: not one pair is finished yet; the same command goes on with it")
        return read_table(self.path / "table.csv")

    def known(self) -> list[Row]:
        """The rows so far; none where not one pair is finished."""
        return self.table() if (self.path / "table.csv").exists() else []

    def write_failed(self, failed: Mapping[tuple[str, float], Sequence[int]]) -> None:
        """Write which networks never reached their threshold."""
        told = [{"variant": name, "threshold": level, "seeds": list(seeds)} for (name, level), seeds in failed.items()]
        self._write("failed.json", json.dumps(told, indent=1).encode())

    def write_trivial(self, variant: str, levels: Mapping[str, float | None]) -> None:
        """Write what trivial predictors reach on one form of the task."""
        self._write("trivial.json", json.dumps({**self.trivial(), variant: dict(levels)}, indent=1).encode())

    def trivial(self) -> dict[str, dict[str, float | None]]:
        """What trivial predictors reach, by variant and predictor; None where there is no such predictor."""
        path = self.path / "trivial.json"
        if not path.exists():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, float | None]])
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise InvalidRun(f"{path}: damaged: {problem}; the same sweep writes it again") from None

    def failed(self) -> dict[tuple[str, float], tuple[int, ...]]:
        """For each variant and threshold, seeds of networks that never reached it."""
        path = self.path / "failed.json"
        if not path.exists():
            return {}
        try:
            return {
                (str(own["variant"]), float(own["threshold"])): tuple(map(int, own["seeds"]))
                for own in json.loads(path.read_text())
            }
        except (ValueError, KeyError, TypeError) as problem:
            raise InvalidRun(f"{path}: damaged: {problem}; the same sweep writes it again") from None

    def _record(self, plan: Plan, problems: Mapping[str, ModuleProblem], variants: Sequence[Variant]) -> SweepRecord:
        strategy = msgspec.json.decode(msgspec.json.encode(plain(plan.strategy)), type=dict[str, Any])
        stop = msgspec.json.decode(msgspec.json.encode(plan.stop.plain()), type=list[dict[str, Any]])
        return SweepRecord(
            format=FORMAT,
            versions={"weightstring": version("weightstring"), "torch": str(torch.__version__)},
            thresholds=plan.levels,
            pairs=plan.pairs,
            bind=plan.bind,
            ends=plan.ends,
            seed=plan.seed,
            tries=plan.tries,
            strategy=strategy,
            stop=stop,
            variants=tuple(
                VariantRecord(
                    name=own.name, options=dict(own.options), task=own.task, problem=problems[own.name].fingerprint()
                )
                for own in variants
            ),
        )

    def _write(self, name: str, content: bytes) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / name, content)
        except OSError as problem:
            raise StoreFailed(f"{self.path / name}: cannot be written: {problem.strerror}") from None
