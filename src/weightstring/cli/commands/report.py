"""``weightstring report``: the page of a run or of a sweep, and its figures as files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import weightstring as ws
from weightstring.cli.ending import DONE
from weightstring.cli.options.problem import add_problem
from weightstring.cli.options.values import two_or_more
from weightstring.errors import InvalidSetting
from weightstring.text import shown

HELP = "write a run's or a sweep's page: one HTML file"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP", help="its directory")
    parser.add_argument("--out", metavar="PAGE", help="(default: report.html in this directory)")
    parser.add_argument(
        "--plane",
        type=two_or_more,
        nargs="?",
        const=31,
        metavar="N",
        help="measure the loss at N × N points around a run's string for its page (default: 31)",
    )
    parser.add_argument("--figures", metavar="DIR", help="its figures as SVG, PDF and PNG too (needs matplotlib)")
    add_problem(parser)


def run(options: Namespace) -> int:
    """Write the page, and the figures where that is asked for."""
    from weightstring.report.run.page import export_run_figures, keep_page
    from weightstring.report.sweep.page import export_figures, write_sweep_report
    from weightstring.store import opened
    from weightstring.store.objects import is_url
    from weightstring.study.sweep.directory import SweepDirectory

    is_sweep = not is_url(options.run) and SweepDirectory(Path(options.run)).exists
    export = export_figures if is_sweep else export_run_figures
    if options.plane is not None:
        if is_sweep:
            raise InvalidSetting(f"--plane: {options.run} is a sweep, which has no string; give one of its runs")
        _measure_plane(options)
    if is_sweep:
        page = str(write_sweep_report(options.run, options.out))
    else:
        page = keep_page(opened(options.run)) if options.out is None else str(ws.write_report(options.run, options.out))
    print(shown(page))
    if options.figures is not None:
        print(*map(shown, map(str, export(options.run, options.figures))), sep="\n")
    return DONE


def _measure_plane(options: Namespace) -> None:
    """Measure the plane through the run's ends and its farthest bead, and keep it in the run's directory."""
    from weightstring.cli.opening import opened
    from weightstring.cli.progress import foretell
    from weightstring.report.draw.plane import to_record
    from weightstring.store import opened as store_at

    directory = store_at(options.run)
    problem, result, _ = opened(options)
    begin = partial(foretell, problem, result.string[0], "the plane", options.plane**2)
    measured = ws.plane(problem, result.string, options.plane, bind=directory.manifest().bind, on_begin=begin)
    with directory.locked():
        directory.write_plane(to_record(measured, directory.result().beads_sha256))
