"""The strings of a finished run as bead files: those of large models without the ends, which the run has already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.store.beads import SMALL, sha256_of
from weightstring.store.names import Names, beads_name

NOTHING = sha256_of(b"")
"""The digest of a file that is not there, since there is no bead between the ends."""


class Kept(NamedTuple):
    """A file of beads.

    Args:
        sha256: its digest.
        between: whether it holds only the beads between the run's ends.
    """

    sha256: str
    between: bool


def keep_string(place: Names, name: str, beads: Sequence[Theta] | Thetas) -> Kept:
    """Keep a string's models under a name, those of large ones without the ends that lie there as ``"ends"``."""
    if beads[0].nbytes <= SMALL or not _are(place.models("ends"), (beads[0], beads[-1])):
        return Kept(place.keep(name, beads), False)
    if len(beads) > 2:
        return Kept(place.keep(name, beads[1:-1]), True)
    place.remove(beads_name(name))
    return Kept(NOTHING, True)


def _are(ends: Thetas, outermost: tuple[Theta, Theta]) -> bool:
    return all(torch.equal(end, bead.cpu()) for end, bead in zip(ends, outermost, strict=True))


def read_string(
    place: Names, name: str, kept: Kept, shape: tuple[int, int], ends: Sequence[Theta] | Thetas
) -> Sequence[Theta] | Thetas:
    """The models of a string (n, P), large ones in a list.

    Args:
        place: where they lie.
        name: theirs.
        kept: what was written down of the file.
        shape: (n, P).
        ends: of the run, where the file does not hold them.

    Raises:
        InvalidRun: they are damaged or of another string.
    """
    count, size = shape
    if kept == (NOTHING, True) and count == len(ends):
        return list(ends)
    beads = place.models(name, kept.sha256)
    if beads.shape != (count - len(ends), size):
        words = "string" if name == "string" else f"{name} string"
        raise InvalidRun(f"{place}/{beads_name(name)}: not the {words} of result.json")
    return [ends[0], *beads, ends[1]] if kept.between else beads
