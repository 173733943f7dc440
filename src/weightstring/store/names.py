"""Bytes under names: all that a run asks of the place where it is kept, and records and models as such bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.store.beads import bead_bytes, parse_beads, sha256_of
from weightstring.store.files import UNREADABLE, one_line

RecordType = TypeVar("RecordType", bound=msgspec.Struct)


class Names(ABC):
    """What keeps bytes under names."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """What was written under a name; None: nothing, or it was removed."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Keep a content in place of what the name held."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Forget a name, if it is there."""

    @abstractmethod
    def __str__(self) -> str:
        """Where it is, for messages."""

    def has(self, name: str) -> bool:
        """Whether something is kept under a name."""
        return self.read(name) is not None

    def keep(self, name: str, thetas: Sequence[Theta] | Thetas) -> str:
        """Keep models of one size and dtype; the SHA-256 of what was written.

        Raises:
            StoreFailed: the disk refuses.
        """
        content = bead_bytes(thetas)
        self.write(beads_name(name), content)
        return sha256_of(content)

    def models(self, name: str, sha256: str | None = None) -> Thetas:
        """The models (k, P) that are kept under a name.

        Args:
            name: theirs.
            sha256: what their digest must be; None where they are checked otherwise.

        Raises:
            InvalidRun: they are missing, damaged, or were changed.
        """
        content, place = self.read(beads_name(name)), f"{self}/{beads_name(name)}"
        if content is None:
            raise InvalidRun(f"{place}: cannot be read: it is missing")
        return parse_beads(place, content, sha256)

    def record(self, name: str, kind: type[RecordType]) -> RecordType | None:
        """What is kept under a name, as a record; None: nothing.

        Raises:
            InvalidRun: it is damaged.
        """
        content = self.read(name)
        try:
            return None if content is None else msgspec.json.decode(content, type=kind)
        except UNREADABLE as problem:
            raise InvalidRun(f"{self}/{name}: damaged, or not written by weightstring: {one_line(problem)}") from None

    def required(self, name: str, kind: type[RecordType]) -> RecordType:
        """The same, of a name that must be there.

        Raises:
            InvalidRun: it is damaged or missing.
        """
        record = self.record(name, kind)
        if record is None:
            raise InvalidRun(f"{self}/{name}: cannot be read: it is missing")
        return record


def beads_name(name: str) -> str:
    """Under which models are kept.

    >>> beads_name("ends")
    'beads/ends.safetensors'
    """
    return f"beads/{name}.safetensors"
