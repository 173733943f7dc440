"""Arguments, errors and exit codes.

Nothing here imports PyTorch: ``--help`` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from weightstring.cli.arguments import (
    add_align,
    add_certify,
    add_compared,
    add_components,
    add_computing,
    add_export,
    add_limits,
    add_merge,
    add_pair,
    add_problem,
    add_random_pair,
    add_search,
    add_sharpness,
    add_sweep,
    add_task,
    add_theory,
)
from weightstring.cli.ending import MISUSE, code_of, plain_output
from weightstring.cli.recipe import add_recipe
from weightstring.cli.strategy import add_strategy
from weightstring.cli.values import directory, duration, number, positive, two_or_more, whole
from weightstring.text import shown

MODULES = {
    "align": "alignment",
    "certify": "certifying",
    "compare": "comparison",
    "components": "components",
    "export": "merging",
    "merge": "merging",
    "random-pair": "drawing",
    "sharpness": "sharpness",
    "sweep": "sweeping",
    "theory": "theory",
    "verify": "certifying",
}
"""Where a command's function is, if not in ``commands.py``."""


EXIT_CODES = """\
exit codes: 0 connected or done; 1 a fault of weightstring's own; 2 misuse, one
line says what to do; 3 unresolved, or no theorem applies; 4 certificate not
reached or not verified; 5 disconnected, by proof; 130 interrupted, with the
command that resumes."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        print(f"{self.prog}: {shown(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(MISUSE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    plain_output()
    options = build_parser().parse_args(arguments)
    # A scheduler that takes the machine back sends SIGTERM: leave as after Ctrl-C, resumable.
    signal.signal(signal.SIGTERM, _as_interrupt)
    module = MODULES.get(options.command, "commands")
    sys.exit(code_of(lambda options: _command(module, options), options))


def _command(module: str, options: argparse.Namespace) -> int:
    code: int = getattr(import_module(f"weightstring.cli.{module}"), options.command.replace("-", "_"))(options)
    return code


def _as_interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = OneLineParser(
        prog="weightstring",
        description="Find, measure and show low-loss paths between trained PyTorch models.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"weightstring {version('weightstring')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train two networks on real digits, connect them, show the path")
    demo.add_argument("--out", default="runs/demo", metavar="DIR", help="where everything goes (default: %(default)s)")
    demo.add_argument("--seed", type=whole, default=0, help="of the pair (default: %(default)s)")
    demo.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    train = commands.add_parser("train", help="train a random model of a task to a level")
    add_task(train)
    train.add_argument("--seed", type=whole, default=0, metavar="N", help="(default: %(default)s)")
    train.add_argument("--until", type=number, required=True, metavar="L", help="level to reach")
    train.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="of what: evaluate, train, or a metric such as error (default: %(default)s)",
    )
    train.add_argument("--json", action="store_true", help="what was measured as JSON on standard output")
    train.add_argument("--max-steps", type=positive, metavar="N", help="gradient steps at most")
    train.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write, .safetensors")
    add_recipe(train, steps=False)

    add_random_pair(commands.add_parser("random-pair", help="draw two random models near each other, or in loss"))

    connect = commands.add_parser("connect", help="search for a path between two models")
    add_search(connect)
    connect.add_argument("--threshold", type=number, metavar="L0", help="(default: the larger end's own value)")
    connect.add_argument(
        "--certify",
        action="store_true",
        help="prove that the loss is at most L0 on the whole path; refine where it fails",
    )
    connect.add_argument(
        "--align",
        nargs="?",
        choices=["only", "both"],
        const="only",
        metavar="both",
        help="bring B's units to where A has them first; with both, search without that too, beside it",
    )
    add_strategy(connect, default="persistent")

    add_align(commands.add_parser("align", help="permute and rescale one model's units to match another's"))

    minimax = commands.add_parser("minimax", help="search for the lowest threshold that connects two models")
    add_search(minimax)
    minimax.add_argument("--certify", action="store_true", help="prove the upper bound over the whole string found")
    add_strategy(minimax, default="sinking")

    add_theory(commands.add_parser("theory", help="what proofs and closed-form paths say of two models"))

    compare = commands.add_parser("compare", help="connect two models by every strategy")
    add_pair(compare)
    compare.add_argument("--threshold", type=number, metavar="L0", help="(default: the larger end's own value)")
    compare.add_argument("--out", metavar="DIR", help="keep each strategy's run there; the same command goes on")
    add_compared(compare)

    add_components(commands.add_parser("components", help="count components below a level, and draw how models join"))
    add_sweep(commands.add_parser("sweep", help="connect many pairs over thresholds and forms of a task"))

    resume = commands.add_parser("resume", help="go on with an interrupted or unresolved run")
    resume.add_argument("run", metavar="RUN", help="its directory")
    resume.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    add_problem(resume)
    add_limits(resume)
    add_computing(resume)

    show = commands.add_parser("show", help="what a run found")
    show.add_argument("run", metavar="RUN", help="its directory")
    show.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    download = commands.add_parser("download", help="fetch the data of a task")
    download.add_argument("name", choices=["mnist", "fashion-mnist"], help="mnist or fashion-mnist", metavar="NAME")
    download.add_argument("--data", type=directory, metavar="DIR", help="where to (default: $WEIGHTSTRING_DATA)")

    report = commands.add_parser("report", help="write a run's or a sweep's page: one HTML file")
    report.add_argument("run", metavar="RUN|SWEEP", help="its directory")
    report.add_argument("--out", metavar="PAGE", help="(default: report.html in this directory)")
    report.add_argument(
        "--plane",
        type=two_or_more,
        nargs="?",
        const=31,
        metavar="N",
        help="measure the loss at N × N points around a run's string for its page (default: 31)",
    )
    report.add_argument("--figures", metavar="DIR", help="its figures as SVG, PDF and PNG too (needs matplotlib)")
    add_problem(report)

    certify = commands.add_parser("certify", help="prove how high the loss is at most on a run's whole string")
    add_certify(certify)
    add_problem(certify)
    verify = commands.add_parser("verify", help="check a run's certificate again by other means, or its proof")
    verify.add_argument("run", metavar="RUN", help="its directory")
    verify.add_argument("--certificate", metavar="FILE", help="(default: certificate.json in RUN)")
    verify.add_argument("--seconds", type=duration, metavar="S", help="time at most (default: none)")
    verify.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    add_problem(verify)
    sharpness = commands.add_parser("sharpness", help="how curved the training loss is along a run's string")
    add_sharpness(sharpness)
    add_problem(sharpness)
    export = commands.add_parser("export", help="write a model on a run's string as a checkpoint")
    add_export(export)
    add_problem(export)
    merge = commands.add_parser("merge", help="what merging the two models of a run is worth")
    add_merge(merge)
    add_problem(merge)
    return parser
