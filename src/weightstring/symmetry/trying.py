"""What is tried to bring one model near another, what its line is like, and what is taken of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weightstring.arrays import distance
from weightstring.symmetry.candidates import Matched, with_factors
from weightstring.symmetry.lines import Heights, Lines, barrier, worse
from weightstring.symmetry.moves import Move
from weightstring.symmetry.spec import Symmetry


@dataclass(frozen=True)
class Candidate:
    """One way to align.

    Args:
        method: by what units were matched; ``"none"``: the second model as it is.
        rescaled: whether units were scaled too.
        mapped: whether linear maps mixed units too.
        distance: ‖θ_b − θ_a‖ afterwards.
        barrier: the largest evaluation loss at the ends and in the middle of the straight line, over the mean of its
            ends; for a large evaluation set, on the part that searches screen first.
    """

    method: str
    rescaled: bool
    distance: float
    barrier: float
    mapped: bool = False


class Tried(NamedTuple):
    """One way, and its line."""

    candidate: Candidate
    move: Move
    sketch: Heights
    source: Matched


def tries(lines: Lines, symmetry: Symmetry, found: Iterable[Matched], rescale: bool) -> Iterator[Tried]:
    """Each permutation by itself and with factors, the model as it is first."""
    for source in found:
        method = source.method
        moves = list(with_factors(symmetry, lines.a, lines.b, source.move, rescale and method != "none"))
        for move in moves[-1:] if source.move.maps else moves:
            yield tried_move(lines, source, move)


def tried_move(lines: Lines, source: Matched, move: Move) -> Tried:
    """A move and the line to what it makes."""
    copy = move(lines.b)
    sketch = lines.sketch(copy)
    length = distance(lines.a, copy)
    candidate = Candidate(source.method, bool(move.factors), length, barrier(sketch), bool(move.maps))
    return Tried(candidate, move, sketch, source)


def taken(tried: Sequence[Tried], by: str) -> Tried:
    """The one of the least barrier, or the nearest; the first, the model as it is, where nothing is better."""
    if by == "barrier":
        tried = [each for each in tried if not any(worse(each.sketch, other.sketch) for other in tried)]
    return min(tried, key=lambda each: each.candidate.distance)
