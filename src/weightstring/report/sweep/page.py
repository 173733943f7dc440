"""A sweep as one HTML page: how length, beads and the share connected change with the threshold, and its tables."""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from weightstring.arrays import finite_or_none
from weightstring.report.draw.theme import theme
from weightstring.report.html import figure_data, number, templates, write_page
from weightstring.report.run.page import BARRIERS
from weightstring.report.sweep.chart import Chart, plural, prefix, shown
from weightstring.report.sweep.command import repeating
from weightstring.report.sweep.data import Swept, read_sweep, summary_csv
from weightstring.report.sweep.figures import chart_figure
from weightstring.report.sweep.pairs import example_charts, line_chart
from weightstring.report.sweep.thresholds import (
    barrier_charts,
    beads_chart,
    length_charts,
    outcome_words,
    share_chart,
    threshold_title,
)
from weightstring.study.sweep.table import as_csv

ROWS = 500
"""Pairs that the page's table shows at most; the file to download has all."""


class Panel(NamedTuple):
    """A figure with a switch, where it is drawn in several ways."""

    name: str
    title: str
    charts: tuple[Chart, ...]


def write_sweep_report(sweep_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a sweep: one HTML file that needs no network.

    Args:
        sweep_dir: the sweep's directory, finished or not.
        out: where to; ``report.html`` in the sweep's directory by default.

    Returns:
        The path of the page.

    Raises:
        InvalidRun: there is no sweep, not one pair is finished, a file is damaged, or ``out`` cannot be written.
    """
    path = Path(out) if out is not None else Path(sweep_dir) / "report.html"
    return write_page(path, render_sweep(read_sweep(sweep_dir)))


def render_sweep(swept: Swept) -> str:
    """Render a sweep as one HTML page: a pure function, whose only source of numbers is the argument.

    Args:
        swept: what its directory holds.
    """
    panels = panels_of(swept)
    figures: dict[str, Any] = {
        "panels": {panel.name: [figure_data(chart_figure(chart)) for chart in panel.charts] for panel in panels},
        "themes": {name: theme(dark=name == "dark").to_plotly_json() for name in ("light", "dark")},
    }
    return _pages.get_template("sweep/page.html").render(
        record=swept.record,
        task=_task(swept),
        summary=swept.summary,
        rows=[row for name in swept.names for row in swept.pairs(name)][:ROWS],
        total=len(swept.rows),
        headline=headline(swept),
        all_connected=all(row.connected for row in swept.rows),
        panels=panels,
        barriers=BARRIERS,
        bound=threshold_title(swept).removeprefix("threshold L₀ of the "),
        failed=[place for place in swept.failed.items() if place[1]],
        trivial=swept.trivial,
        commands=repeating(swept.record),
        table_csv=_data_uri(as_csv(swept.rows)),
        summary_csv=_data_uri(summary_csv(swept.summary)),
        figures=figures,
        plotly=Markup(get_plotlyjs()),
    )


def panels_of(swept: Swept) -> tuple[Panel, ...]:
    """All figures of a sweep, in the page's order; those that it has nothing to draw for are left out."""
    line = line_chart(swept)
    panels = (
        Panel("length", "Normalized length against threshold", length_charts(swept)),
        Panel("beads", "Beads against threshold", (beads_chart(swept),)),
        Panel("share", "Share connected against threshold", (share_chart(swept),)),
        Panel("line", "Barrier of the straight line", () if line is None else (line,)),
        Panel("barrier", "Barriers of strings against threshold", barrier_charts(swept)),
        Panel("string", "Loss along the string", example_charts(swept)),
    )
    return tuple(panel for panel in panels if panel.charts)


def headline(swept: Swept) -> tuple[str, ...]:
    """What a sweep found, in sentences."""
    levels = sorted({row.threshold for row in swept.rows})
    where = f"{len(levels)} thresholds, {levels[-1]:g} to {levels[0]:g}" if levels[1:] else f"threshold {levels[0]:g}"
    forms = len({row.variant for row in swept.rows})
    of = f" of {forms} variants" if forms > 1 else ""
    sentences = [f"{plural(len(swept.rows), 'pair')} of networks{of} at {where}: {outcome_words(swept)}"]
    said = []
    for name in swept.names:
        own = [one for one in swept.of(name) if one.connected.value > 0]
        ends = [f"{shown(one.means['normalized_length'])} at {one.threshold:g}" for one in (*own[:1], *own[1:][-1:])]
        said += [prefix(swept, name) + " and ".join(ends)] if ends else []
    if said:
        sentences.append(f"Mean normalized length of connected pairs, with 95 % intervals: {'; '.join(said)}.")
    else:
        sentences.append("No pair is connected, so there is no mean length.")
    asked = swept.record.pairs * len(swept.record.thresholds) * len(swept.record.variants)
    if len(swept.rows) < asked:
        sentences.append(
            f"{plural(swept.record.pairs, 'pair')} at each of {plural(len(swept.record.thresholds), 'threshold')} "
            f"would be {asked:,}: {asked - len(swept.rows):,} are not here, because their ends never reached the "
            "threshold, the sweep is not finished, or fewer were asked for there."
        )
    failed = sum(map(len, swept.failed.values()))
    if failed:
        replaced = "" if swept.record.ends == "given" else ", each replaced by the next seed while tries last"
        sentences.append(f"Ends that never reached a threshold{replaced}: {failed:,}.")
    return tuple(sentences)


def _task(swept: Swept) -> str:
    names = dict.fromkeys(one.task.name.rpartition("/")[2] if one.task else "" for one in swept.record.variants)
    return ", ".join(filter(None, names)) or "Problems built in Python"


def _data_uri(text: str) -> str:
    """A file inside a link."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def _finite(value: float, digits: int = 4) -> Markup:
    """A number of the table; what is no number is called so, since JSON's absence of it is the page's None."""
    return number(finite_or_none(value), digits)


_pages = templates()
_pages.filters["finite"] = _finite
_pages.tests["known"] = lambda value: not math.isnan(value)
