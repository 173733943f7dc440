"""What the command line prints about a run, in 80 columns."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from weightstring.cli.alignment import compared, remarks
from weightstring.cli.console import console_for_text, table
from weightstring.path import BARRIERS, Connected, Disconnected, Unresolved
from weightstring.path.outcome import ADVICE
from weightstring.runs.as_saved import re_estimated
from weightstring.runs.result import Result
from weightstring.store import RunDirectory
from weightstring.store.attempts import told
from weightstring.text import shown

DEPTHS = 12
"""Depths of which Γ̃ is printed, beside the last; --json has all."""


def print_result(result: Result, run: Path) -> None:
    """Print the verdict and the numbers behind it."""
    console = console_for_text()
    string, names = result.string, list(result.string.curve.values)
    style = {Connected: "bold green", Unresolved: "bold yellow", Disconnected: "bold red"}[type(result.outcome)]
    console.print(shown(str(result.outcome)), style=style, soft_wrap=False)
    grid = Table.grid(padding=(0, 2))
    for label, value in _facts(result):
        grid.add_row(label, value)
    console.print(grid)
    if result.alignment is not None:
        console.print(compared(result.alignment, result, result.plain))
        for line in remarks(result.alignment):
            console.print(line)
    ends = table("", "first end", "last end", "largest sampled", title="at the ends and on the string")
    for name in names:
        largest = string.barrier("max", name)
        first, last = (end[name] for end in result.ends)
        ends.add_row(name, f"{first:.6g}", f"{last:.6g}", f"{largest:.6g}")
    console.print(ends)
    page = run / "report.html"
    console.print(f"run   {run}\npage  {page}" if page.exists() else f"run   {run}")


def _facts(result: Result) -> list[tuple[str, str]]:
    string, between = result.string, result.between
    samples = sum(known.samples for known in between) + 2 - len(string)
    up_to = f"up to {max(known.highest for known in between):.6g}"
    barriers = ", ".join(f"{name} {string.barrier(name):.4g}" for name in BARRIERS)
    facts = [
        ("threshold", f"{result.threshold:.6g} on the {result.bound}"),
        ("largest sample of it", f"{result.largest:.6g} of {samples}; between them {up_to} by their bends"),
        ("beads with the ends", f"{len(string)} ({result.beads_before_pruning} before pruning)"),
        ("normalized length", f"{string.normalized_length:.4f} ({string.length:.4g} / {string.distance:.4g})"),
        ("barriers, sampled", f"of the {_measured(result)}: {barriers}"),
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
        remedy = ADVICE[result.outcome.reason].words(aligned=result.alignment is not None)
        if evidence.curvature is not None:
            facts.append(("at its maximum", str(evidence.curvature)))
        if evidence.no_curvature is not None:
            facts.append(("curvature", f"not computed: {evidence.no_curvature}"))
        facts += [("stuck segment", stuck + lowest), ("max per depth", depths), ("what to try", remedy)]
    return facts


def _measured(result: Result) -> str:
    """What the four barriers are of, whatever the threshold binds."""
    return "evaluation loss" if result.evaluation == "evaluate" else "training loss"


def describe_unfinished(directory: RunDirectory) -> str:
    """One line on a run without a verdict: how far it is and how to go on."""
    manifest, rounds = directory.manifest(), directory.replay()
    seconds = sum(r.seconds for r in rounds)
    return (
        f"{directory.path}: not finished; {len(rounds)} rounds in {seconds:.1f} s towards {manifest.threshold:.6g} "
        f"on {manifest.bind}. Resume with: weightstring resume {directory.path}"
    )
