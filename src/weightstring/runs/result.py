"""What a search returns, and its form on disk."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Thetas, finite_or_none, none_as_infinity
from weightstring.errors import InvalidRun
from weightstring.path import (
    BARRIERS,
    Connected,
    Disconnected,
    Evidence,
    Maximum,
    Outcome,
    SearchSamples,
    StringCurve,
    Unresolved,
    WeightString,
    clearly_over,
)
from weightstring.problem.digest import tensor_digest
from weightstring.proof.certificate import Certificate
from weightstring.protocol import LossProblem
from weightstring.store import Manifest, ResultRecord, RoundRecord, RunDirectory
from weightstring.store.attempts import Attempt, attempts, told
from weightstring.store.records import (
    AlignmentRecord,
    AsSaved,
    CurveRecord,
    OutcomeRecord,
    SegmentRecord,
    StringRecord,
    by_depth,
)

SAME = 1e-5
"""Relative change of a loss that is no news."""


@dataclass(frozen=True)
class Result:
    """A string between two models and what was found out about it.

    Args:
        outcome: :class:`Connected`, :class:`Unresolved` with its reason and evidence, or :class:`Disconnected` with its
            proof.
        string: the string found; where unresolved, the best one so far; where disconnected, the straight line.
        threshold: L0.
        history: the search, round by round.
        bind: which quantity the threshold binds, and
        names: the measured quantities whose largest that is.
        evaluation: ``"evaluate"``, or ``"train"`` where no evaluation set was given.
        beads_before_pruning: beads, ends counted, before superfluous ones were dropped: those of
        unpruned: the first string under the threshold that the search had, before beads were dropped, moved or put in
            by anything else; where it had none, the string itself. With :class:`~weightstring.AsInThePaper` it is
            S(θ1, θ2, α, d). None where a run was written by a version that did not keep it.
        length_before: the string's length before it was shortened; None where it was not.
        certificate: the proof of a bound over the whole string; None where none was asked for.
        alignment: how the second model was aligned before the search; None where it was not.
        plain: the same search between the models as they were given, where it was made for comparison.
        as_saved: the ends' losses with the running statistics saved with them, where they are known.

    A maximum here is *sampled*: only ``certificate`` proves that the loss is no higher between the samples.
    """

    outcome: Outcome
    string: WeightString
    threshold: float
    history: tuple[RoundRecord, ...]
    bind: str
    evaluation: str
    names: tuple[str, ...]
    beads_before_pruning: int
    unpruned: WeightString | None = None
    length_before: float | None = None
    certificate: Certificate | None = None
    alignment: AlignmentRecord | None = None
    plain: Result | None = None
    as_saved: AsSaved = (None, None)

    @property
    def connected(self) -> bool:
        """Whether a string was found on which every sample is at most the threshold."""
        return isinstance(self.outcome, Connected)

    @property
    def ends(self) -> tuple[dict[str, float], dict[str, float]]:
        """Every quantity at the two ends."""
        values = self.string.curve.values
        return {name: v[0] for name, v in values.items()}, {name: v[-1] for name, v in values.items()}

    @property
    def segments(self) -> tuple[Maximum, ...]:
        """The largest sample of the bound quantity on each segment of the string, and its t."""
        return tuple(self.string.segment_maximum(i, self.names) for i in range(len(self.string) - 1))

    @property
    def bound(self) -> str:
        """What the threshold binds, in words."""
        train = "train loss"
        loss = f"{train} (no evaluation set was given)" if self.evaluation == "train" else "evaluation loss"
        words = [{"loss": loss, "train_loss": train}.get(name, name) for name in self.names]
        return words[0] if len(words) == 1 else f"larger of {' and '.join(words)}"

    @property
    def largest(self) -> float:
        """The largest *sampled* value of what the threshold binds."""
        return max(top.value for top in self.segments)

    @property
    def by_depth(self) -> tuple[float, ...]:
        """Γ̃(θ1, θ2, d, α) (4) for d = 0, 1, …: see :func:`weightstring.store.records.by_depth`; *sampled*."""
        return by_depth(self.history)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was tried in turn, the last of which found the string where there is one; see ``ws.Persistent``."""
        return attempts(self.history)

    @property
    def steps(self) -> int:
        """Gradient steps, summed over all beads, those of a round that a limit on them ended included."""
        return sum(r.steps for r in self.history)

    @property
    def evaluations(self) -> int:
        """Models measured by the finished rounds of the search."""
        return sum(r.evaluations for r in self.history)

    @property
    def seconds(self) -> float:
        """Time spent searching, over all sessions of the run, rounds that were given up included."""
        return math.fsum(r.seconds for r in self.history)

    def __str__(self) -> str:
        string = self.string
        proved = f"\n{self.certificate}" if self.certificate else ""
        tried = told(self.attempts, self.connected)
        return (
            f"{self.outcome}\n{f'{tried}{chr(10)}' if tried else ''}"
            f"threshold {self.threshold:.6g} on the {self.bound}, its largest sample {self.largest:.6g}; "
            f"{len(string)} beads with the ends; normalized length {string.normalized_length:.4f}{proved}"
        )


def re_estimated(as_saved: AsSaved, ends: tuple[float | None, float | None]) -> str | None:
    """By how much estimating running statistics anew moves the ends' losses, in words; None where it does not.

    >>> re_estimated((0.513, None), (0.353, 0.2))
    'first end 0.513 as saved, 0.353 with its statistics re-estimated'
    """
    moved = [
        f"{which} end {saved:.6g} as saved, {_number(loss)} with its statistics re-estimated"
        for which, saved, loss in zip(("first", "last"), as_saved, ends, strict=True)
        if saved is not None and (loss is None or not math.isclose(saved, loss, rel_tol=SAME))
    ]
    return "; ".join(moved) or None


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"


def judged(result: Result) -> Result:
    """The result with the verdict that all samples known of its string allow; nothing is measured.

    Whatever looks at a string after its search, such as a proof or the final curve, may meet a sample over the
    threshold: then the string does not connect, whatever the search saw of it.
    """
    if not result.connected:
        return result
    heights = result.string.heights(result.names)
    tops = [max(known.items(), key=lambda at: at[1], default=(0.0, -math.inf)) for known in heights]
    worst = max(range(len(tops)), key=lambda i: tops[i][1])
    if not clearly_over(tops[worst][1], result.threshold, result.string[0].dtype):
        return result
    evidence = Evidence(
        segment=(worst, worst + 1),
        end_losses=(heights[worst][0.0], heights[worst][1.0]),
        max_per_depth=(finite_or_none(tops[worst][1]),),
        open_per_depth=(sum(clearly_over(top, result.threshold, result.string[0].dtype) for _, top in tops),),
        retries=0,
        lowest_loss=None,
    )
    return replace(result, outcome=Unresolved("higher_sample", evidence))


def with_samples(result: Result, samples: Mapping[tuple[int, float], float]) -> Result:
    """The result with more known of its string, and with the verdict that this allows.

    Args:
        result: of a search.
        samples: heights of what the threshold binds, by segment and t.
    """
    heights: list[dict[float, float]] = [{} for _ in range(len(result.string) - 1)]
    for (segment, t), value in samples.items():
        heights[segment][t] = value
    seen = SearchSamples(result.names, tuple(heights), result.threshold if result.connected else None)
    return judged(replace(result, string=result.string.also_seen(seen)))


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


def to_record(result: Result) -> ResultRecord:
    """The form on disk. Losses that are not finite become null."""
    string, curve = result.string, result.string.curve
    first, last = result.ends
    record = StringRecord(
        beads=len(string),
        beads_before_pruning=result.beads_before_pruning,
        length_before=result.length_before,
        length=string.length,
        distance=string.distance,
        normalized_length=finite_or_none(string.normalized_length),
        max_loss=finite_or_none(string.max_loss),
        barriers={name: finite_or_none(string.barrier(name)) for name in BARRIERS},
        segments=tuple(
            SegmentRecord(length=segment.length, max=finite_or_none(top.value), t=top.t)
            for segment, top in zip(string.segments, result.segments, strict=True)
        ),
        curve=CurveRecord(
            s=curve.s,
            segment=curve.segment,
            t=curve.t,
            values={k: tuple(map(finite_or_none, v)) for k, v in curve.values.items()},
        ),
    )
    return ResultRecord(
        outcome=outcome_record(result.outcome),
        threshold=result.threshold,
        bind=result.bind,
        names=result.names,
        evidence=string.evidence,
        evaluation=result.evaluation,
        ends=({k: finite_or_none(v) for k, v in first.items()}, {k: finite_or_none(v) for k, v in last.items()}),
        string=record,
        rounds=result.history,
        by_depth=tuple(map(finite_or_none, result.by_depth)),
        steps=result.steps,
        evaluations=result.evaluations,
        seconds=result.seconds,
    )


def from_record(record: ResultRecord, string: WeightString) -> Result:
    """The inverse of :func:`to_record`, for a string whose curve is :func:`curve_from_record`'s."""
    return Result(
        outcome=_outcome_from_record(record.outcome),
        string=string,
        threshold=record.threshold,
        history=record.rounds,
        bind=record.bind,
        evaluation=record.evaluation,
        names=record.names,
        beads_before_pruning=record.string.beads_before_pruning,
        length_before=record.string.length_before,
    )


def write_result(directory: RunDirectory, result: Result) -> None:
    """Write a result into its run directory, with the unpruned string where that is another than its own.

    Raises:
        InvalidRun: a file of the run was damaged or removed meanwhile.
        StoreFailed: the disk refuses.
    """
    string, unpruned = list(result.string), result.unpruned
    same = unpruned is None or (len(unpruned) == len(string) and all(map(torch.equal, unpruned, string)))
    directory.finish(to_record(result), string, None if unpruned is None or same else list(unpruned))


def curve_from_record(record: CurveRecord) -> StringCurve:
    """The measured curve of a string read from disk."""
    values = {name: tuple(map(none_as_infinity, v)) for name, v in record.values.items()}
    return StringCurve(record.s, record.segment, record.t, values)


def outcome_record(outcome: Outcome) -> OutcomeRecord:
    """The form of a verdict on disk."""
    if isinstance(outcome, Unresolved):
        return OutcomeRecord(kind="unresolved", reason=outcome.reason, evidence=outcome.evidence)
    if isinstance(outcome, Disconnected):
        return OutcomeRecord(kind="disconnected", proof=outcome.proof)
    return OutcomeRecord(kind="connected")


def _outcome_from_record(record: OutcomeRecord) -> Outcome:
    if record.proof is not None:
        return Disconnected(record.proof)
    if record.reason is None or record.evidence is None:
        return Connected()
    return Unresolved(record.reason, record.evidence)


def from_run(directory: RunDirectory, problem: LossProblem | None = None, *, proof: bool = True) -> Result:
    """The result that a run directory holds, without its certificate where no ``proof`` is asked for.

    Raises:
        InvalidRun: the run is not finished, or damaged.
    """
    record = directory.result()
    if problem is not None and problem.fingerprint() != directory.manifest().problem:
        raise InvalidRun(f"{directory.path}: a run of another problem; load it without one, or with its own")
    beads = directory.string()
    if problem is not None:
        beads = beads.to(problem.device)
    found = from_record(record, WeightString(problem, beads, curve_from_record(record.string.curve)))
    found = replace(found, as_saved=directory.manifest().as_saved, unpruned=_unpruned(directory, found))
    alignment = directory.alignment()
    if alignment is not None:
        plain = from_run(directory.plain, problem, proof=False) if directory.plain.finished else None
        found = replace(found, alignment=alignment, plain=plain)
    return replace(found, certificate=certificate_in(directory, beads)) if proof else found


def _unpruned(directory: RunDirectory, found: Result) -> WeightString | None:
    """The first string that a run's search had, if that was kept."""
    problem, beads = found.string.problem, directory.unpruned()
    if beads is not None:
        return WeightString(problem, beads if problem is None else beads.to(problem.device))
    return found.string if found.beads_before_pruning == len(found.string) else None


def certificate_in(directory: RunDirectory, beads: Thetas) -> Certificate | None:
    """The certificate that answers the run's question of its string (n, P); None where there is none, or another's.

    Raises:
        InvalidRun: it is damaged.
    """
    if not directory.certificate.exists():
        return None
    certificate = Certificate.load(directory.certificate)
    if certificate.flaw:
        raise InvalidRun(
            f"{directory.certificate}: {certificate.flaw}: the file was changed; "
            "make a new one with weightstring certify"
        )
    differs = answers(certificate, directory.manifest(), directory.result().names, beads)
    return certificate if differs is None else None


@undisturbed
def load(store: str | os.PathLike[str], problem: LossProblem | None = None) -> Result:
    """Read a finished run from disk.

    Args:
        store: the run directory.
        problem: the run's own, so that the string can be measured further; the recorded curve stays.
            Without it, the string answers from its record alone.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or ``problem`` is not its own.
    """
    return from_run(RunDirectory(store), problem)
