"""From a run directory to its page, and to its figures as files."""

from __future__ import annotations

import os
from pathlib import Path

from weightstring.ambient import undisturbed
from weightstring.report.draw.files import write_figures
from weightstring.report.draw.static import drawn
from weightstring.report.html import write_page
from weightstring.report.run.data import figures_of, read_run
from weightstring.report.run.page import render


@undisturbed
def write_report(run: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a finished run: one HTML file that needs no network.

    Args:
        run: the run directory.
        out: where to; ``report.html`` in the run directory by default.

    Returns:
        The path of the page.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or ``out`` cannot be written.
    """
    path = Path(out) if out is not None else Path(run) / "report.html"
    return write_page(path, render(read_run(run)))


def export_run_figures(run: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure of a finished run's page as SVG, PDF and PNG; of the evolution the last step.

    Args:
        run: the run directory.
        folder: where to; made if it is not there.

    Returns:
        The files, three a figure.

    Raises:
        InvalidSetting: matplotlib is not installed.
        InvalidRun: there is no finished run, or it is damaged.
        StoreFailed: the disk refuses.
    """
    figures = figures_of(read_run(run))
    return write_figures(folder, lambda: ((name, drawn(figure)) for name, figure in figures.items()))
