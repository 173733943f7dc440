"""How the second end was aligned with the first, and what that brought (Section IV)."""

from __future__ import annotations

from typing import NamedTuple

from weightstring.report.draw.correlation import FEW, MOST, correlation_figure, mean
from weightstring.report.draw.two_strings import two_strings_figure
from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Drawing, Section
from weightstring.store.alignment_record import AlignmentRecord


def alignment(run: RunData) -> Section | None:
    if run.alignment is None:
        return None
    figures = {}
    if run.unaligned is not None:
        figures["both"] = [Drawing("both", two_strings_figure(run.result, run.unaligned, run.held))]
    correlation = correlation_figure(run.alignment.groups)
    if correlation is not None:
        figures["correlation"] = [Drawing("correlation", correlation)]
    html = template(
        "run/sections/alignment.html",
        run=run,
        groups=group_rows(run.alignment),
        correlation=overall(run.alignment),
        height=None if correlation is None else correlation.layout.height,
        few=FEW,
        most=MOST,
    )
    return Section("Alignment", html, figures)


class GroupRow(NamedTuple):
    """One group in numbers; a mean is None where no activations were observed."""

    name: str
    over: tuple[str, ...]
    units: int
    moved: int
    before: float | None
    after: float | None
    factors: tuple[float, float] | None
    """The least and the largest of the factors of its units; None where they were not rescaled."""


def group_rows(alignment: AlignmentRecord) -> list[GroupRow]:
    """Every group of an alignment in numbers, in its order."""
    return [
        GroupRow(
            group.name,
            group.over,
            len(group.permutation),
            group.moved,
            mean(group.correlation_before),
            mean(group.correlation),
            (min(factors), max(factors)) if (factors := alignment.factors.get(group.name)) else None,
        )
        for group in alignment.groups
    ]


def overall(alignment: AlignmentRecord) -> tuple[int, float | None, float | None]:
    """Units whose activations were observed, and their mean correlation before and after."""
    before = [value for group in alignment.groups for value in group.correlation_before]
    after = [value for group in alignment.groups for value in group.correlation]
    return len(after), mean(before), mean(after)
