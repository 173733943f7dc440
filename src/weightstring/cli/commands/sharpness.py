"""``weightstring sharpness``: κ, the largest curvature of the training loss, along a run's string."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_json, add_problem, add_run
from weightstring.cli.options.values import whole

if TYPE_CHECKING:
    from weightstring.path.sharpness import Place

HELP = "how curved the training loss is along a run's string"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--between", type=whole, default=1, metavar="N", help="places on each segment (default: %(default)s)"
    )
    parser.add_argument("--out", metavar="FILE", help="write the numbers there too, as JSON")
    add_json(parser)
    add_problem(parser)


def run(options: Namespace) -> int:
    """Measure κ at the beads of a run's string and between them."""
    from weightstring.cli.opening import opened
    from weightstring.path.sharpness import along
    from weightstring.store import opened as store_at
    from weightstring.store import replace_file
    from weightstring.store.files import writing

    problem, result, _ = opened(options)
    places = list(along(problem, result.string, options.between, store_at(options.run).manifest().seed))
    told = {
        "run": options.run,
        "places": [{"s": place.s, "bead": place.bead, **place.sharpness._asdict()} for place in places],
        "largest": max(place.sharpness.kappa for place in places),
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
    from weightstring.cli.console import console_for_text, table

    columns = table("s", "bead", "kappa", "residual", "products")
    for place in places:
        top = place.sharpness
        bead = "" if place.bead is None else str(place.bead)
        columns.add_row(f"{place.s:.4f}", bead, f"{top.kappa:.6g}", f"{top.residual:.2g}", str(top.products))
    console = console_for_text()
    console.print(columns)
    sharpest = max(places, key=lambda place: place.sharpness.kappa)
    console.print(f"largest κ of the training loss {sharpest.sharpness.kappa:.6g}, at s = {sharpest.s:.4f}")
    console.print(
        "kappa: the largest curvature found, vᵀHv of a unit v: a lower bound of the\n"
        "largest eigenvalue; residual: ‖Hv − κv‖; products: with the Hessian"
    )
    if options.out is not None:
        console.print(f"file {options.out}")
