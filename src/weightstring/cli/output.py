"""What the command line prints about a run, in 80 columns."""

from __future__ import annotations

from rich.table import Table

from weightstring.cli.alignment import compared, remarks
from weightstring.cli.console import console_for_text, table
from weightstring.path import Connected, Disconnected, Unresolved
from weightstring.runs.facts import facts
from weightstring.runs.result import Result
from weightstring.store import Store
from weightstring.text import shown


def print_result(result: Result, store: Store) -> None:
    """Print the verdict and the numbers behind it."""
    console = console_for_text()
    string, names = result.string, list(result.string.curve.values)
    style = {Connected: "bold green", Unresolved: "bold yellow", Disconnected: "bold red"}[type(result.outcome)]
    console.print(shown(str(result.outcome)), style=style, soft_wrap=False)
    grid = Table.grid(padding=(0, 2))
    for label, value in facts(result):
        grid.add_row(label, value)
    console.print(grid)
    if result.alignment is not None:
        console.print(compared(result.alignment, result, result.plain))
        for line in remarks(result.alignment):
            console.print(line)
    ends = table("", "first end", "last end", "largest sampled", title="at the ends and on the string")
    for name in names:
        largest = string.barrier("max", name)
        first, last = (end[name] for end in result.ends)
        ends.add_row(name, f"{first:.6g}", f"{last:.6g}", f"{largest:.6g}")
    console.print(ends)
    page = f"\npage  {store}/report.html" if store.has("report.html") else ""
    console.print(f"run   {store}{page}")


def describe_unfinished(store: Store) -> str:
    """One line on a run without a verdict: how far it is and how to go on."""
    manifest, rounds = store.manifest(), store.replay()
    seconds = sum(r.seconds for r in rounds)
    return (
        f"{store}: not finished; {len(rounds)} rounds in {seconds:.1f} s towards {manifest.threshold:.6g} "
        f"on {manifest.bind}. Resume with: weightstring resume {store}"
    )
