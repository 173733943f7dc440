"""The numbers behind a verdict, in words: what the command line prints and a notebook shows."""

from __future__ import annotations

from weightstring.path import Unresolved, WeightString
from weightstring.path.string_curve import OVER
from weightstring.runs.as_saved import re_estimated
from weightstring.runs.result import Result
from weightstring.store.attempts import told

DEPTHS = 12
"""Depths of which Γ̃ is told, beside the last; ``by_depth`` has all."""


def facts(result: Result) -> list[tuple[str, str]]:
    """Each with its label; where a search found no string, what to try comes last.

    >>> import torch
    >>> from weightstring.problem.surfaces import Ring
    >>> from weightstring.runs.connect import connect
    >>> ring = Ring()
    >>> dict(facts(connect(ring, *ring.ends, threshold=0.05)))["threshold"]
    '0.05 on the evaluation loss'
    """
    string, between = result.string, result.between
    samples = sum(known.samples for known in between) + 2 - len(string)
    up_to = f"up to {max(known.highest for known in between):.6g}"
    facts = [
        ("threshold", f"{result.threshold:.6g} on the {result.bound}"),
        ("largest sample of it", f"{result.largest:.6g} of {samples}; between them {up_to} by their bends"),
        ("beads with the ends", f"{len(string)} ({result.beads_before_pruning} before pruning)"),
        ("normalized length", f"{string.normalized_length:.4f} ({string.length:.4g} / {string.distance:.4g})"),
        ("on the string, sampled", climb(string, result)),
        ("on the straight line", line_in_words(result)),
        ("cost", f"{result.steps} gradient steps, {result.evaluations} evaluations, {result.seconds:.1f} s"),
    ]
    if result.step is not None:
        facts.append(("step found", str(result.step)))
    if result.by_depth:
        tops = [f"{top:.4g}" for top in result.by_depth]
        few = tops if len(tops) <= DEPTHS + 1 else [*tops[:DEPTHS], "…", tops[-1]]
        facts.insert(5, ("Γ̃ by depth, sampled", ", ".join(few)))
    if (certificate := result.certificate) is not None:
        said = f"{certificate.quantity} at most {certificate.upper_bound:.6g} on the whole string"
        beside = f", {certificate.beside_threshold}" if certificate.beside_threshold else ""
        work = f"{certificate.intervals} intervals, {certificate.seconds:.1f} s"
        facts.insert(2, ("certified", f"{said}{beside}; {work}"))
    first, last = result.ends
    if (moved := re_estimated(result.as_saved, (first["loss"], last["loss"]))) is not None:
        facts.insert(1, ("loss of the ends", moved))
    if (tried := told(result.attempts, result.connected)) is not None:
        facts.append(("attempts", tried))
    if result.length_before is not None:
        before = result.length_before / string.distance if string.distance else 1.0
        facts.insert(4, ("before shortening", f"{before:.4f} ({result.length_before:.4g} / {string.distance:.4g})"))
    if isinstance(result.outcome, Unresolved):
        evidence = result.outcome.evidence
        left, right = evidence.segment
        lowest = "" if evidence.lowest_loss is None else f"; failed descents reached {evidence.lowest_loss:.6g}"
        stuck = f"between beads {left} and {right}, ends {evidence.end_losses[0]:.6g}, {evidence.end_losses[1]:.6g}"
        depths = ", ".join("not finite" if top is None else f"{top:.4g}" for top in evidence.max_per_depth)
        if evidence.curvature is not None:
            facts.append(("at its maximum", str(evidence.curvature)))
        if evidence.no_curvature is not None:
            facts.append(("curvature", f"not computed: {evidence.no_curvature}"))
        facts += [("stuck segment", stuck + lowest), ("max per depth", depths), ("what to try", result.remedy or "")]
    return facts


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
    >>> climb(result.line, result).partition(";")[0]
    'evaluation loss up to 1 at 9 points'
    """
    over = ", ".join(f"{string.barrier(name):.4g} over {of} ({name})" for name, of in OVER.items())
    samples = len(string.curve.s)
    return f"{measured_loss(result)} up to {string.max_loss:.6g} at {samples} points; barrier {over}"


def measured_loss(result: Result) -> str:
    """What the barriers are of, whatever the threshold binds."""
    return "evaluation loss" if result.evaluation == "evaluate" else "training loss"
