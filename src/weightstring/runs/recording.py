"""A result in its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta, Thetas
from weightstring.codec import finite_or_none, none_as_infinity
from weightstring.errors import InvalidRun
from weightstring.path import BARRIERS, StringCurve, WeightString
from weightstring.path.adaptive import between
from weightstring.path.extent import Extent
from weightstring.problem import Entry
from weightstring.problem.digests.digest import tensor_digest
from weightstring.proof.certificate import Certificate
from weightstring.protocol import LossProblem
from weightstring.runs.manifest import other_python
from weightstring.runs.result import Result
from weightstring.store import Manifest, ResultRecord, Store, StoreLike, opened
from weightstring.store.records import CurveRecord, LineRecord, SegmentRecord, StringRecord

CERTIFICATE = "certificate.json"
"""Under which name a run's certificate is kept."""


def string_record(
    string: WeightString,
    names: Sequence[str] = ("loss",),
    before: int | None = None,
    length_before: float | None = None,
) -> StringRecord:
    """A string in numbers, its curve measured where it was not.

    Args:
        string: the string.
        names: the quantities whose largest is the height of a segment.
        before: beads before pruning; None: as many as there are.
        length_before: its length before it was shortened; None where it was not.
    """
    curve = string.curve
    tops = [curve.segment_maximum(number, names) for number in range(len(string) - 1)]
    return StringRecord(
        beads=len(string),
        beads_before_pruning=len(string) if before is None else before,
        length_before=length_before,
        length=string.length,
        distance=string.distance,
        normalized_length=string.normalized_length,
        max_loss=string.max_loss,
        barriers={name: string.barrier(name) for name in BARRIERS},
        segments=tuple(
            SegmentRecord(
                length=segment.length,
                max=top.value,
                t=top.t,
                samples=known.samples,
                second_difference=finite_or_none(known.second_difference),
                highest=finite_or_none(known.highest),
            )
            for segment, top, known in zip(string.segments, tops, map(between, curve.heights(names)), strict=True)
        ),
        curve=curve_record(curve),
    )


def line_record(line: WeightString) -> LineRecord:
    """The straight line beside a string in numbers, its curve measured where it was not."""
    return LineRecord(
        max_loss=line.max_loss,
        barriers={name: line.barrier(name) for name in BARRIERS},
        curve=curve_record(line.curve),
    )


def curve_record(curve: StringCurve) -> CurveRecord:
    """A curve as it is written down."""
    return CurveRecord(s=curve.s, segment=curve.segment, t=curve.t, values=dict(curve.values))


def record_of(result: Result) -> ResultRecord:
    """What ``result.json`` says; what is not finite in it is written as null."""
    string, (first, last) = result.string, result.ends
    return ResultRecord(
        outcome=result.outcome,
        threshold=result.threshold,
        bind=result.bind,
        names=result.names,
        evidence=string.evidence,
        evaluation=result.evaluation,
        ends=({**first}, {**last}),
        string=string_record(string, result.names, result.beads_before_pruning, result.length_before),
        line=None if result.line is None else line_record(result.line),
        rounds=result.history,
        by_depth=result.by_depth,
        steps=result.steps,
        evaluations=result.evaluations,
        seconds=result.seconds,
    )


def curve_of(record: CurveRecord) -> StringCurve:
    """A curve read back: null stands for what is not finite."""
    values = {name: tuple(map(none_as_infinity, column)) for name, column in record.values.items()}
    return StringCurve(record.s, record.segment, record.t, values)


def write_result(directory: Store, result: Result) -> None:
    """Write a result into its run directory, with the unpruned string where that is another than its own."""
    string, unpruned = list(result.string), result.unpruned
    same = unpruned is None or (len(unpruned) == len(string) and all(map(torch.equal, unpruned, string)))
    directory.finish(record_of(result), string, None if unpruned is None or same else list(unpruned))


def from_run(directory: Store, problem: LossProblem | None = None, *, proof: bool = True) -> Result:
    """The result that a run directory holds, without its certificate where no ``proof`` is asked for.

    Raises:
        InvalidRun: the run is not finished, or damaged.
    """
    record, manifest, alignment = directory.result(), directory.manifest(), directory.alignment()
    if problem is not None and problem.fingerprint() != manifest.problem:
        raise InvalidRun(
            f"{directory}: a run of another problem{other_python(manifest)}; load it without one, or with its own: the "
            "same module, data, loss, metrics and recipe"
        )

    result = result_of(record, manifest, directory.string(), problem)
    unpruned = None if (beads := directory.unpruned()) is None else _string(beads, manifest, problem)
    if unpruned is None and record.string.beads_before_pruning == len(result.string):
        unpruned = result.string
    beside = alignment is not None and directory.plain.finished
    return replace(
        result,
        unpruned=unpruned,
        certificate=certificate_in(directory, result.string) if proof else None,
        alignment=alignment,
        plain=from_run(directory.plain, problem, proof=False) if beside else None,
        measured={each.name: curve_of(each.curve) for each in directory.measured()},
    )


def result_of(
    record: ResultRecord, manifest: Manifest, beads: Sequence[Theta] | Thetas, problem: LossProblem | None = None
) -> Result:
    """The result that a record is of, without what lies beside it in a run's directory.

    Args:
        record: as it is written.
        manifest: of its run.
        beads: the models of its string (n, P).
        problem: the run's own, where there is one to measure with.
    """
    lengths, distance = tuple(segment.length for segment in record.string.segments), record.string.distance
    string = line = _string(beads, manifest, problem, curve_of(record.string.curve), Extent(lengths, distance))
    if len(string) > 2:
        curve = None if record.line is None else curve_of(record.line.curve)
        line = _string([string[0], string[-1]], manifest, problem, curve, Extent((distance,), distance))
    return Result(
        outcome=record.outcome,
        string=string,
        threshold=record.threshold,
        history=record.rounds,
        bind=record.bind,
        evaluation=record.evaluation,
        names=record.names,
        beads_before_pruning=record.string.beads_before_pruning,
        length_before=record.string.length_before,
        line=line if line.measured or problem is not None else None,
        as_saved=manifest.as_saved,
    )


def _string(
    beads: Sequence[Theta] | Thetas,
    manifest: Manifest,
    problem: LossProblem | None,
    curve: StringCurve | None = None,
    extent: Extent | None = None,
) -> WeightString:
    """Models as a string, where the problem is, with what is written down of it."""
    parameters = [Entry(each.name, each.shape, each.offset, each.aliases) for each in manifest.parameters]
    if problem is not None:
        beads = beads.to(problem.device) if isinstance(beads, Tensor) else [x.to(problem.device) for x in beads]
    return WeightString(problem, beads, curve, parameters=parameters, extent=extent)


def certificate_name(quantity: str) -> str:
    """Under which name that of another question than the run's own is kept.

    >>> certificate_name("error")
    'certificate-error.json'
    """
    return f"certificate-{quantity}.json"


def certificate_in(directory: Store, beads: Sequence[Theta] | Thetas | WeightString) -> Certificate | None:
    """The certificate that answers the run's question of its string (n, P); None where there is none, or another's."""
    content, place = directory.read(CERTIFICATE), f"{directory}/{CERTIFICATE}"
    if content is None:
        return None
    certificate = Certificate.from_json(content, place)
    if certificate.flaw:
        raise InvalidRun(f"{place}: {certificate.flaw}; make a new one with weightstring certify")
    models = beads if isinstance(beads, Tensor) else torch.stack(list(beads))
    differs = answers(certificate, directory.manifest(), directory.result().names, models)
    return certificate if differs is None else None


@undisturbed
def load(store: StoreLike, problem: LossProblem | None = None) -> Result:
    """Read a finished run from disk.

    Args:
        store: the run directory, or another store of the run.
        problem: the run's own, so that the string can be measured further; the recorded curve stays.
            Without it, the string answers from its record alone.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or ``problem`` is not its own.
    """
    return from_run(opened(store), problem)


def answers(certificate: Certificate, manifest: Manifest, names: Sequence[str], beads: Thetas) -> str | None:
    """What a certificate is about that a run is not; None where it answers the run's own question.

    Args:
        certificate: found in the run's directory.
        manifest: of the run.
        names: what its threshold binds.
        beads: of its string (n, P).
    """
    if certificate.digests.get("beads") != tensor_digest(beads):
        return "its string is another"
    if (certificate.quantity,) != tuple(names):
        return f"it bounds {certificate.quantity}, the run {' and '.join(names)}"
    if certificate.problem != manifest.problem:
        return "it is about another problem"
    # Without a threshold it says how high the loss is at most, as minimax asks.
    if certificate.threshold not in (None, manifest.threshold):
        return f"its threshold is {certificate.threshold!r}, the run's {manifest.threshold!r}"
    return None
