"""One run as one HTML page: the verdict in words, its numbers, its figures, and the settings to repeat it.

The page is self-contained (style, figures and Plotly's JavaScript are embedded, and its content security
policy forbids any request) and a pure function of its arguments: the same run gives the same bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from markupsafe import Markup

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry
from weightstring.report.draw.files import write_figures
from weightstring.report.draw.static import drawn
from weightstring.report.html import number, write_page
from weightstring.report.run.data import RunData, check, read_run
from weightstring.report.section import Page, Sections, drawings, render_page
from weightstring.store import RunDirectory, Store, StoreLike, opened

PAGE = "report.html"
"""Under which name a run's page is kept."""

RUN_SECTIONS: Sections[RunData] = Registry("section of a run's page", group="weightstring.run_sections")
"""The sections of a run's page, in its order."""
for _name in (
    "verdict",
    "cards",
    "along",
    "next_steps",
    "origin",
    "barriers",
    "string",
    "evolution",
    "measured",
    "plane",
    "alignment",
    "segments",
    "looseness",
    "ends",
    "history",
    "settings",
):
    RUN_SECTIONS.add(_name, f"weightstring.report.run.sections.{_name}:{_name}")


def render(run: RunData) -> str:
    """Render a run as one HTML page that needs no network.

    Args:
        run: what its directory holds.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        InvalidRun: its parts do not belong to one run.
    """
    check(run)
    manifest, kind = run.manifest, run.result.outcome.kind
    task = manifest.task.name.rpartition("/")[2] if manifest.task else "A problem built in Python"
    size = number(manifest.size) + (" parameter" if manifest.size == 1 else " parameters")
    options = sorted(manifest.task.options.items()) if manifest.task else []
    facts = Markup(" · ").join([size + f", {manifest.dtype}", *(f"{name} = {value}" for name, value in options)])
    page = Page("run", f"{task}: {kind}", "a low-loss string between two models", task, facts)
    return render_page(page, RUN_SECTIONS, run)


def write_run_report(run: StoreLike, out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a finished run: one HTML file that needs no network.

    Args:
        run: the run directory, or another store of the run.
        out: where to; ``report.html`` in the run directory by default.

    Returns:
        The path of the page.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or ``out`` cannot be written.
        InvalidSetting: the run is in no directory, and ``out`` is not given.
    """
    store = opened(run)
    if out is None:
        if not isinstance(store, RunDirectory):
            raise InvalidSetting(f"write_report of {store}: give out=, the file to write; the run is in no directory")
        out = store.path / PAGE
    return write_page(Path(out), render(read_run(store)))


def keep_page(store: Store) -> str:
    """Write the page of a finished run beside the run, wherever that is kept; where the page is now.

    Raises:
        InvalidRun: there is no finished run, or it is damaged.
        StoreFailed: the place refuses.
    """
    if isinstance(store, RunDirectory):
        return str(write_run_report(store))
    store.write(PAGE, page_bytes(store))
    return f"{store}/{PAGE}"


def page_bytes(store: Store) -> bytes:
    """The page of a finished run, which is written nowhere.

    Raises:
        InvalidRun: there is no finished run, or it is damaged.
    """
    return render(read_run(store)).encode()


def export_run_figures(run: StoreLike, folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure of a finished run's page as SVG, PDF and PNG; of the evolution the last step.

    Args:
        run: the run directory, or another store of the run.
        folder: where to; made if it is not there.

    Returns:
        The files, three a figure.

    Raises:
        InvalidSetting: matplotlib is not installed.
        InvalidRun: there is no finished run, or it is damaged.
        StoreFailed: the disk refuses.
    """
    data = read_run(run)
    check(data)
    figures = drawings(RUN_SECTIONS, data)
    return write_figures(folder, lambda: ((drawing.name, drawn(drawing.figure)) for drawing in figures))
