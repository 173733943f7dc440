"""The numbers behind a verdict, in words: what the command line prints and a notebook shows."""

from __future__ import annotations

from weightstring.path import Unresolved, WeightString
from weightstring.path.string_curve import OVER
from weightstring.runs.as_saved import re_estimated
from weightstring.runs.result import Result
from weightstring.store.attempts import told

Facts = list[tuple[str, str]]
"""Numbers in words, each with its label."""
DEPTHS = 12
"""Depths of which Γ̃ is told, beside the last; ``by_depth`` has all."""


def facts(result: Result) -> Facts:
    """Each with its label; where a search found no string, what to try comes last.

    >>> import torch
    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.runs.connect import connect
    >>> ring = Ring()
    >>> dict(facts(connect(ring, *ring.ends, threshold=0.05)))["threshold"]
    '0.05 on the evaluation loss'
    """
    return [*_bounds(result), *_string(result), *_search(result), *_evidence(result)]


def _bounds(result: Result) -> Facts:
    """What the string was held to, how near it comes, and what is proved."""
    between, string = result.between, result.string
    samples = sum(known.samples for known in between) + 2 - len(string)
    perhaps = f"between them, as the bends tell, up to {max(known.highest for known in between):.6g}"
    rows = [
        ("threshold", f"{result.threshold:.6g} on the {result.bound}"),
        ("largest sample of it", f"{result.largest:.6g}, of {samples} on the string; {perhaps}"),
    ]
    if (certificate := result.certificate) is not None:
        said = f"{certificate.quantity} at most {certificate.upper_bound:.6g} on the whole string"
        beside = f", {certificate.beside_threshold}" if certificate.beside_threshold else ""
        work = f"{certificate.intervals} intervals, {certificate.seconds:.1f} s"
        rows.append(("certified", f"{said}{beside}; {work}"))
    first, last = result.ends
    if (moved := re_estimated(result.as_saved, (first["loss"], last["loss"]))) is not None:
        rows.insert(1, ("loss of the ends", moved))
    return rows


def _string(result: Result) -> Facts:
    """How the string lies: its beads, its length, and its barriers beside the straight line's."""
    string = result.string
    rows = [
        ("on the string, sampled", climb(string, result)),
        ("on the straight line", line_in_words(result)),
        ("beads with the ends", f"{len(string)} ({result.beads_before_pruning} before pruning)"),
        ("normalized length", f"{string.normalized_length:.4f} ({string.length:.4g} / {string.distance:.4g})"),
    ]
    if result.length_before is not None:
        before = result.length_before / string.distance if string.distance else 1.0
        rows.append(("before shortening", f"{before:.4f} ({result.length_before:.4g} / {string.distance:.4g})"))
    return rows


def _search(result: Result) -> Facts:
    """What the search saw and took."""
    took = f"{result.steps} gradient steps, {result.evaluations} models measured, {result.seconds:.1f} s"
    rows = [("search", took)]
    if result.by_depth:
        tops = [f"{top:.4g}" for top in result.by_depth]
        few = tops if len(tops) <= DEPTHS + 1 else [*tops[:DEPTHS], "…", tops[-1]]
        rows.insert(0, ("Γ̃ by depth, sampled", ", ".join(few)))
    if result.step is not None:
        rows.append(("step found", str(result.step)))
    if (tried := told(result.attempts, result.connected)) is not None:
        rows.append(("attempts", tried))
    return rows


def _evidence(result: Result) -> Facts:
    """Where a search without a string is stuck, and what to try, which comes last."""
    if not isinstance(result.outcome, Unresolved):
        return []
    evidence, rows = result.outcome.evidence, list[tuple[str, str]]()
    left, right = evidence.segment
    lowest = "" if evidence.lowest_loss is None else f"; failed descents reached {evidence.lowest_loss:.6g}"
    stuck = f"between beads {left} and {right}, at whose ends it is {evidence.end_losses[0]:.6g}"
    tops = ", ".join("not finite" if top is None else f"{top:.4g}" for top in evidence.max_per_depth)
    if evidence.curvature is not None:
        rows.append(("at its maximum", str(evidence.curvature)))
    if evidence.no_curvature is not None:
        rows.append(("curvature", f"not computed: {evidence.no_curvature}"))
    return [
        *rows,
        ("stuck segment", f"{stuck} and {evidence.end_losses[1]:.6g}{lowest}"),
        ("its samples by depth", f"the largest of all segments: {tops}"),
        ("what to try", result.remedy or ""),
    ]


def line_in_words(result: Result) -> str:
    """How high the loss climbs on the straight line between the ends, beside which a string is seen."""
    if len(result.string) == 2:
        return "the string is the straight line"
    return "not measured by the version that wrote this run" if result.line is None else climb(result.line, result)


def climb(string: WeightString, result: Result) -> str:
    """How high a string's loss climbs, and its barriers over its ends: all *sampled*, whatever the threshold binds.

    >>> import torch
    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.runs.connect import connect
    >>> result = connect(Ring(), *Ring().ends, threshold=0.2)
    >>> climb(result.line, result).split(", ")[0]
    'evaluation loss up to 0.943057'
    """
    over = ", ".join(f"{string.barrier(name):.4g} over {OVER[name]}" for name in ("over_linear", "over_ends"))
    samples = len(string.curve.s)
    return f"{measured_loss(result)} up to {string.max_loss:.6g}, of {samples} samples; barrier {over}"


def measured_loss(result: Result) -> str:
    """What the barriers are of, whatever the threshold binds."""
    return {"train": "training loss", "": "loss"}.get(result.evaluation, "evaluation loss")
