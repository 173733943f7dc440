"""``weightstring align``, and how an alignment is printed."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE
from weightstring.runs.align_step import as_record
from weightstring.store import write_checkpoint
from weightstring.store.records import AlignmentRecord

if TYPE_CHECKING:
    from weightstring.runs.result import Result

GROUPS = 20
"""Groups that are listed one by one."""


def align(options: Namespace) -> int:
    """Write the second model with its units where the first has them."""
    from weightstring.cli.models import check_destination, end_of
    from weightstring.cli.opening import named
    from weightstring.symmetry.alignment import align as bring_near

    out = Path(options.out)
    check_destination(out)
    _, problem = named(options)
    a, b = (end_of(problem, path) for path in (options.a, options.b))
    found = bring_near(
        problem, a, b, by=options.by, rescale=not options.no_rescale, restarts=options.restarts, seed=options.seed
    )
    record = as_record(found, b, options.by)
    about = {"task": options.task, "aligned_with": options.a, "copy_of": options.b, "method": record.method}
    write_checkpoint(out, problem.unflatten(found.theta), about)
    if options.json:
        print(json.dumps({"out": str(out), **msgspec.to_builtins(record)}))
        return DONE
    console = console_for_text()
    console.print(compared(record))
    console.print(_groups(record))
    for line in remarks(record):
        console.print(line)
    console.print(f"aligned {out}")
    return DONE


def compared(record: AlignmentRecord, aligned: Result | None = None, plain: Result | None = None) -> Table:
    """The two models as they were given and aligned, side by side; of a search what it found too."""
    table = Table(title="before and after alignment", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("", "as given", "aligned"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("distance of the ends", f"{record.distance_before:.6g}", f"{record.distance:.6g}")
    table.add_row("barrier of the line, sampled", _number(record.barrier_before), _number(record.barrier))
    if aligned is not None:
        own = [_found(plain), _found(aligned)]
        for row, name in enumerate(("found", "beads with the ends", "normalized length", "gradient steps", "seconds")):
            table.add_row(name, *(each[row] for each in own))
    return table


def remarks(record: AlignmentRecord) -> list[str]:
    """What else is to be said of an alignment."""
    how = "B left as it was" if record.method == "none" else f"B's units matched by {record.method}"
    scaled = ", and rescaled" if record.rescaled else ""
    return [
        f"{how}{scaled}: least {record.by} of {len(record.candidates)} ways; {record.seconds:.1f} s",
        f"same function: outputs on {record.examples} inputs differ by at most {record.difference:.2g} of the largest",
        f"the architecture has 10^{record.log10_permutations:.4g} permutations of units",
    ]


def _groups(record: AlignmentRecord) -> Table:
    title = "mean correlation of each unit's activations with those of its place in A"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("group", "units", "moved", "as given", "aligned"):
        table.add_column(heading, justify="left" if heading == "group" else "right")
    for group in record.groups[:GROUPS]:
        units = len(group.permutation)
        before, after = _mean(group.correlation_before), _mean(group.correlation)
        table.add_row(group.name, str(units), str(group.moved), before, after)
    if len(record.groups) > GROUPS:
        table.add_row(f"… and {len(record.groups) - GROUPS} more (--json)", "", "", "", "")
    return table


def _found(result: Result | None) -> tuple[str, ...]:
    if result is None:
        return ("not searched", "", "", "", "")
    length = result.string.normalized_length
    verdict = "connected" if result.connected else type(result.outcome).__name__.lower()
    return verdict, str(len(result.string)), f"{length:.4f}", str(result.steps), f"{result.seconds:.1f}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"


def _mean(values: tuple[float, ...]) -> str:
    return f"{math.fsum(values) / len(values):.3f}" if values else "–"
