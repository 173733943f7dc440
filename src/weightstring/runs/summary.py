"""A run in words to be pasted elsewhere, and where it comes from: the page, ``show`` and the summary say the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from weightstring.runs.facts import facts
from weightstring.runs.next_steps import NextStep
from weightstring.runs.result import Result
from weightstring.store import Manifest
from weightstring.store.provenance import FileRecord
from weightstring.text import shown

DIGITS = 12
"""Of a digest: enough to tell files apart."""


def origin(manifest: Manifest) -> list[tuple[str, str]]:
    """Which files the ends came from, when the run began and by what command; each with its label."""
    begun = manifest.provenance
    rows = [
        ("end A", _end(begun.files.get("a"), manifest.ends[0])),
        ("end B", _end(begun.files.get("b"), manifest.ends[1])),
    ]
    waypoints = enumerate(manifest.through, 1)
    rows += [
        (f"waypoint {number}", _end(begun.files.get(f"given{number}"), waypoint.sha256))
        for number, waypoint in waypoints
    ]
    if begun.begun:
        rows.append(("begun", begun.begun))
    rows.append(("command", shown(shlex.join(begun.command)) if begun.command else "none: it was begun from Python"))
    return rows


def title(result: Result, manifest: Manifest) -> str:
    """What was searched, and what came out, in a line."""
    task = "a problem built in Python" if manifest.task is None else shown(manifest.task.name.rpartition("/")[2])
    size = f"{manifest.size:,} parameter{'' if manifest.size == 1 else 's'}"
    return f"{task} ({size}): {result.outcome}"


def as_text(result: Result, manifest: Manifest, steps: Sequence[NextStep] = ()) -> str:
    """The summary of a run as plain text."""
    rows = [*facts(result), *origin(manifest), ("versions", _versions(manifest))]
    width = max(len(label) for label, _ in rows)
    lines = [title(result, manifest), "", *(f"{label:<{width}}  {value}" for label, value in rows)]
    if steps:
        lines += ["", "next:", *(f"  {step.command}    # {step.why}" for step in steps)]
    return "\n".join(lines) + "\n"


def as_markdown(result: Result, manifest: Manifest, steps: Sequence[NextStep] = ()) -> str:
    """The summary of a run as Markdown: a table, and commands in a block."""
    rows = [*facts(result), *origin(manifest), ("versions", _versions(manifest))]
    table = [f"| {_cell(label)} | {_cell(value)} |" for label, value in rows]
    lines = [f"**{_cell(title(result, manifest))}**", "", "| | |", "|---|---|", *table]
    if steps:
        language = "bash" if steps[0].shell else "python"
        lines += ["", f"```{language}", *(f"{step.command}  # {step.why}" for step in steps), "```"]
    return "\n".join(lines) + "\n"


def _end(file: FileRecord | None, digest: str) -> str:
    """Where a model comes from."""
    if file is None:
        return f"given from Python, sha256 of its parameters {digest[:DIGITS]}…"
    if file.sha256 is None:
        return f"{shown(file.name)}, no file"
    size = "" if file.size is None else f", {file.size:,} bytes"
    return f"{shown(file.name)}{size}, of {file.modified}, sha256 {file.sha256[:DIGITS]}…"


def _versions(manifest: Manifest) -> str:
    return ", ".join(f"{name} {number}" for name, number in manifest.versions.items())


def _cell(text: str) -> str:
    """Text in a cell of a table, in which nothing is markup."""
    return "".join(f"\\{letter}" if letter in "\\|*_`<>[]" else letter for letter in text)
