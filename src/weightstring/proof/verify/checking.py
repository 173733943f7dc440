"""``verify``: whether a certificate is true, found out without trusting a number in it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.path import WeightString
from weightstring.problem.capabilities import CERTIFIABLE, Certifiable, Traceable, certified_inputs
from weightstring.proof.certificate import FORMAT, Certificate, digests_of
from weightstring.proof.verify.curves import Array
from weightstring.proof.verify.halving import Bound, Bounds, failure_of
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.replay import Replay
from weightstring.proof.verify.tracing import statistics_of
from weightstring.protocol import LossProblem, lacking
from weightstring.text import first_line

MAX_BYTES = 1 << 30
"""What a chunk of training inputs may use, unless told otherwise."""

MOST_FAILURES = 5
AGREEMENT = 1000.0
"""Units of its own rounding by which a module and the same operations, called in another way, may differ."""

PLACES = (0.0, 0.375, 0.75, 1.0)
"""t of each segment where both are compared."""


@dataclass(frozen=True)
class Verification:
    """The result of checking a certificate.

    Args:
        ok: whether everything in it is true.
        failures: what is not, a line each.
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


@undisturbed
def verify(
    problem: LossProblem,
    string: WeightString,
    certificate: Certificate,
    *,
    seconds: float = math.inf,
    max_bytes: int = MAX_BYTES,
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
        max_bytes: memory that a chunk of training inputs may use, of which running statistics are taken as a whole.
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
    failures: list[str] = []
    proved = 0
    try:
        failures += _of_form(certificate, len(string) - 1) or _of_subject(problem, string, certificate)
        if not failures and isinstance(problem, Certifiable):
            bounds, replay = _bounds(problem, string, certificate.quantity, max_bytes)
            failures += _of_values(problem, string, certificate, bounds.plain, replay, started + seconds)
        for piece in certificate.partition if not failures else ():
            if time.perf_counter() - started > seconds:
                failures.append(f"{len(certificate.partition) - proved} intervals were not checked in time")
                break
            if failure := failure_of(piece, bounds, started + seconds):
                failures.append(failure)
                if len(failures) >= MOST_FAILURES:
                    break
            else:
                proved += 1
            on_interval(proved, len(certificate.partition))
    except (NotVerifiable, Unsupported) as error:
        failures.append(f"not verifiable: {first_line(error)}")
    except Exception as error:  # whatever a damaged certificate or a stranger's module may raise
        failures.append(f"it cannot be checked: {type(error).__name__}: {first_line(error)}")
    return Verification(not failures, tuple(failures), proved, time.perf_counter() - started)


def _of_form(certificate: Certificate, segments: int) -> list[str]:
    """What is wrong with the certificate, whatever it is about."""
    failures = []
    if certificate.format != FORMAT:
        failures.append(f"its format is {certificate.format}, not {FORMAT}: verify it with the version that made it")
    if certificate.content_digest() != certificate.seal:
        failures.append("its seal does not fit its content: the file was changed")
    if not certificate.partition:
        return [*failures, "it has no intervals"]
    numbers = (certificate.upper_bound, certificate.largest_sample, certificate.tolerance, certificate.seconds)
    wrong = [piece for piece in certificate.partition if type(piece.segment) is not int or not _real(*piece[1:])]
    if wrong or not _real(*numbers) or not isinstance(certificate.threshold, float | int | None):
        return [*failures, f"it is malformed: {wrong[0] if wrong else 'a number in it is none'}"]
    if certificate.dtype != "float64":
        failures.append(f"its bounds are in {certificate.dtype!r}, not float64")
    if not (0 < certificate.tolerance < math.inf and 0 <= certificate.seconds < math.inf):
        failures.append(f"its tolerance {certificate.tolerance!r} or time {certificate.seconds!r} is none")
    if certificate.threshold is not None and not math.isfinite(certificate.threshold):
        failures.append(f"its threshold {certificate.threshold!r} is none")
    highest = max(piece.bound for piece in certificate.partition)
    if not math.isfinite(certificate.upper_bound):
        failures.append(f"its upper bound is {certificate.upper_bound!r}, which says nothing: certify with more time")
    elif not highest <= certificate.upper_bound:
        failures.append(f"its upper bound {certificate.upper_bound!r} is below that of an interval, {highest!r}")
    if certificate.threshold is not None and not certificate.upper_bound <= certificate.threshold:
        failures.append(f"it does not reach its threshold: {certificate.upper_bound!r} > {certificate.threshold!r}")
    pieces = sorted(certificate.partition)
    covered = {segment: list(part) for segment, part in groupby(pieces, key=lambda piece: piece.segment)}
    if sorted(covered) != list(range(segments)):
        failures.append(f"its intervals lie on segments {sorted(covered)}, but the string has {segments} of them")
    for segment, part in covered.items():
        edges = [0.0, *(piece.high for piece in part)]
        inside = all(0 <= piece.low < piece.high <= 1 for piece in part)
        if not inside or [piece.low for piece in part] != edges[:-1] or edges[-1] != 1.0:
            failures.append(
                f"its intervals on segment {segment} leave a gap or overlap: they do not cover t from 0 to 1"
            )
    return failures


def _real(*numbers: object) -> bool:
    return all(isinstance(number, float | int) and not isinstance(number, bool) for number in numbers)


def _of_subject(problem: LossProblem, string: WeightString, certificate: Certificate) -> list[str]:
    """Whether it is about this quantity, this string, these data and this module."""
    if not isinstance(problem, Certifiable):
        return [lacking(problem, *CERTIFIABLE)]
    if certificate.quantity not in problem.quantities:
        return [f"its quantity {certificate.quantity!r} is none of {', '.join(problem.quantities)}"]
    if certificate.evaluation != problem.evaluation:
        return [f"it was measured on {certificate.evaluation!r}, the problem's loss is on {problem.evaluation!r}"]
    now = digests_of(problem, string.beads, certificate.quantity)
    names = sorted(now.keys() | certificate.digests.keys())
    return [
        f"the {name} are not those that it is about: they were changed, or it is of another run"
        for name in names
        if now.get(name) != certificate.digests.get(name)
    ]


def _bounds(problem: Certifiable, string: WeightString, quantity: str, max_bytes: int) -> tuple[Bounds, Replay | None]:
    """Bounds by the second arithmetic; for a module also its replay."""
    if isinstance(problem, Traceable):
        try:
            replay = Replay(problem, quantity, max_bytes)
        except NotVerifiable:
            raise
        except Exception as error:  # whatever tracing a stranger's code may raise
            raise NotVerifiable(f"the module cannot be traced: {first_line(error)}") from None
        beads: list[Array] = [bead.double().cpu().numpy() for bead in string.beads]

        def by(generators: int) -> Bound:
            return lambda segment, low, high: replay.bound(beads[segment], beads[segment + 1], low, high, generators)

        return Bounds(by(0), by(replay.generators) if replay.generators else None), replay

    def bound(segment: int, low: float, high: float) -> float:
        edges = [torch.tensor([edge], dtype=torch.float64, device=problem.device) for edge in (low, high)]
        return float(problem.upper_bounds(string.beads[segment], string.beads[segment + 1], *edges))

    return Bounds(bound), None


def _of_values(
    problem: Certifiable,
    string: WeightString,
    certificate: Certificate,
    bound: Bound,
    replay: Replay | None,
    deadline: float,
) -> list[str]:
    """Whether the traced operations give what the module gives, and no bound at a place lies under a value there."""
    upper, sample = certificate.upper_bound, certificate.largest_sample
    if not (math.isfinite(sample) and sample <= upper):
        return [f"its largest sample {sample!r} is above its upper bound {upper!r}"]
    beads, quantity = string.beads, certificate.quantity
    for segment in range(len(beads) - 1):
        if time.perf_counter() > deadline:
            break
        ts = torch.tensor(PLACES, dtype=torch.float64, device=beads.device)
        exact = torch.lerp(beads[segment].double(), beads[segment + 1].double(), ts.unsqueeze(1))
        measured = problem.measure(exact.to(beads.dtype), [quantity])[quantity].tolist()
        where = f"t = {{}} of segment {segment}"
        if replay is not None:
            by_trace, by_itself = replay.printed(exact[1].to(beads.dtype))
            allowed = AGREEMENT * torch.finfo(beads.dtype).eps * max(abs(by_trace), abs(by_itself))
            if not abs(by_trace - by_itself) <= allowed:
                return [
                    f"the module gives {by_itself!r} at {where.format(PLACES[1])}, what torch traces of it "
                    f"{by_trace!r}: not the same function"
                ]
        for t, theta, printed in zip(PLACES, exact, measured, strict=True):
            value = _in_float64(problem, theta, quantity)
            here = bound(segment, t, t)
            if replay is not None and not value <= here:
                first, last = (bead.double().cpu().numpy() for bead in (beads[segment], beads[segment + 1]))
                here = replay.value(first, last, t)
            if math.isnan(value):  # something is computed in a coarser dtype whatever the module's: what that leaves
                value = printed - torch.finfo(torch.float32).eps ** 0.5 * abs(printed)
            elif beads.dtype == torch.float64:
                value = max(value, printed)
            if not value <= here:
                return [
                    f"the module gives {value!r} at {where.format(t)}, where as traced it is at most {here!r}: not the "
                    "same function"
                ]
    return []


class _Unrounded(TorchFunctionMode):
    """Raises where anything is computed in a dtype coarser than float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch calls it."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            raise TypeError(f"{func} gives {result.dtype}")
        return result


def _in_float64(problem: Certifiable, theta: Theta, quantity: str) -> float:
    """What the module and the criterion themselves give at θ (P,) in float64; NaN where they cannot."""
    if not isinstance(problem, Traceable):
        return float(problem.loss(theta.double().unsqueeze(0)))
    (net, criterion, examples, block), estimated = certified_inputs(problem, quantity)
    try:
        net = copy.deepcopy(net).double()
        criterion = copy.deepcopy(criterion).double() if isinstance(criterion, nn.Module) else criterion
        parameters = {name: value.double() for name, value in problem.layout.views(theta).items()}
        if estimated is not None:
            found = statistics_of(estimated, parameters, torch.float64)
            parameters |= {name.removeprefix("net."): value for name, value in found.items()}
        total = 0.0
        for part in examples.chunks(block):
            targets, *leaves = (x.double() if x.is_floating_point() else x for x in (part.targets, *part.leaves))
            named = None if examples.keys is None else dict(zip(examples.keys, leaves, strict=True))
            with torch.no_grad(), _Unrounded():
                output = torch.func.functional_call(net, parameters, () if named else tuple(leaves), named)
                total += float(criterion(output, targets)) * len(part)
    except Exception:  # whatever a stranger's module may raise
        return math.nan
    return total / len(examples)
