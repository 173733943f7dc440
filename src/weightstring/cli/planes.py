"""The loss on a plane through a run's string, measured for its page."""

from __future__ import annotations

from argparse import Namespace

from weightstring.cli.opening import opened
from weightstring.path.plane import plane
from weightstring.report.plane import to_record
from weightstring.store import RunDirectory


def measure_plane(options: Namespace) -> None:
    """Measure the plane through a finished run's ends and its farthest bead, and keep it in the run's directory.

    Args:
        options: of ``report``: the run, grid points a side, and the task where the run's own would not do.

    Raises:
        InvalidRun: it is not finished, damaged, or was begun from Python.
        InvalidSetting: the string is straight, or the resolution is out of range.
        RunLocked: another process is writing to it.
    """
    directory = RunDirectory(options.run)
    problem, result, _ = opened(options)
    found = plane(problem, result.string, options.plane, bind=directory.manifest().bind)
    with directory.locked():
        directory.write_plane(to_record(found, directory.result().beads_sha256))
