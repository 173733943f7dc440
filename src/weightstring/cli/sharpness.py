"""``weightstring sharpness``: κ, the largest curvature of the training loss, along a run's string."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from rich.table import Table

from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE
from weightstring.cli.opening import opened
from weightstring.path.curvatures import Place, along
from weightstring.store import RunDirectory, replace_file
from weightstring.store.files import writing


def sharpness(options: Namespace) -> int:
    """Measure κ at the beads of a run's string and between them."""
    problem, result, _ = opened(options)
    places = list(along(problem, result.string, options.between, RunDirectory(options.run).manifest().seed))
    told = {
        "run": options.run,
        "places": [{"s": own.s, "bead": own.bead, **own.sharpness._asdict()} for own in places],
        "largest": max(own.sharpness.kappa for own in places),
    }
    if options.out is not None:
        out = Path(options.out)
        with writing(out, "the same command starts again"):
            out.parent.mkdir(parents=True, exist_ok=True)
            replace_file(out, json.dumps(told, indent=1).encode())
    if options.json:
        print(json.dumps(told))
    else:
        _print(places, options)
    return DONE


def _print(places: list[Place], options: Namespace) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("s", "bead", "kappa", "residual", "products"):
        table.add_column(heading, justify="right")
    for own in places:
        found = own.sharpness
        bead = "" if own.bead is None else str(own.bead)
        table.add_row(f"{own.s:.4f}", bead, f"{found.kappa:.6g}", f"{found.residual:.2g}", str(found.products))
    console = console_for_text()
    console.print(table)
    top = max(places, key=lambda own: own.sharpness.kappa)
    console.print(f"largest κ of the training loss {top.sharpness.kappa:.6g}, at s = {top.s:.4f}")
    if options.out is not None:
        console.print(f"file {options.out}")
