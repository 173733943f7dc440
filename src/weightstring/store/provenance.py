"""Where a run comes from: its files, its command and its date. Nothing of it decides what is the same run."""

from __future__ import annotations

import msgspec

from weightstring.codec import Record


class FileRecord(Record, frozen=True, kw_only=True):
    """A checkpoint that was read: a file, or a folder of several; or no file, such as ``random:1``."""

    name: str
    """Without the folders above it."""
    sha256: str | None = None
    """Of several files, of their names and digests."""
    size: int | None = None
    """Bytes."""
    modified: str | None = None
    """UTC."""


class Provenance(Record, frozen=True, kw_only=True):
    """When and by what command a run began, and which files its models were read from."""

    begun: str = ""
    """UTC."""
    command: tuple[str, ...] = ()
    """The words of the command line; empty: it was begun from Python."""
    files: dict[str, FileRecord] = msgspec.field(default_factory=dict)
    """Of the models by what they are called: ``a``, ``b``, ``given1``, …"""
