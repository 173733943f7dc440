"""Write BENCHMARKS.md from the results that the other scripts left in benchmarks/results/.

python -m benchmarks report
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import RESULTS, asked, parser

TITLES = {
    "steps": ("Gradient steps of a 1-4-4-1 network on 256 samples", "steps.py"),
    "connect-mlp": ("Connecting MNIST networks 784-256-128-10", "connect.py"),
    "connect-small-cnn": ("Connecting MNIST networks conv16-pool-conv32-pool-fc64-fc10", "connect.py"),
    "many-digits": ("Pairs of digits networks 64-64-64-10 in one call", "many.py"),
    "many-polynomial": ("Pairs of polynomial networks 1-4-4-1 in one call", "many.py"),
    "sweep": ("The paper's quadratic: a sweep against one pair after the other", "sweep.py"),
    "strategies": ("Three strategies on the same pairs, medians", "strategies.py"),
    "triangle": ("Appendix E's triangle: how near to the exact barrier each strategy gets", "triangle.py"),
    "certificates": ("Certificates beside a 25-point grid of the same segments", "certificates.py"),
    "alignment": ("Aligning one of two networks first: the line, the string, and the time", "alignment.py"),
    "table": ("The loss at 17 points on a table", "table.py"),
    "memory": ("Memory of a connect", "memory.py"),
    "scale": ("Phases on GPT-2 layouts: copies of θ beyond the net, the data and the ends", "scale.py"),
}
HEAD = """# Benchmarks

Written by `python -m benchmarks report` from what the scripts in `benchmarks/` measured. Each runs both
sides in one process, one after the other or taking turns, and keeps medians. The plain reference is
`benchmarks/reference.py`: eager PyTorch, one bead at a time, 25-point grids on the whole evaluation set,
Adam, a check every 20 steps, the library's own patience rule.

How to repeat them is in the head of each script; `WEIGHTSTRING_DATA` names the directory of the MNIST files.
"""


def main(arguments: Sequence[str]) -> None:
    asked(parser(__doc__), arguments)
    sections = [HEAD]
    for name, (title, script) in TITLES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            sections.append(section(title, script, json.loads(path.read_text())))
    (Path(__file__).parent.parent / "BENCHMARKS.md").write_text("\n".join(sections))


def section(title: str, script: str, found: dict[str, object]) -> str:
    """A result as a table, what the script says about reading it before, what is a table of its own below."""
    lines = [f"## {title}", "", f"`benchmarks/{script}`, on {found.pop('machine')}", ""]
    lines += [line for note in found.pop("notes", []) for line in (note, "")]
    lines += ["| | |", "|---|---|"]
    nested = {key: value for key, value in found.items() if isinstance(value, dict | list)}
    lines += [f"| {key} | {value} |" for key, value in found.items() if key not in nested]
    for key, value in nested.items():
        rows = value if isinstance(value, list) else [value]
        lines += ["", f"{key[0].upper()}{key[1:]}:", "", *table(rows)]
    return "\n".join([*lines, ""])


def table(rows: list[dict[str, object]]) -> list[str]:
    """Rows of the same columns; a single one stands upright."""
    if len(rows) == 1:
        return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows[0].items())]
    columns = list(rows[0])
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*head, *("| " + " | ".join(shown(row[column]) for column in columns) + " |" for row in rows)]


def shown(value: object) -> str:
    """A number to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
