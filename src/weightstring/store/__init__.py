"""Runs on disk: what is written, when, and how it is read back."""

from weightstring.store.beads import digest
from weightstring.store.checkpoints import checkpoints_in, read_checkpoint, write_checkpoint
from weightstring.store.directory import RunDirectory
from weightstring.store.files import replace_file
from weightstring.store.journal import InMemory, Journal, Round
from weightstring.store.records import Manifest, ResultRecord, RoundRecord

__all__ = [
    "InMemory",
    "Journal",
    "Manifest",
    "ResultRecord",
    "Round",
    "RoundRecord",
    "RunDirectory",
    "checkpoints_in",
    "digest",
    "read_checkpoint",
    "replace_file",
    "write_checkpoint",
]
