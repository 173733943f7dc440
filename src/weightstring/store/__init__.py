"""Runs on disk: what is written, when, and how it is read back."""

from weightstring.store.beads import digest
from weightstring.store.checkpoints import checkpoints_in, read_checkpoint, write_checkpoint
from weightstring.store.directory import RunDirectory
from weightstring.store.files import replace_file
from weightstring.store.journal import Journal, Round, Unkept
from weightstring.store.mapped import Mapped, StoreLike, opened
from weightstring.store.objects import ObjectStore
from weightstring.store.records import Manifest, ResultRecord, RoundRecord
from weightstring.store.store import Store

__all__ = [
    "Journal",
    "Manifest",
    "Mapped",
    "ObjectStore",
    "ResultRecord",
    "Round",
    "RoundRecord",
    "RunDirectory",
    "Store",
    "StoreLike",
    "Unkept",
    "checkpoints_in",
    "digest",
    "opened",
    "read_checkpoint",
    "replace_file",
    "write_checkpoint",
]
