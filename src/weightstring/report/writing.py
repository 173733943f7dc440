"""``write_report``: one call for the page of whatever has one."""

from __future__ import annotations

import os
from pathlib import Path

from weightstring.ambient import undisturbed
from weightstring.errors import InvalidSetting
from weightstring.path import WeightString
from weightstring.report.atlas.page import write_atlas_report
from weightstring.report.matrix.page import write_matrix_report
from weightstring.report.merging.page import write_merging_report
from weightstring.report.run.page import write_run_report
from weightstring.report.string.page import write_string_report
from weightstring.store import StoreLike
from weightstring.study.charting import Atlas
from weightstring.study.lines import Matrix
from weightstring.study.mergeability import Mergeability


@undisturbed
def write_report(
    what: StoreLike | WeightString | Matrix | Atlas | Mergeability, out: str | os.PathLike[str] | None = None
) -> Path:
    """Write the page of a finished run, any string, a matrix, an atlas, a verdict on merging: one file, no network.

    The page of a string says that no search and no verdict stand behind it: its numbers are *sampled*, no more.

    Args:
        what: the run directory, or another store of a run; a string, such as a straight line or one's own curve, which
            is measured if it was not; what :func:`weightstring.matrix`, :func:`weightstring.atlas` or
            :func:`weightstring.mergeable` returns.
        out: where to; for a run ``report.html`` in its directory by default.

    Returns:
        The path of the page.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or ``out`` cannot be written.
        InvalidSetting: what is shown is in no directory, and ``out`` is not given; or a string has neither a problem
            nor a curve.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> with TemporaryDirectory() as folder:
    ...     page = write_report(WeightString(ring, torch.stack(list(ring.ends))), f"{folder}/line.html")
    ...     "No search and no verdict" in page.read_text()
    True
    """
    if not isinstance(what, WeightString | Matrix | Atlas | Mergeability):
        return write_run_report(what, out)
    if out is None:
        raise InvalidSetting(f"write_report of a {type(what).__name__}: give out=, the file to write")
    place = Path(out)
    if isinstance(what, WeightString):
        return write_string_report(what, place)
    if isinstance(what, Mergeability):
        return write_merging_report(what, place)
    return write_matrix_report(what, place) if isinstance(what, Matrix) else write_atlas_report(what, place)
