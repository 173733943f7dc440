"""``verify``: whether a certificate is true, found out without trusting a number in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import torch

from weightstring.certification.certificate import FORMAT, Certificate, Piece, digests_of
from weightstring.path import WeightString
from weightstring.problem.analytic import Surface
from weightstring.problem.functional import first_line
from weightstring.problem.module import ModuleProblem
from weightstring.protocol import LossProblem
from weightstring.verification.lines import Array
from weightstring.verification.operations import NotVerifiable
from weightstring.verification.replay import Replay

MOST_HALVINGS = 12
MOST_FAILURES = 5
AGREEMENT = 1e-3
"""How far, relative to it, the value recomputed here may be from the problem's own, which may compute in float32."""

Bound = Callable[[int, float, float], float]
"""(segment, low, high) → an upper bound there."""


@dataclass(frozen=True)
class Verification:
    """What became of a certificate.

    Args:
        ok: whether everything in it was found to be true.
        failures: what was not, a line each.
        intervals: how many of its intervals were proved again.
        seconds: it took.
    """

    ok: bool
    failures: tuple[str, ...]
    intervals: int
    seconds: float

    def __str__(self) -> str:
        if self.ok:
            return f"verified: {self.intervals} intervals proved again by other arithmetic, {self.seconds:.1f} s"
        return "NOT verified:\n" + "\n".join(f"- {failure}" for failure in self.failures)


def verify(
    problem: LossProblem,
    string: WeightString,
    certificate: Certificate,
    *,
    seconds: float = math.inf,
    on_interval: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> Verification:
    """Check a certificate again, by arithmetic that shares nothing with that which made it.

    The beads, the data, the module and the criterion must be those that it speaks of, its intervals must cover the
    whole string, and the bound of each interval is proved anew: where this plainer arithmetic is looser, the interval
    is halved until its parts are proved, or one sample in it refutes the bound.

    Args:
        problem: the loss.
        string: the string that the certificate is about.
        certificate: what to check; a false one is never an error, but a :class:`Verification` that says so.
        seconds: time at most; what was not checked by then is not verified.
        on_interval: told after each interval how many are done, of how many.

    >>> import weightstring as ws
    >>> from weightstring.problem.surfaces import Spike
    >>> spike = Spike()
    >>> chord = ws.WeightString(spike, torch.stack(spike.ends))
    >>> certificate = ws.certify(spike, chord, threshold=0.83)
    >>> verify(spike, chord, certificate).ok
    True
    """
    started = time.perf_counter()
    failures = _of_form(certificate, len(string) - 1)
    if isinstance(problem, ModuleProblem | Surface):
        failures += _of_digests(problem, string, certificate)
    else:
        failures.append(f"{type(problem).__name__}: only a ModuleProblem or an analytic surface can be verified")
    proved = 0
    if not failures:
        try:
            bound = _bound(problem, string, certificate.quantity)
            if isinstance(problem, ModuleProblem):
                failures += _of_values(problem, string, certificate, bound)
            for piece in certificate.partition if not failures else ():
                if time.perf_counter() - started > seconds:
                    failures.append(f"{len(certificate.partition) - proved} intervals were not checked in time")
                    break
                if found := _of_piece(piece, bound, started + seconds):
                    failures.append(found)
                    if len(failures) >= MOST_FAILURES:
                        break
                else:
                    proved += 1
                on_interval(proved, len(certificate.partition))
        except NotVerifiable as error:
            failures.append(f"not verifiable: {error}")
    return Verification(not failures, tuple(failures), proved, time.perf_counter() - started)


def _of_form(certificate: Certificate, segments: int) -> list[str]:
    """What is wrong with the certificate in itself."""
    failures = []
    if certificate.format != FORMAT:
        failures.append(f"its format is {certificate.format}, not {FORMAT}: verify it with the version that made it")
    if certificate.content_digest() != certificate.seal:
        failures.append("its seal does not fit its content: the file was changed")
    if not certificate.partition:
        return [*failures, "it has no intervals"]
    highest = max(piece.bound for piece in certificate.partition)
    if not (math.isfinite(certificate.upper_bound) and highest <= certificate.upper_bound):
        failures.append(f"its upper bound {certificate.upper_bound!r} is below that of an interval, {highest!r}")
    if certificate.threshold is not None and not certificate.upper_bound <= certificate.threshold:
        failures.append(f"it does not reach its threshold: {certificate.upper_bound!r} > {certificate.threshold!r}")
    pieces = sorted(certificate.partition)
    covered = {segment: list(part) for segment, part in groupby(pieces, key=lambda piece: piece.segment)}
    if sorted(covered) != list(range(segments)):
        failures.append(f"its intervals lie on segments {sorted(covered)}, but the string has {segments} of them")
    for segment, part in covered.items():
        edges = [0.0, *(piece.high for piece in part)]
        if [piece.low for piece in part] != edges[:-1] or edges[-1] != 1.0:
            failures.append(
                f"its intervals on segment {segment} leave a gap or overlap: they do not cover t from 0 to 1"
            )
    return failures


def _of_digests(problem: ModuleProblem | Surface, string: WeightString, certificate: Certificate) -> list[str]:
    """Whether it speaks of this string, these data, this module."""
    try:
        now = digests_of(problem, string.beads, certificate.quantity)
    except ValueError as error:
        return [f"its quantity {certificate.quantity!r} cannot be measured: {first_line(error)}"]
    names = sorted(now.keys() | certificate.digests.keys())
    return [
        f"the {name} are not those that it is about: they were changed, or it is of another run"
        for name in names
        if now.get(name) != certificate.digests.get(name)
    ]


def _bound(problem: LossProblem, string: WeightString, quantity: str) -> Bound:
    if isinstance(problem, ModuleProblem):
        try:
            replay = Replay(problem, quantity)
        except NotVerifiable:
            raise
        except Exception as error:  # whatever tracing a stranger's code may raise
            raise NotVerifiable(f"the module cannot be traced: {first_line(error)}") from None
        beads: list[Array] = [bead.double().cpu().numpy() for bead in string.beads]
        return lambda segment, low, high: replay.bound(beads[segment], beads[segment + 1], low, high)
    assert isinstance(problem, Surface)

    def bound(segment: int, low: float, high: float) -> float:
        edges = [torch.tensor([edge], dtype=torch.float64, device=problem.device) for edge in (low, high)]
        return float(problem.upper_bounds(string.beads[segment], string.beads[segment + 1], *edges))

    return bound


def _of_values(problem: ModuleProblem, string: WeightString, certificate: Certificate, bound: Bound) -> list[str]:
    """Whether what is computed here is what the problem measures: at both ends and in the middle."""
    beads = string.beads
    last = len(beads) - 2
    for segment, t in ((0, 0.0), (last // 2, 0.5), (last, 1.0)):
        place = torch.lerp(beads[segment], beads[segment + 1], t)
        measured = float(problem.measure(place.unsqueeze(0), [certificate.quantity])[certificate.quantity])
        here = bound(segment, t, t)
        slack = AGREEMENT * (1e-3 + abs(measured))
        if certificate.quantity == "loss" and not abs(here - measured) <= slack + 1e-6:
            return [
                f"the module as traced gives {here!r} at t = {t} of segment {segment}, where the problem measures "
                f"{measured!r}: not the same function"
            ]
    return []


def _of_piece(piece: Piece, bound: Bound, deadline: float) -> str | None:
    """What is wrong with an interval; None if its bound is proved."""
    waiting = [(piece.low, piece.high, 0)]
    where = f"segment {piece.segment}, t from {piece.low:.6g} to {piece.high:.6g}"
    while waiting:
        low, high, halvings = waiting.pop()
        if bound(piece.segment, low, high) <= piece.bound:
            continue
        middle = (low + high) / 2
        value = bound(piece.segment, middle, middle)
        if not value <= piece.bound + 1e-7 * (1e-3 + abs(piece.bound)):
            return f"refuted: the value at t = {middle:.6g} is {value!r}, above the bound {piece.bound!r} of {where}"
        if halvings == MOST_HALVINGS or time.perf_counter() > deadline:
            return f"not proved in {2**halvings} parts or in time: the bound {piece.bound!r} of {where}"
        waiting += [(low, middle, halvings + 1), (middle, high, halvings + 1)]
    return None
