"""The networks of a sweep, and how they are kept: of each block of seeds and threshold a list and a bead file."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

from weightstring.arrays import Theta, Thetas
from weightstring.codec import Record
from weightstring.errors import InvalidRun
from weightstring.protocol import LossProblem
from weightstring.store import replace_file
from weightstring.store.beads import read_beads, write_beads
from weightstring.store.files import writing
from weightstring.store.members import member
from weightstring.study.sweep.forms import Sweepable
from weightstring.study.sweep.records import GO_ON, read_record
from weightstring.study.sweep.selection import Settled


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
BLOCK = "seeds-"


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
        _write_list(folder, level, record)
        for earlier in folder.glob(f"{level!r}-*.safetensors"):
            if earlier.name != file:
                earlier.unlink()


def _write_list(folder: Path, level: float, record: EndsRecord) -> None:
    with writing(folder / f"{level!r}.json", GO_ON):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / f"{level!r}.json", msgspec.json.encode(record))


def _file(level: float, count: int) -> str:
    return f"{level!r}-{count}.safetensors"


WHOLE = ""
"""In place of a block's name: networks in the variant's folder itself, where sweeps kept them before blocks."""


@dataclass
class KeptNetworks:
    """The networks of a variant, in blocks of seeds, each in a folder of its own that one process at a time writes.

    Args:
        folder: the variant's; None: in memory.
        block: seeds in a block.
        problem: whose networks; None where only seeds are asked for.
    """

    folder: Path | None
    block: int
    problem: Sweepable | None = None
    _whole: dict[tuple[str, float], EndsRecord] = field(default_factory=dict, repr=False)
    _networks: dict[tuple[str, float], Networks] = field(default_factory=dict, repr=False)

    def settled(self, level: float) -> Settled:
        """Which seeds have been trained to a threshold.

        Raises:
            InvalidRun: a list is damaged, or the folder cannot be looked into.
        """
        found = [self._of(name, level) for name in self._names()]
        return Settled({s for each in found for s in each.reached}, {s for each in found for s in each.failed})

    def told(self, number: int, level: float) -> Settled:
        """What a block says of a threshold."""
        return self._of(block_name(number), level)

    def tell(self, number: int, level: float, settled: Settled) -> None:
        """Write of a block which seeds reach a threshold, where their models are kept elsewhere."""
        record = EndsRecord(seeds=tuple(settled.reached), failed=tuple(settled.failed), networks="", sha256="")
        if self.folder is None:
            self._whole[block_name(number), level] = record
        else:
            _write_list(self.folder / block_name(number), level, record)

    def thetas(self, level: float, seeds: Sequence[int]) -> Thetas:
        """The networks of seeds that reached a threshold (n, P).

        Raises:
            InvalidRun: a file is damaged, or of other networks.
        """
        assert self.problem is not None
        missing, found = set(seeds), dict[int, Theta]()
        for name in self._names() if missing else ():
            if here := missing.intersection(self._of(name, level).reached):
                networks = self._read(name, level)
                places = {seed: place for place, seed in enumerate(networks.seeds)}
                found |= {seed: networks.thetas[places[seed]] for seed in here}
                missing -= here
        if not found:
            return self.problem.initial(0).new_empty(0, self.problem.size)
        return torch.stack([found[seed] for seed in seeds])

    def keep(self, level: float, reached: Mapping[int, Theta], failed: Collection[int]) -> None:
        """Add networks, and seeds that did not get there, to the blocks of theirs."""
        for number in sorted({seed // self.block for seed in (*reached, *failed)}):
            name = block_name(number)
            known = self._read(name, level)
            thetas = dict(zip(known.seeds, known.thetas, strict=True))
            thetas |= {seed: theta for seed, theta in reached.items() if seed // self.block == number}
            seeds = tuple(sorted(thetas))
            over = {*known.failed, *(seed for seed in failed if seed // self.block == number)}
            stacked = torch.stack([thetas[seed] for seed in seeds]) if seeds else known.thetas
            networks = Networks(seeds, stacked, tuple(sorted(over)))
            if self.folder is not None:
                write_networks(self.folder / name, level, networks)
            self._networks[name, level] = networks

    def _names(self) -> list[str]:
        """Of the blocks there are."""
        if self.folder is None:
            return sorted({name for name, _ in (*self._networks, *self._whole)})
        try:
            names = [name for name in os.listdir(self.folder) if name.startswith(BLOCK)]
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise InvalidRun(
                f"{self.folder}: cannot be looked into: {problem.strerror}; make it a readable folder, or delete it, "
                "and its networks are trained again"
            ) from None
        return [WHOLE, *sorted(names)]

    def _of(self, name: str, level: float) -> Settled:
        """What one block says, read once where it cannot say more."""
        if (name, level) in self._whole:
            record: EndsRecord | None = self._whole[name, level]
        elif self.folder is None:
            known = self._networks.get((name, level))
            return Settled() if known is None else Settled(known.seeds, known.failed)
        else:
            record = read_ends(member(self.folder, name), level)
            if record is not None and len(record.seeds) + len(record.failed) == self.block:
                self._whole[name, level] = record
        return Settled() if record is None else Settled(record.seeds, record.failed)

    def _read(self, name: str, level: float) -> Networks:
        """The networks of one block, read again where they have become more."""
        assert self.problem is not None
        now = self._of(name, level)
        known = self._networks.get((name, level))
        if known is None or (known.seeds, known.failed) != (now.reached, now.failed):
            kept = None if self.folder is None else read_networks(member(self.folder, name), level, self.problem)
            none = self.problem.initial(0).new_empty(0, self.problem.size)
            known = Networks((), none) if kept is None else kept
            self._networks[name, level] = known
        return known


def block_name(number: int) -> str:
    """The folder of a block of seeds.

    >>> block_name(3)
    'seeds-0003'
    """
    return f"{BLOCK}{number:04d}"
