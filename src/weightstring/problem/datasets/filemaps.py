"""Tensors that are mapped from files: found, read block by block, and watched for changes.

Whoever maps a file (``numpy.memmap``, ``torch.load(mmap=True)``, ``torch.from_file``, safetensors), the system knows
which one lies at an address. It is mapped anew here, for reading alone, so that nothing is taken from the user's own
mapping, which may be written to.
"""

from __future__ import annotations

import mmap
import os
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weightstring.errors import InvalidData
from weightstring.problem.precision import precision_of

State = tuple[int, int, int, int, int]
"""A file's device, number, size, and times of the last changes to its content and to its entry, in nanoseconds."""

MAPS = Path("/proc/self/smaps")
"""Where Linux says what is mapped where."""

LET_GO_BYTES = 2**26
"""Bytes read from a mapping after which its pages are let go of; the system's cache still has them."""

AROUND = 16
"""How many times as many bytes as are read the system maps where they are scattered."""


@dataclass(frozen=True)
class Place:
    """Where the first number of a tensor lies: in a file, so many bytes after its beginning."""

    path: str
    offset: int


def place_of(array: Tensor | np.ndarray) -> Place | None:
    """Where an array is mapped from; None where it is in memory, or holds what its file does not.

    >>> place_of(torch.ones(3))
    """
    if isinstance(array, Tensor) and (array.device.type != "cpu" or array.layout is not torch.strided):
        return None
    start = array.data_ptr() if isinstance(array, Tensor) else array.__array_interface__["data"][0]
    if MAPS.exists():
        length = (
            sum((n - 1) * s for n, s in zip(array.shape, array.stride(), strict=True)) * array.element_size()
            if isinstance(array, Tensor)
            else sum((n - 1) * abs(s) for n, s in zip(array.shape, array.strides, strict=True))
        )
        return _mapped_at(start, start + length)
    root = array
    while isinstance(root, np.memmap) and isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    return Place(str(root.filename), root.offset + start - root.__array_interface__["data"][0])


def _mapped_at(start: int, last: int) -> Place | None:
    """Where the bytes at these addresses are mapped from."""
    found: Place | None = None
    for line in MAPS.read_text(errors="surrogateescape").splitlines():
        first, *rest = line.split(None, 5)
        if not first.endswith(":"):
            low, high = (int(address, 16) for address in first.split("-"))
            path = rest[4] if len(rest) > 4 else ""
            inside = low <= start and last < high and path.startswith("/") and not path.startswith("/dev/")
            same = inside and os.path.exists(path) and os.stat(path).st_ino == int(rest[3])
            found = Place(path, int(rest[1], 16) + start - low) if same else None
        elif first == "Anonymous:" and found is not None:
            # Pages of its own: a private mapping that was written to, of which the file knows nothing.
            return found if rest[0] == "0" else None
    return None


class FileMap:
    """A file mapped for reading alone. It must not change for as long as anybody reads it.

    Args:
        path: of the file.
        state: what it was like when it was first opened; None: as it is now.

    Raises:
        InvalidData: it is not as it was.
    """

    def __init__(self, path: str, state: State | None = None) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        if state is None:
            # What others wrote by a mapping of theirs is written out, so that their next writes show in the times.
            os.fsync(self._descriptor)
        self.state = _state(self._descriptor) if state is None else state
        self._read = dict.fromkeys((True, False), 0)
        self.check()

    def __reduce__(self) -> tuple[type[FileMap], tuple[str, State]]:
        return FileMap, (self.path, self.state)

    def check(self) -> None:
        """Refuse a file that was written to.

        Raises:
            InvalidData: it was.
        """
        now = _state(self._descriptor)
        if now != self.state:
            when = datetime.fromtimestamp(max(now[3:]) / 1e9).isoformat(" ", "seconds")
            raise InvalidData(
                f"{self.path} was written to ({now[2]} bytes, at {when}) after a problem was built on it: a loss is a "
                "function of theta only while its data stay as they are; build the problem anew, in a run of its own"
            )

    @cached_property
    def in_order(self) -> tuple[mmap.mmap, Tensor]:
        """All bytes, for reading consecutive ones."""
        return self._mapped()

    @cached_property
    def scattered(self) -> tuple[mmap.mmap, Tensor]:
        """All bytes, for reading some here and there: nothing is read ahead."""
        mapping, content = self._mapped()
        if hasattr(mmap, "MADV_RANDOM"):
            mapping.madvise(mmap.MADV_RANDOM)
        return mapping, content

    def _mapped(self) -> tuple[mmap.mmap, Tensor]:
        mapping = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it cannot be written to is what is wanted
            return mapping, torch.frombuffer(mapping, dtype=torch.uint8)

    def let_go(self, in_order: bool, read: int) -> None:
        """Count bytes that were read, and now and then give back the pages that they are on."""
        self._read[in_order] += read if in_order else AROUND * read
        if self._read[in_order] >= LET_GO_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            (self.in_order if in_order else self.scattered)[0].madvise(mmap.MADV_DONTNEED)
            self._read[in_order] = 0


def _state(descriptor: int) -> State:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True, eq=False)
class Mapped:
    """A tensor (N, ...) in a file.

    Args:
        file: where it is.
        offset: of its first number, in bytes.
        dtype: of its numbers in the file.
        shape: (N, ...).
        strides: from one index to the next, in numbers.
    """

    file: FileMap
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    _views: dict[bool, Tensor] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Callable[..., Mapped], tuple[object, ...]]:
        return Mapped, (self.file, self.offset, self.dtype, self.shape, self.strides)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: slice | Tensor, dtype: torch.dtype | None) -> Tensor:
        """Some rows, in memory, in this precision.

        Raises:
            InvalidData: the file was written to.
        """
        self.file.check()
        in_order = isinstance(rows, slice)
        if in_order not in self._views:
            _, content = self.file.in_order if in_order else self.file.scattered
            span = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)) + 1
            numbers = content[self.offset : self.offset + span * self.dtype.itemsize].view(self.dtype)
            self._views[in_order] = numbers.as_strided(self.shape, self.strides, numbers.storage_offset())
        part = self._views[in_order][rows]
        kept = part.to(precision_of(self.dtype, dtype), copy=in_order, memory_format=torch.contiguous_format)
        self.file.let_go(in_order, kept.nbytes)
        return kept
