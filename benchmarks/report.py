"""Write BENCHMARKS.md from the results that the others left in benchmarks/results/.

python -m benchmarks report
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import targets
from benchmarks.measuring import HERE, asked, kept, parser

TITLES = {
    "rivals": ("Connecting two networks: ours, plain greedy, and the rivals", "rivals.py"),
    "repeats": ("The same pairs by ten seeds each: ours and the rivals", "repeats.py"),
    "breakdown": ("Where the time of one connect goes", "breakdown.py"),
    "arithmetic": ("What a connect computes, and how fast", "arithmetic.py"),
    "steps": ("Gradient steps of a 1-4-4-1 network on 256 samples", "steps.py"),
    "convolutions": ("Convolutional networks: measured, and a gradient, by each engine", "convolutions.py"),
    "connect-small-cnn": ("A small CNN on MNIST, of all 10,000 test images, before `rivals` measured it", "rivals.py"),
    "many-digits": ("Pairs of digits networks 64-64-64-10 in one call", "many.py"),
    "many-polynomial": ("Pairs of polynomial networks 1-4-4-1 in one call", "many.py"),
    "sweep": ("The paper's quadratic: a sweep against one pair after the other", "sweep.py"),
    "strategies": ("Three strategies on the same pairs, medians", "strategies.py"),
    "triangle": ("Appendix E's triangle: how near to the exact barrier each strategy gets", "triangle.py"),
    "certificates": ("Certificates beside a 25-point grid of the same segments", "certificates.py"),
    "depth": ("Cost of certificates against depth, and the best case of an adjoint pass", "depth.py"),
    "attention": ("Certificates of transformers beside a 25-point grid", "attention.py"),
    "alignment": ("Aligning one of two networks first: the line, the string, and the time", "alignment.py"),
    "rates": ("The learning rates of the rivals, searched on other pairs", "rates.py"),
    "table": ("The loss at 17 points on a table", "table.py"),
    "memory": ("Memory of a connect", "memory.py"),
    "scale": ("Phases on GPT-2 layouts: copies of θ beyond the net, the data and the ends", "scale.py"),
}
HEAD = """# Benchmarks

Written by `python -m benchmarks report` from what the scripts in `benchmarks/` measured: all sides in one process,
taking turns, medians. CPU seconds are of the whole process, so that a busy machine hardly touches them; wall seconds of
a machine that others use may be many times as long. The plain reference is `benchmarks/reference.py`: eager PyTorch,
one bead at a time, 25-point grids on the whole evaluation set, Adam, a check every 20 steps, the library's own patience
rule. The rivals are in `benchmarks/curves.py` and `benchmarks/band.py`.

`python -m benchmarks --list` names them all; `WEIGHTSTRING_DATA` names the directory of the MNIST files.

## What was to be reached in speed

Ratios of CPU seconds, medians over pairs (`benchmarks/targets.py`, from the results below). Rivals look at whole grids,
as their papers' code does; with looks ended early, they stop at the first point over the threshold.
"""


def main(arguments: Sequence[str]) -> None:
    asked(parser(__doc__), arguments)
    limits = ["## What limits a pair", "", *targets.limits(), ""]
    limits += ["## What limits a large call", "", *targets.calls(), ""]
    sections = [HEAD, "\n".join([*table(targets.rows()), ""]), "\n".join(limits)]
    sections += [section(title, script, found) for name, (title, script) in TITLES.items() if (found := kept(name))]
    (HERE.parent / "BENCHMARKS.md").write_text("\n".join(sections))


def section(title: str, script: str, found: dict[str, object]) -> str:
    """A result as a table, what the script says about reading it before, what is a table of its own below."""
    commit = found.pop("commit", "")
    measured = f"on {found.pop('machine')}" + (f", at commit {commit}" if commit else "")
    lines = [f"## {title}", "", f"`benchmarks/{script}`, {measured}", ""]
    lines += [line for note in found.pop("notes", []) for line in (note, "")]
    nested = {key: value for key, value in found.items() if isinstance(value, dict | list)}
    if single := [f"| {key} | {value} |" for key, value in found.items() if key not in nested]:
        lines += ["| | |", "|---|---|", *single]
    for key, value in nested.items():
        rows = value if isinstance(value, list) else [value]
        lines += ["", f"{key[0].upper()}{key[1:]}:", "", *table(rows)]
    return "\n".join([*lines, ""])


def table(rows: list[dict[str, object]]) -> list[str]:
    """Rows of the same columns; a single one stands upright."""
    if len(rows) == 1:
        return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows[0].items())]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*head, *("| " + " | ".join(shown(row.get(column)) for column in columns) + " |" for row in rows)]


def shown(value: object) -> str:
    """A number to four digits; nothing where there is none."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
