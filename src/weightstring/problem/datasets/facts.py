"""What one pass over a stored data set finds out, and what is remembered of that for the next session."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256

import torch
from torch import Tensor

from weightstring.problem.caching import cache_folder
from weightstring.problem.datasets.data import Examples, mean_of_each
from weightstring.problem.datasets.finite import check_finite
from weightstring.problem.digests.digest import bytes_in_order, head_of, text_digest

FOLDER = "digests"
SETTLED_SECONDS = 1.0
"""How old a file's last change must be for its time to tell it from a later one."""


@dataclass(frozen=True)
class Facts:
    """What is known of a data set.

    Args:
        digest: SHA-256 of all examples, or of what the user declared, and then it begins with that word.
        target_extremes: the rows of the least and of the largest mean target.
        extremes: the rows of the least and of the largest integer of each tensor of integers.
    """

    digest: str
    target_extremes: tuple[int, ...]
    extremes: tuple[int, ...]


class Survey:
    """Looks at the parts of a set, one after the other: its digest, its extremes, and that all its numbers are such.

    Args:
        count: how many examples the set has.
        name: what messages call it.

    >>> survey = Survey(2, "train")
    >>> survey.see(Examples((torch.ones(1, 3),), torch.tensor([1])))
    >>> survey.see(Examples((torch.ones(1, 3),), torch.tensor([0])))
    >>> whole = Examples((torch.ones(2, 3),), torch.tensor([1, 0]))
    >>> survey.facts().digest == whole.digest(), survey.facts().extremes
    (True, (1, 0))
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name, self._seen = count, name, 0
        self._keys: tuple[str, ...] | None = None
        self._digests: list[object] = []
        self._best: dict[tuple[int, bool], tuple[float, int]] = {}

    def see(self, part: Examples) -> None:
        """Look at the next part.

        Raises:
            InvalidData: numbers that are none.
        """
        last = self._seen + len(part) - 1
        check_finite(part, self._name, "" if len(part) == self._count else f" of examples {self._seen} to {last}")
        tensors = (*part.leaves, part.targets)
        if not self._digests:
            self._keys = part.keys
            self._digests = [sha256(head_of(x.dtype, (self._count, *x.shape[1:]))) for x in tensors]
        for found, tensor in zip(self._digests, tensors, strict=True):
            for content in bytes_in_order(tensor):
                found.update(content.numpy().data)  # type: ignore[attr-defined]
        for place, tensor in enumerate(tensors):
            if tensor.dtype in (torch.int32, torch.int64) and tensor.numel():
                of_each = tensor.reshape(len(tensor), -1)
                self._keep(place, of_each.amin(dim=1), of_each.amax(dim=1))
        means = mean_of_each(part.targets)
        self._keep(-1, means, means)
        self._seen += len(part)

    def _keep(self, place: int, least: Tensor, largest: Tensor) -> None:
        for low, values in ((True, least), (False, largest)):
            row = int(values.argmin() if low else values.argmax())
            value = float(values[row])
            best = self._best.get((place, low))
            if best is None or (value < best[0] if low else value > best[0]):
                self._best[place, low] = (value, self._seen + row)

    def facts(self) -> Facts:
        """What was found."""
        digests = [found.hexdigest() for found in self._digests]  # type: ignore[attr-defined]
        rows = {place: row for place, (_, row) in self._best.items()}
        own = tuple(row for (place, _), row in rows.items() if place >= 0)
        return Facts(text_digest(repr(self._keys), *digests), (rows[-1, True], rows[-1, False]), own)


def remembered(key: Iterable[object], changed_ns: int, find: Callable[[], Facts]) -> Facts:
    """The facts of files that have not changed since an earlier session found them; found now where there was none.

    Args:
        key: all that they depend on: files with their sizes and times, what is read of them, and as what.
        changed_ns: when the files were last changed, in nanoseconds since 1970.
        find: finds them out.
    """
    path = cache_folder(FOLDER) / f"{text_digest(*map(repr, key))}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path.read_text())
        return Facts(found["digest"], tuple(found["target_extremes"]), tuple(found["extremes"]))
    settled = time.time() - changed_ns / 1e9 > SETTLED_SECONDS
    facts = find()
    if settled:
        with suppress(OSError):  # a home that cannot be written to costs a pass over the data at each session
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(asdict(facts)))
            draft.replace(path)
    return facts
