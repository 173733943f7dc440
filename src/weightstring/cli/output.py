"""What the command line prints about a run, in 80 columns."""

from __future__ import annotations

from rich.table import Table

from weightstring.cli.alignment import compared, remarks
from weightstring.cli.console import console_for_text, table
from weightstring.cli.quiet import is_quiet
from weightstring.path import Connected, Disconnected, Unresolved
from weightstring.runs.facts import facts
from weightstring.runs.next_steps import next_steps
from weightstring.runs.result import Result
from weightstring.runs.summary import origin
from weightstring.store import Store
from weightstring.text import shown


def print_result(result: Result, store: Store, *, whole: bool = False) -> None:
    """Print the verdict and the numbers behind it; of the ``whole`` also where the run comes from."""
    console = console_for_text()
    string, names = result.string, list(result.string.curve.values)
    style = {Connected: "bold green", Unresolved: "bold yellow", Disconnected: "bold red"}[type(result.outcome)]
    console.print(shown(str(result.outcome)), style=style, soft_wrap=is_quiet())
    if is_quiet():
        return
    grid = Table.grid(padding=(0, 2))
    for label, value in facts(result):
        grid.add_row(label, value)
    console.print(grid)
    if result.alignment is not None:
        console.print(compared(result.alignment, result, result.plain))
        for remark in remarks(result.alignment):
            console.print(remark)
    line = result.line if len(string) > 2 else None
    headings = ["first end", "last end", "string", *(["straight line"] if line is not None else [])]
    values = table("", *headings, title=f"at the ends, and the largest sample on each; {_on(result)}")
    for name in names:
        first, last = (end[name] for end in result.ends)
        lines = [line.barrier("max", name)] if line is not None and name in line.curve.values else []
        numbers = (first, last, string.barrier("max", name), *lines)
        values.add_row(name, *(f"{value:.6g}" for value in numbers))
    console.print(values)
    manifest = store.manifest()
    rows = [("run", str(store)), *([("page", f"{store}/report.html")] if store.has("report.html") else [])]
    for label, value in rows:  # not in a grid, which would fold a path in two
        console.print(f"{label:<4}  {shown(value)}", soft_wrap=True, highlight=False)
    if whole:
        told = Table.grid(padding=(0, 2))
        for label, value in origin(manifest):
            told.add_row(label, shown(value))
        console.print(told)
    for step in next_steps(result, manifest, str(store)):
        console.print(f"\n{step.why}", style="italic", highlight=False)
        for folded in step.folded(console.width):
            console.print(shown(folded), soft_wrap=True, highlight=False)


def _on(result: Result) -> str:
    """Which data the quantities without a prefix are of."""
    return "no prefix: evaluation set" if result.evaluation == "evaluate" else "on the training set, the only one"


def describe_unfinished(store: Store) -> str:
    """One line on a run without a verdict: how far it is and how to go on."""
    manifest, rounds = store.manifest(), store.replay()
    seconds = sum(r.seconds for r in rounds)
    return (
        f"{store}: not finished; {len(rounds)} rounds in {seconds:.1f} s towards {manifest.threshold:.6g} "
        f"on {manifest.bind}. Resume with: weightstring resume {store}"
    )
