"""``weightstring align``: one model's units brought to where another's are (Section IV)."""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_models, add_task
from weightstring.cli.options.search import add_seed
from weightstring.cli.options.values import positive

if TYPE_CHECKING:
    from rich.table import Table

    from weightstring.store.alignment_record import AlignmentRecord

HELP = "permute, rescale and mix one model's units to match another's"

GROUPS = 20
"""Groups that are listed one by one."""


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_models(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint of the aligned B, .safetensors")
    parser.add_argument(
        "--by",
        choices=["barrier", "distance"],
        default="barrier",
        help="which alignment is taken: that of the lowest barrier of the straight line, or of the least distance "
        "(default: %(default)s)",
    )
    parser.add_argument("--no-rescale", action="store_true", help="no factors")
    parser.add_argument("--no-maps", action="store_true", help="no linear maps, such as rotations of a stream")
    parser.add_argument(
        "--restarts", type=positive, default=3, metavar="N", help="starts of weight matching (default: %(default)s)"
    )
    parser.add_argument(
        "--learn",
        type=positive,
        metavar="STEPS",
        help="improve the best of these by so many gradients of the loss on the line (default: not at all)",
    )
    add_seed(parser, "of these ")
    add_json(parser)


def run(options: Namespace) -> int:
    """Write the second model with its units where the first has them."""
    import msgspec

    from weightstring.cli.models import check_destination, pair_of
    from weightstring.cli.opening import named
    from weightstring.runs.align_step import alignment_record
    from weightstring.store import write_checkpoint
    from weightstring.symmetry.alignment import LEARNED, METHODS
    from weightstring.symmetry.learning import STEPS

    out = Path(options.out)
    check_destination(out)
    _, problem = named(options)
    a, b = pair_of(problem, options)
    aligned = ws.align(
        problem,
        a,
        b,
        by=options.by,
        rescale=not options.no_rescale,
        restarts=options.restarts,
        seed=options.seed,
        maps=not options.no_maps,
        methods=METHODS if options.learn is None else (*METHODS, LEARNED),
        steps=options.learn or STEPS,
    )
    record = alignment_record(problem, aligned, b, options.by)
    about = {"task": options.task, "aligned_with": options.a, "copy_of": options.b, "method": record.method}
    write_checkpoint(out, problem.unflatten(aligned.theta), about)
    if options.json:
        print(json.dumps({"out": str(out), **msgspec.to_builtins(record)}))
    else:
        _print(record, out)
    return DONE


def _print(record: AlignmentRecord, out: Path) -> None:
    from weightstring.cli.alignment import compared, remarks
    from weightstring.cli.console import console_for_text

    console = console_for_text()
    console.print(compared(record))
    console.print(_groups(record))
    for line in remarks(record):
        console.print(line)
    console.print(f"aligned {out}")


def _groups(record: AlignmentRecord) -> Table:
    from weightstring.cli.console import table

    title = "mean correlation of each unit's activations with those of its place in A"
    columns = table("group", "units", "moved", "as given", "aligned", left=["group"], title=title)
    for group in record.groups[:GROUPS]:
        units = len(group.permutation)
        before, after = _mean(group.correlation_before), _mean(group.correlation)
        columns.add_row(group.name, str(units), str(group.moved), before, after)
    if len(record.groups) > GROUPS:
        columns.add_row(f"… and {len(record.groups) - GROUPS} more (--json)", "", "", "", "")
    return columns


def _mean(values: tuple[float, ...]) -> str:
    return f"{math.fsum(values) / len(values):.3f}" if values else "–"
