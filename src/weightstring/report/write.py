"""From a run directory to its page."""

from __future__ import annotations

import os
from pathlib import Path

from weightstring.errors import InvalidRun
from weightstring.report.page import render
from weightstring.result import certificate_in
from weightstring.store import RunDirectory, replace_file


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
    beads = directory.string()
    page = render(directory.manifest(), directory.result(), beads, certificate_in(directory, beads))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be written: {problem.strerror}") from None
    return path
