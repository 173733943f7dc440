"""From a run directory to its page."""

from __future__ import annotations

import os
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.report.evolution import read_evolution
from weightstring.report.html import write_page
from weightstring.report.page import render
from weightstring.result import certificate_in
from weightstring.store import ResultRecord, RunDirectory
from weightstring.store.records import AlignmentRecord, Manifest


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
    directory = RunDirectory(run)
    path = Path(out) if out is not None else directory.path / "report.html"
    manifest, beads, alignment = directory.manifest(), directory.string(), directory.alignment()
    plain = _plain(directory.plain, manifest, alignment)
    result = directory.result()
    certificate, plane = certificate_in(directory, beads), directory.plane_record()
    evolution = read_evolution(directory, manifest, result, beads)
    page = render(manifest, result, beads, certificate, alignment, plain, evolution, plane)
    return write_page(path, page)


def _plain(directory: RunDirectory, manifest: Manifest, alignment: AlignmentRecord | None) -> ResultRecord | None:
    """The result of the search without alignment, if there is one.

    Raises:
        InvalidRun: it is damaged, or lies between other models than those that were given.
    """
    if alignment is None or not directory.finished:
        return None
    if directory.manifest().ends != (manifest.ends[0], alignment.original):
        raise InvalidRun(f"{directory.path}: not a run between the models that were aligned; move it elsewhere")
    return directory.result()
