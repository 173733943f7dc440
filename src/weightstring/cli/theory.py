"""``weightstring theory``: what is known of Γ between two models without a search."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.table import Table

from weightstring.arrays import for_json
from weightstring.cli.console import console_for_text
from weightstring.cli.ending import DONE, UNRESOLVED
from weightstring.cli.models import end_of
from weightstring.cli.opening import named
from weightstring.store import replace_file, write_checkpoint
from weightstring.store.files import writing
from weightstring.theory.constructions import Construction, Known, known


def theory(options: Namespace) -> int:
    """Say which theorems apply, and write the paths that they give."""
    _, problem = named(options)
    found = known(problem, end_of(problem, options.a), end_of(problem, options.b), options.tolerance)
    told = _told(found)
    if options.out is not None:
        out = Path(options.out)
        for path in found.constructions:
            for number, bead in enumerate(path.string.beads):
                about = {"task": options.task, "path": path.name, "bead": number, "bound": path.bound}
                write_checkpoint(_bead(out, path, number), problem.unflatten(bead), about)
        with writing(out / "theory.json", "the same command starts again"):
            out.mkdir(parents=True, exist_ok=True)
            replace_file(out / "theory.json", json.dumps(told, indent=1).encode())
    if options.json:
        print(json.dumps(told))
    else:
        _print(found, options)
    return DONE if found.constructions or found.proof else UNRESOLVED


def _bead(out: Path, path: Construction, number: int) -> Path:
    return out / path.name / f"bead-{number:04d}.safetensors"


def _told(found: Known) -> dict[str, Any]:
    whole: dict[str, Any] = for_json(
        {
            "losses": found.losses,
            "at_least": found.at_least,
            "at_most": found.at_most,
            "proof": None if found.proof is None else found.proof.argument,
            "constructions": [
                {
                    "name": own.name,
                    "bound": own.bound,
                    "beads": len(own.string),
                    "normalized_length": own.string.normalized_length,
                    "largest_sample": own.string.max_loss,
                    "straight": own.straight,
                }
                for own in found.constructions
            ],
            "refused": found.refused,
        }
    )
    return whole


def _print(found: Known, options: Namespace) -> None:
    console = console_for_text(soft_wrap=False)
    console.print(f"ends: loss {found.losses[0]:.6g} and {found.losses[1]:.6g}")
    why = "the higher end" if found.proof is None or found.proof.bound < max(found.losses) else "by proof"
    most = f" <= {found.at_most:.6g}, by construction" if found.constructions else ": no path is given by theory"
    console.print(f"{found.at_least:.6g}, {why}, <= Γ{most}")
    if found.proof is not None:
        console.print(f"proof: {found.proof.argument}")
    if found.constructions:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("path", "bound", "beads", "length", "largest sample"):
            table.add_column(heading, justify="left" if heading == "path" else "right", no_wrap=True)
        for own in found.constructions:
            string = own.string
            numbers = f"{own.bound:.6g}", str(len(string)), f"{string.normalized_length:.4f}", f"{string.max_loss:.6g}"
            table.add_row(own.name, *numbers)
        console.print(table)
        if not all(own.straight for own in found.constructions):
            console.print("a string inscribed in a curved path may rise over its bound a little")
    for refusal in dict.fromkeys(found.refused.values()):
        names = [name for name, own in found.refused.items() if own == refusal]
        console.print(f"not {' nor '.join(names)}: {refusal}")
    if options.out is not None:
        console_for_text().print(f"files {options.out}")
