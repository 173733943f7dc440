"""From a string whose samples are under the threshold to one that is proved to be: certify, refine, certify again.

Where the proof fails by a little, the loss comes too near to the threshold, between samples or at one. That segment is
searched again under a lower level, half-way between its ends and the threshold, which puts beads where it is loose.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from weightstring.arrays import Theta
from weightstring.certification.bisection import Budget
from weightstring.certification.certificate import Certificate, Piece
from weightstring.certification.enclosing import enclosing
from weightstring.certification.proving import MAX_BYTES, certificate_of, partition_of, pieces_of
from weightstring.errors import InvalidSetting
from weightstring.pairs import Pair, Settings, connect_all
from weightstring.path import Bound, WeightString
from weightstring.problem.module import ModuleProblem
from weightstring.progress import Display
from weightstring.protocol import LossProblem
from weightstring.result import Result, from_run, to_record
from weightstring.search import Greedy, MaxBeads
from weightstring.store import RunDirectory

INTERVALS = 64
"""Intervals computed on a segment before it counts as loose; a neighbouring pair of beads takes fewer than ten."""

ROUNDS = 5
"""Times that loose segments are searched again, each time under a lower level."""

BEADS = 16
"""Beads at most, ends counted, in place of a loose segment."""


def certified(
    problem: LossProblem,
    result: Result,
    settings: Settings,
    seconds: float,
    tol: float,
    progress: bool | Display | None,
) -> Result:
    """A connected result with its certificate, its string refined where the proof asks for it.

    Args:
        problem: the loss.
        result: a search that connected.
        settings: how its search went, which is how segments are refined.
        seconds: when to stop, whatever is proved by then.
        tol: see :func:`weightstring.certify`.
        progress: as for the search.

    Raises:
        Unsupported: an operation has no rule.
        InvalidSetting: the threshold binds several quantities.
    """
    quantity = only_quantity(result.names)
    started = time.perf_counter()
    segments: list[tuple[Piece, ...] | None] = [None] * (len(result.string) - 1)
    beads = list(result.string.beads)
    highest = -torch.inf
    for attempt in range(ROUNDS + 1):
        remaining = seconds - (time.perf_counter() - started)
        new = [i for i, pieces in enumerate(segments) if pieces is None]
        found = partition_of(
            problem,
            torch.stack(beads),
            result.threshold,
            tol,
            quantity,
            Budget(max(remaining, 1e-3), INTERVALS * len(new)),
            segments=new,
        )
        highest = max(highest, found.highest)
        for piece in pieces_of(found):
            segments[piece.segment] = (*(segments[piece.segment] or ()), piece)
        loose = [i for i, pieces in enumerate(segments) if pieces and max(p.bound for p in pieces) > result.threshold]
        if not loose or attempt == ROUNDS or time.perf_counter() - started >= seconds:
            break
        inserted = _searched_again(problem, beads, loose, result.threshold, settings, progress)
        if not any(len(part) > 2 for part in inserted.values()):
            break
        beads, segments = _spliced(beads, segments, inserted)
    return _with_certificate(problem, result, beads, segments, quantity, tol, highest, time.perf_counter() - started)


def require_certifiable(problem: LossProblem, bind: str) -> None:
    """Refuse before a search what could not be certified after it.

    Raises:
        Unsupported: an operation has no rule.
        InvalidSetting: the threshold binds several quantities.
    """
    quantity = only_quantity(Bound(problem, bind).names)
    if isinstance(problem, ModuleProblem):
        ends = torch.zeros(2, problem.size, dtype=torch.float64, device=problem.device)
        enclosing(problem, ends, quantity, MAX_BYTES).rehearse()


def kept(directory: RunDirectory, result: Result) -> Result:
    """The result with its certificate, written into its run directory.

    Raises:
        StoreFailed: the disk refuses.
    """
    assert result.certificate is not None
    with directory.locked():
        if len(result.string) != directory.result().string.beads:
            result.string.measure()
            directory.finish(to_record(result), list(result.string.beads))
        result.certificate.save(directory.certificate)
    return from_run(directory, result.string.problem)


def only_quantity(names: Sequence[str]) -> str:
    """The one quantity that a threshold binds.

    Raises:
        InvalidSetting: it binds several.
    """
    if len(names) > 1:
        raise InvalidSetting(f"a certificate bounds one quantity, not {' and '.join(names)}: certify each by itself")
    return names[0]


def _searched_again(
    problem: LossProblem,
    beads: Sequence[Theta],
    loose: Sequence[int],
    threshold: float,
    settings: Settings,
    progress: bool | Display | None,
) -> dict[int, list[Theta]]:
    """The beads from one end of each loose segment to the other, under a lower level where that was found."""
    quantity = {"evaluate": "loss", "train": "train_loss"}.get(settings.bind, settings.bind)
    values = problem.measure(torch.stack(list(beads)), [quantity])[quantity].tolist()
    levels = {i: (max(values[i], values[i + 1]) + threshold) / 2 for i in loose}
    pairs = [Pair(beads[i], beads[i + 1], levels[i], None) for i in loose if levels[i] < threshold]
    asked = [i for i in loose if levels[i] < threshold]
    again = replace(settings, strategy=Greedy(), stop=MaxBeads(BEADS), executor=None, task=None)
    results = connect_all(problem, pairs, again, progress) if pairs else []
    return {i: list(found.string.beads) for i, found in zip(asked, results, strict=True) if found.connected}


def _spliced(
    beads: Sequence[Theta], segments: Sequence[tuple[Piece, ...] | None], inserted: dict[int, list[Theta]]
) -> tuple[list[Theta], list[tuple[Piece, ...] | None]]:
    new_beads = [beads[0]]
    new_segments: list[tuple[Piece, ...] | None] = []
    for i, pieces in enumerate(segments):
        if len(inserted.get(i, [])) > 2:
            new_beads += inserted[i][1:]
            new_segments += [None] * (len(inserted[i]) - 1)
        else:
            new_beads.append(beads[i + 1])
            new_segments.append(pieces)
    return new_beads, new_segments


def _with_certificate(
    problem: LossProblem,
    result: Result,
    beads: Sequence[Theta],
    segments: Sequence[tuple[Piece, ...] | None],
    quantity: str,
    tol: float,
    highest: float,
    seconds: float,
) -> Result:
    pieces = tuple(piece._replace(segment=i) for i, found in enumerate(segments) for piece in found or ())
    whole = torch.stack(list(beads))
    certificate: Certificate = certificate_of(problem, whole, quantity, result.threshold, tol, pieces, highest, seconds)
    refined = len(beads) > len(result.string)
    string = WeightString(problem, whole) if refined else result.string
    return replace(result, string=string, certificate=certificate)
