"""A sweep in a notebook."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from weightstring.report.draw.chart_figure import chart_figure
from weightstring.report.notebook.view import View
from weightstring.report.sweep.data import SweepData
from weightstring.report.sweep.sections import beads, length
from weightstring.study.sweep.directory import record_of
from weightstring.study.sweep.running import Sweep


def sweep_view(sweep: Sweep) -> View:
    """Means at each threshold, and the table."""
    data = SweepData(record_of(sweep.plan, ()), sweep.rows, sweep.failed, {})
    charts = {chart.name: chart for make in (length.charts, beads.charts) for chart in make(data)} if sweep.rows else {}
    return View(
        heading=str(sweep),
        facts=[
            (
                f"{summary.variant}, threshold {summary.threshold:g}",
                f"{summary.connected.value:.2f} [{summary.connected.low:.2f}, {summary.connected.high:.2f}] of "
                f"{summary.pairs} connected; normalized length {summary.means['normalized_length'].value:.3f}, "
                f"beads {summary.means['beads'].value:.1f}",
            )
            for summary in sweep.summary
        ],
        figures={name: partial(chart_figure, chart) for name, chart in charts.items()},
        rows=lambda: [asdict(row) for row in sweep.rows],
    )
