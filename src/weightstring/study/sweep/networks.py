"""The networks of a sweep at one threshold, and how they are kept: a list and a bead file in the variant's folder."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from weightstring.arrays import Thetas
from weightstring.codec import Record
from weightstring.errors import InvalidRun
from weightstring.protocol import LossProblem
from weightstring.store import replace_file
from weightstring.store.beads import read_beads, write_beads
from weightstring.store.files import writing
from weightstring.store.members import member
from weightstring.study.sweep.records import GO_ON, read_record


@dataclass(frozen=True)
class Networks:
    """Networks at one threshold.

    Args:
        seeds: of those that reached it, in order.
        thetas: these networks (n, P).
        failed: seeds of those that did not.
    """

    seeds: tuple[int, ...]
    thetas: Thetas
    failed: tuple[int, ...] = ()


class EndsRecord(Record, frozen=True, kw_only=True):
    """Which networks of a variant were trained to a threshold, and where those are that reached it."""

    seeds: tuple[int, ...]
    failed: tuple[int, ...]
    networks: str
    """Their file, beside this one."""
    sha256: str
    """Of that file; empty where none reached it."""


ENDS = msgspec.json.Decoder(EndsRecord)


def levels_kept(folder: Path) -> list[float]:
    """The thresholds to which a variant's networks are kept in a folder; other files there are none of ours.

    Raises:
        InvalidRun: the folder cannot be looked into.
    """
    try:
        stems = [name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json")]
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise InvalidRun(
            f"{folder}: cannot be looked into: {problem.strerror}; make it a readable folder, or delete it, "
            "and its networks are trained again"
        ) from None
    return [level for level in map(_level, stems) if level is not None]


def _level(stem: str) -> float | None:
    """The threshold that a file is named by; None for any other name."""
    try:
        level = float(stem)
    except ValueError:
        return None
    return level if math.isfinite(level) and repr(level) == stem else None


def read_ends(folder: Path, level: float) -> EndsRecord | None:
    """Which of a variant's networks were trained to a threshold; None where it was not begun."""
    return read_record(member(folder, f"{level!r}.json"), ENDS.decode, "delete it, and its networks are trained again")


def read_networks(folder: Path, level: float, problem: LossProblem) -> Networks | None:
    """A variant's networks at a threshold; None where it was not begun.

    Raises:
        InvalidRun: a file is damaged, or of other networks.
    """
    record = read_ends(folder, level)
    if record is None:
        return None
    if not record.seeds:
        return Networks((), torch.empty(0, problem.size, dtype=problem.dtype, device=problem.device), record.failed)
    remedy = f"delete {level!r}.json beside it, and its networks are trained again"
    count = record.networks.removeprefix(f"{level!r}-").removesuffix(".safetensors")
    if not count.isdecimal() or record.networks != _file(level, int(count)):
        raise InvalidRun(f"{folder}/{level!r}.json: names the networks {record.networks!r:.200}, not its own; {remedy}")
    try:
        thetas = read_beads(member(folder, record.networks), record.sha256)
    except InvalidRun as damage:
        raise InvalidRun(f"{damage}; {remedy}") from None
    if thetas.shape != (len(record.seeds), problem.size) or thetas.dtype != problem.dtype:
        raise InvalidRun(
            f"{folder / record.networks}: not the {len(record.seeds)} networks of {level!r}.json; {remedy}"
        )
    return Networks(record.seeds, thetas.to(problem.device), record.failed)


def write_networks(folder: Path, level: float, networks: Networks) -> None:
    """Keep a variant's networks at a threshold."""
    with writing(folder / f"{level!r}.json", GO_ON):
        folder.mkdir(parents=True, exist_ok=True)
        # Under a name of its own, so that until the list below names it the earlier ones are still whole.
        file = _file(level, len(networks.seeds) + len(networks.failed))
        sha256 = write_beads(folder / file, networks.thetas) if networks.seeds else ""
        record = EndsRecord(seeds=networks.seeds, failed=networks.failed, networks=file, sha256=sha256)
        replace_file(folder / f"{level!r}.json", msgspec.json.encode(record))
        for earlier in folder.glob(f"{level!r}-*.safetensors"):
            if earlier.name != file:
                earlier.unlink()


def _file(level: float, count: int) -> str:
    return f"{level!r}-{count}.safetensors"
