"""``weightstring theory``: what is known of Γ between two models without a search (Section III)."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightstring.cli.ending import DONE, UNRESOLVED
from weightstring.cli.options.problem import add_json, add_models, add_task
from weightstring.cli.options.values import number

if TYPE_CHECKING:
    from weightstring.proof.known import Known
    from weightstring.theory.constructions import Construction

HELP = "what proofs and closed-form paths say about two models"


def add_arguments(parser: ArgumentParser) -> None:
    add_task(parser)
    add_models(parser)
    parser.add_argument(
        "--tolerance",
        type=number,
        default=1e-3,
        metavar="T",
        help="how far a string inscribed in a curved path may rise over its bound, as a share of the straight line's "
        "height (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", help="write the paths' beads as checkpoints, and theory.json")
    add_json(parser)


def run(options: Namespace) -> int:
    """Say which theorems apply, and write the paths that they give."""
    from weightstring.cli.models import pair_of
    from weightstring.cli.opening import named
    from weightstring.proof.known import known
    from weightstring.store import replace_file, write_checkpoint
    from weightstring.store.files import writing

    _, problem = named(options)
    a, b = pair_of(problem, options)
    theorems = known(problem, a, b, options.tolerance)
    as_json = _as_json(theorems)
    if options.out is not None:
        out = Path(options.out)
        for path in theorems.constructions:
            for number, bead in enumerate(path.string.beads):
                about = {"task": options.task, "path": path.name, "bead": number, "bound": path.bound}
                write_checkpoint(_bead_file(out, path, number), problem.unflatten(bead), about)
        with writing(out / "theory.json", "the same command starts again"):
            out.mkdir(parents=True, exist_ok=True)
            replace_file(out / "theory.json", json.dumps(as_json, indent=1).encode())
    if options.json:
        print(json.dumps(as_json))
    else:
        _print(theorems, options)
    return DONE if theorems.constructions or theorems.proof else UNRESOLVED


def _bead_file(out: Path, path: Construction, number: int) -> Path:
    return out / path.name / f"bead-{number:04d}.safetensors"


def _as_json(theorems: Known) -> dict[str, Any]:
    from weightstring.codec import for_json

    fields: dict[str, Any] = for_json(
        {
            "losses": theorems.losses,
            "at_least": theorems.at_least,
            "at_most": theorems.at_most,
            "proof": None if theorems.proof is None else theorems.proof.argument,
            "constructions": [
                {
                    "name": path.name,
                    "bound": path.bound,
                    "beads": len(path.string),
                    "normalized_length": path.string.normalized_length,
                    "largest_sample": path.string.max_loss,
                    "straight": path.straight,
                }
                for path in theorems.constructions
            ],
            "refused": theorems.refused,
        }
    )
    return fields


def _print(theorems: Known, options: Namespace) -> None:
    from weightstring.cli.console import console_for_text, table

    console = console_for_text(soft_wrap=False)
    console.print(f"ends: loss {theorems.losses[0]:.6g} and {theorems.losses[1]:.6g}")
    why = "the higher end" if theorems.proof is None or theorems.proof.bound < max(theorems.losses) else "by proof"
    most = f" <= {theorems.at_most:.6g}, by construction" if theorems.constructions else ": no path is given by theory"
    console.print(f"{theorems.at_least:.6g}, {why}, <= Γ{most}")
    if theorems.proof is not None:
        console.print(f"proof: {theorems.proof.argument}")
    if theorems.constructions:
        columns = table("path", "bound", "beads", "length", "largest sample", left=["path"], no_wrap=True)
        for path in theorems.constructions:
            string = path.string
            numbers = f"{path.bound:.6g}", str(len(string)), f"{string.normalized_length:.4f}", f"{string.max_loss:.6g}"
            columns.add_row(path.name, *numbers)
        console.print(columns)
        if not all(path.straight for path in theorems.constructions):
            console.print("a string inscribed in a curved path may rise over its bound a little")
    for refusal in dict.fromkeys(theorems.refused.values()):
        names = [name for name, why in theorems.refused.items() if why == refusal]
        console.print(f"not {' nor '.join(names)}: {refusal}")
    if options.out is not None:
        console_for_text().print(f"files {options.out}")
