"""How an alignment is printed."""

from __future__ import annotations

from rich.table import Table

from weightstring.cli.console import table
from weightstring.runs.result import Result
from weightstring.store.alignment_record import AlignmentRecord


def compared(record: AlignmentRecord, aligned: Result | None = None, plain: Result | None = None) -> Table:
    """The two models as they were given and aligned, side by side; of a search what it found too."""
    columns = table("", "as given", "aligned", title="before and after alignment")
    columns.add_row("distance of the ends", f"{record.distance_before:.6g}", f"{record.distance:.6g}")
    columns.add_row(f"barrier of the line, {record.measured}", _number(record.barrier_before), _number(record.barrier))
    if aligned is not None:
        names = "found", "beads with the ends", "normalized length", "gradient steps", "seconds"
        for row in zip(names, _outcome(plain), _outcome(aligned), strict=True):
            columns.add_row(*row)
    return columns


def remarks(record: AlignmentRecord) -> list[str]:
    """What else is to be said of an alignment."""
    how = "B left as it was" if record.method == "none" else f"B's units matched by {record.method}"
    how = "B's units matched by the loss on the line" if record.method == "learned" else how
    scaled = ", mixed by linear maps" * record.mapped + ", and rescaled" * record.rescaled
    gradients = f", {record.gradients} gradients" * bool(record.gradients)
    cost = [] if record.evaluations is None else [f"{record.evaluations:.3g} evaluations of one model{gradients}"]
    whole = f"outputs on {record.examples} inputs"
    if record.units == "batches":
        whole = f"outputs on the first evaluation batch, losses of all {record.examples}"
    rounded = f" up to {record.rounding} rounding" if record.rounding else ""
    ways = len(record.candidates)
    least = "" if record.tied else f": least {record.by} of {ways} ways"
    tied = [f"all {ways} ways have the same barrier: taken by middle, then by distance"]
    return [
        f"{how}{scaled}{least}; {record.seconds:.1f} s",
        *(tied if record.tied else []),
        f"same function{rounded}: within {record.difference:.2g} of the largest output",
        f"compared: {whole}",
        f"the architecture has 10^{record.log10_permutations:.4g} permutations of units",
        *cost,
    ]


def _outcome(result: Result | None) -> tuple[str, ...]:
    if result is None:
        return ("not searched", "", "", "", "")
    length = result.string.normalized_length
    verdict = "connected" if result.connected else type(result.outcome).__name__.lower()
    return verdict, str(len(result.string)), f"{length:.4f}", str(result.steps), f"{result.seconds:.1f}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"
