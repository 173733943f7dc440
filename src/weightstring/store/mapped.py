"""Which store a caller means: a run directory, an object store, a mapping, or one of his own."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import TypeAlias

from weightstring.errors import InvalidSetting
from weightstring.store.directory import RunDirectory
from weightstring.store.objects import ObjectStore, at_url, is_url
from weightstring.store.store import Store

StoreLike: TypeAlias = str | os.PathLike[str] | MutableMapping[str, bytes] | Store
"""Where a run may be kept: a directory of its own, a URL such as ``s3://bucket/run``, a mapping of names to bytes, or
any :class:`Store`."""


class Mapped(Store):
    """A run in a mapping of names to bytes, such as a dict in memory.

    Args:
        content: the mapping.
    """

    travels = False

    def __init__(self, content: MutableMapping[str, bytes]) -> None:
        self._content = content

    def read(self, name: str) -> bytes | None:
        """What the mapping holds under a name."""
        return self._content.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Put a content into the mapping."""
        self._content[name] = content

    def remove(self, name: str) -> None:
        """Delete a name from the mapping."""
        self._content.pop(name, None)

    def __str__(self) -> str:
        return f"the {type(self._content).__name__} given as store"


def opened(store: StoreLike) -> Store:
    """The store that a caller names: a run directory, a URL, a mapping of names to bytes, or a store of his own.

    Raises:
        InvalidSetting: it is none of these, or the package that speaks to an object store is missing.

    >>> print(opened({}))
    the dict given as store
    """
    if isinstance(store, Store):
        return store
    if isinstance(store, str | os.PathLike):
        place = at_url(store) if is_url(store) else store
        return place if isinstance(place, ObjectStore) else RunDirectory(place)
    if isinstance(store, MutableMapping):
        return Mapped(store)
    raise InvalidSetting(
        f"store={store!r:.80}: give a directory, a URL, a mapping of names to bytes, or a weightstring Store"
    )
