"""A sweep as one HTML page: how length, beads and the share connected change with the threshold, and its tables."""

from __future__ import annotations

import os
from pathlib import Path

from weightstring.registry import Registry
from weightstring.report.draw.files import write_figures
from weightstring.report.draw.static import drawn
from weightstring.report.html import write_page
from weightstring.report.section import Page, Sections, drawings, render_page
from weightstring.report.sweep.data import SweepData, read_sweep
from weightstring.report.sweep.words import plural

SWEEP_SECTIONS: Sections[SweepData] = Registry("section of a sweep's page", group="weightstring.sweep_sections")
"""The sections of a sweep's page, in its order."""
for _name in (
    "headline",
    "length",
    "beads",
    "share",
    "line",
    "barrier",
    "string",
    "thresholds",
    "pairs",
    "repeat",
    "settings",
):
    SWEEP_SECTIONS.add(_name, f"weightstring.report.sweep.sections.{_name}:{_name}")


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


def render_sweep(sweep: SweepData) -> str:
    """Render a sweep as one HTML page.

    Args:
        sweep: what its directory holds.
    """
    variants = sweep.record.variants
    tasks = dict.fromkeys(variant.task.name.rpartition("/")[2] if variant.task else "" for variant in variants)
    heading = ", ".join(filter(None, tasks)) or "Problems built in Python"
    title = f"{heading}: a sweep of {plural(len(sweep.rows), 'pair')}"
    facts = " · ".join(variant.name for variant in variants) if len(variants) > 1 else ""
    page = Page("sweep", title, "a sweep: how nonconvex is the loss?", heading, facts)
    return render_page(page, SWEEP_SECTIONS, sweep)


def export_figures(sweep_dir: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure of a sweep's page as SVG, PDF and PNG.

    Args:
        sweep_dir: the sweep's directory.
        folder: where to; made if it is not there.

    Returns:
        The files, three a figure.

    Raises:
        InvalidSetting: matplotlib is not installed.
        InvalidRun: there is no sweep, not one pair is finished, or a file is damaged.
        StoreFailed: the disk refuses.
    """
    figures = drawings(SWEEP_SECTIONS, read_sweep(sweep_dir))
    return write_figures(folder, lambda: ((drawing.name, drawn(drawing.figure)) for drawing in figures))
