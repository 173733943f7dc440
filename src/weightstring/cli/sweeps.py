"""What commands print of a sweep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from weightstring.study.sweep.collecting import Gathered
    from weightstring.study.sweep.statistics import Interval
    from weightstring.study.sweep.summary import Summary


def print_sweep(found: Gathered, out: Path) -> None:
    """The summary of a sweep, what the numbers are of, and where they lie."""
    from weightstring.cli.console import console_for_text
    from weightstring.study.sweep.summary import beads_law

    console = console_for_text()
    console.print(_table(found.summary))
    console.print("length: normalized, mean of connected pairs; 95 % intervals by bootstrap, Wilson")
    for name in dict.fromkeys(row.variant for row in found.rows):
        law = beads_law([row for row in found.rows if row.variant == name], found.record.seed)
        if law is not None:
            console.print(f"{name}: beads ~ threshold^p with p = {_interval(law.exponent)}, over {law.points} pairs")
    unresolved = sum(row.unresolved for row in found.summary)
    if unresolved:
        console.print(f"{unresolved} of {len(found.rows)} pairs unresolved: counted in the share, not in means")
    asked = {variant.name: variant for variant in found.record.variants}
    over = "checkpoints lie over it" if found.record.ends == "given" else "networks never reached it"
    for row in found.summary:
        ends = found.ends.get((row.variant, row.threshold))
        if ends is not None and ends.pairs < (count := asked[row.variant].pairs_at(row.threshold, found.record.pairs)):
            console.print(
                f"{row.variant}, threshold {row.threshold:g}: only {ends.pairs} of {count} pairs, "
                f"{row.failed_ends} {over}"
            )
    console.print(f"sweep {out}\ntable {out / 'table.csv'}")


def print_missing(found: Gathered, out: Path) -> None:
    """Which pairs have no row yet, and how they get one."""
    from weightstring.cli.console import console_for_text

    if not found.missing:
        return
    some = ", ".join(f"{each.variant} {each.threshold:g} pair {each.pair}" for each in found.missing[:3])
    more = ", ..." if len(found.missing) > 3 else ""
    console_for_text().print(
        f"{len(found.missing)} of {len(found.missing) + len(found.rows)} pairs have no row yet: {some}{more}\n"
        f"the same `weightstring sweep ... --out {out}` goes on, in one process or with --shard K/N in several"
    )


def _table(summary: tuple[Summary, ...]) -> Table:
    from weightstring.cli.console import table

    headings = "variant", "L0", "pairs", "connected", "length", "beads", "grads", "failed"
    columns = table(*headings, left=["variant"], gap=1)
    for row in summary:
        columns.add_row(
            row.variant,
            f"{row.threshold:g}",
            str(row.pairs),
            _interval(row.connected, 2),
            _interval(row.means["normalized_length"]),
            f"{row.means['beads'].value:.1f}",
            f"{row.means['gradients'].value:.0f}",
            str(row.failed_ends),
        )
    return columns


def _interval(interval: Interval, digits: int = 3) -> str:
    ends = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if math.isfinite(interval.low) else ""
    return f"{interval.value:.{digits}f}{ends}"
