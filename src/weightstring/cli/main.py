"""Arguments, errors and exit codes.

Nothing here imports PyTorch: ``--help`` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

from weightstring.cli.strategy import add_strategy
from weightstring.errors import LevelNotReached, WeightstringError

MODULES = {
    "align": "alignment",
    "certify": "certifying",
    "compare": "comparison",
    "export": "merging",
    "merge": "merging",
    "sweep": "sweeping",
    "verify": "certifying",
}
"""Where a command's function is, if not in ``commands.py``."""

DONE, MISUSE, UNRESOLVED, NOT_CERTIFIED, DISCONNECTED, INTERRUPTED = 0, 2, 3, 4, 5, 130

EXIT_CODES = """\
exit codes: 0 connected or done; 2 misuse, one line says what to do; 3 unresolved;
4 certificate not reached or not verified; 5 disconnected, by proof; 130 interrupted, with the command that
resumes."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with 2."""
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(MISUSE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    options = build_parser().parse_args(arguments)
    # A scheduler that takes the machine back sends SIGTERM: leave as after Ctrl-C, resumable.
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        commands = import_module(f"weightstring.cli.{MODULES.get(options.command, 'commands')}")
        code = getattr(commands, options.command)(options)
    except LevelNotReached as error:
        code = _complain(error, UNRESOLVED)
    except WeightstringError as error:
        code = _complain(error, MISUSE)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        code = DONE
    except KeyboardInterrupt:
        print("weightstring: interrupted; the same command starts again where this one began", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def _as_interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: Exception, code: int) -> int:
    # One line, even where a message quotes text of several, such as an exception of the user's own.
    print(f"weightstring: {' '.join(str(error).splitlines())}", file=sys.stderr)
    return code


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
    demo.add_argument("--seed", type=_whole, default=0, help="of the pair (default: %(default)s)")
    demo.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    train = commands.add_parser("train", help="train a random model of a task to a level")
    _add_task(train)
    train.add_argument("--seed", type=_whole, default=0, metavar="N", help="(default: %(default)s)")
    train.add_argument("--until", type=_number, required=True, metavar="L", help="evaluation loss to reach")
    train.add_argument("--max-steps", type=_positive, metavar="N", help="gradient steps at most")
    train.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write, .safetensors")

    connect = commands.add_parser("connect", help="search for a path between two models")
    _add_search(connect)
    connect.add_argument("--threshold", type=_number, metavar="L0", help="(default: the larger end's own value)")
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
    add_strategy(connect)

    _add_align(commands.add_parser("align", help="permute and rescale one model's units to match another's"))

    minimax = commands.add_parser("minimax", help="search for the lowest threshold that connects two models")
    _add_search(minimax)
    minimax.add_argument("--certify", action="store_true", help="prove the upper bound over the whole string found")

    compare = commands.add_parser("compare", help="connect two models by every strategy")
    _add_pair(compare)
    compare.add_argument("--threshold", type=_number, metavar="L0", help="(default: the larger end's own value)")

    _add_sweep(commands.add_parser("sweep", help="connect many pairs over thresholds and forms of a task"))

    resume = commands.add_parser("resume", help="go on with an interrupted or unresolved run")
    resume.add_argument("run", metavar="RUN", help="its directory")
    resume.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    _add_limits(resume)
    _add_computing(resume)

    show = commands.add_parser("show", help="what a run found")
    show.add_argument("run", metavar="RUN", help="its directory")
    show.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    download = commands.add_parser("download", help="fetch the data of a task")
    download.add_argument("name", choices=["mnist", "fashion-mnist"], help="mnist or fashion-mnist", metavar="NAME")
    download.add_argument("--data", type=_directory, metavar="DIR", help="where to (default: $WEIGHTSTRING_DATA)")

    report = commands.add_parser("report", help="write a run's or a sweep's page: one HTML file")
    report.add_argument("run", metavar="RUN|SWEEP", help="its directory")
    report.add_argument("--out", metavar="PAGE", help="(default: report.html in this directory)")
    report.add_argument(
        "--plane",
        type=_two_or_more,
        nargs="?",
        const=31,
        metavar="N",
        help="measure the loss at N × N points around a run's string for its page (default: 31)",
    )
    report.add_argument("--figures", metavar="DIR", help="a sweep's figures as SVG, PDF and PNG too (needs matplotlib)")

    _add_certify(commands.add_parser("certify", help="prove how high the loss is at most on a run's whole string"))
    verify = commands.add_parser("verify", help="check a run's certificate again, by other means")
    verify.add_argument("run", metavar="RUN", help="its directory")
    verify.add_argument("--certificate", metavar="FILE", help="(default: certificate.json in RUN)")
    verify.add_argument("--seconds", type=float, metavar="S", help="time at most (default: none)")
    verify.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    _add_export(commands.add_parser("export", help="write a model on a run's string as a checkpoint"))
    _add_merge(commands.add_parser("merge", help="what merging the two models of a run is worth"))
    return parser


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    parser.add_argument(
        "--thresholds", type=_numbers, required=True, metavar="L,L,...", help="L0, each by itself, joined by commas"
    )
    parser.add_argument("--pairs", type=_positive, default=32, metavar="N", help="at each (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="the sweep's directory; what is there is used")
    parser.add_argument(
        "--over",
        action="append",
        type=_several,
        default=[],
        metavar="KEY=V,V,...",
        help="values of an option of the task to sweep too, such as width=4,8,16; may be repeated",
    )
    parser.add_argument(
        "--bind", default="loss", metavar="WHAT", help="loss, train_loss, or a metric such as error (default: loss)"
    )
    parser.add_argument(
        "--train-ends",
        choices=["carried", "afresh"],
        default="carried",
        help="networks for a lower threshold go on from those for a higher one, or start at random "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--tries", type=_positive, default=20, metavar="N", help="networks at most for each needed (default: 20)"
    )
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")
    add_strategy(parser)
    _add_limits(parser)


def _add_align(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    _add_models(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint of the aligned B, .safetensors")
    parser.add_argument(
        "--by",
        choices=["barrier", "distance"],
        default="barrier",
        help="which way to align is taken: the lowest barrier of the straight line, or the least distance "
        "(default: %(default)s)",
    )
    parser.add_argument("--no-rescale", action="store_true", help="permute only")
    parser.add_argument(
        "--restarts", type=_positive, default=3, metavar="N", help="starts of weight matching (default: %(default)s)"
    )
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="of these (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _add_certify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument("--threshold", type=_number, metavar="L0", help="what to prove (default: the run's own)")
    parser.add_argument("--quantity", metavar="NAME", help="what to bound, such as error (default: what the run bound)")
    parser.add_argument(
        "--tol",
        type=_number,
        default=1e-3,
        metavar="T",
        help="how near to the largest sample where there is no threshold to reach, relative (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="(default: certificate.json in RUN, certificate-NAME.json where not the run's own)",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="time at most (default: none)")
    parser.add_argument(
        "--max-bytes", type=_positive, default=1 << 30, metavar="N", help="memory at most (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument(
        "--at",
        type=_place,
        required=True,
        metavar="S",
        help="where: 0 to 1 along the arc length, midpoint, or best (least sampled evaluation loss)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="checkpoint to write, .safetensors")


def _add_merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="its directory")
    parser.add_argument(
        "--points",
        type=_two_or_more,
        default=5,
        metavar="N",
        help="models whose predictions are averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--average",
        choices=["probabilities", "last_axis_probabilities", "log_probabilities", "binary_probabilities", "outputs"],
        metavar="WHAT",
        help="what of them: probabilities (softmax over axis 1), last_axis_probabilities, log_probabilities (exp), "
        "binary_probabilities (sigmoid) or outputs (default: as torch's own losses read them, else outputs)",
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _add_search(parser: argparse.ArgumentParser) -> None:
    """A search between two models that is kept in a directory."""
    _add_pair(parser)
    parser.add_argument("--out", metavar="RUN", help="run directory (default: runs/<task>-<digest>)")
    _add_computing(parser)


def _add_pair(parser: argparse.ArgumentParser) -> None:
    """The two models, and what all searches between them have in common."""
    _add_task(parser)
    _add_models(parser)
    parser.add_argument(
        "--bind",
        default="evaluate",
        metavar="WHAT",
        help="what the threshold binds: evaluate, train, both, or a metric such as error (default: %(default)s)",
    )
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--engine",
        choices=["auto", "fastest", "loop", "vmap", "stack", "compiled"],
        default="auto",
        help="how several models are computed; fastest also tries compiled code (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    _add_limits(parser)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "a", metavar="A", help="a checkpoint: .safetensors, or .pt read with weights_only=True; or random:SEED"
    )
    parser.add_argument("b", metavar="B", help="the other one")


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="TASK", help="digits, polynomial, mnist, fashion-mnist, text, or path/to/file.py:function"
    )
    parser.add_argument(
        "--set",
        dest="options",
        action="append",
        type=_key_value,
        default=[],
        metavar="KEY=VALUE",
        help="an option of the task, such as target=cubic; may be repeated",
    )
    parser.add_argument(
        "--data",
        dest="options",
        action="append",
        type=_data_option,
        metavar="DIR",
        help="directory of the task's data, its option data (default: $WEIGHTSTRING_DATA)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-beads", type=_positive, metavar="N", help="beads on the string (default: 64)")
    limits.add_argument("--max-steps", type=_positive, metavar="N", help="gradient steps in all (default: none)")
    limits.add_argument("--seconds", type=float, metavar="S", help="time in all sessions (default: none)")


def _add_computing(parser: argparse.ArgumentParser) -> None:
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--workers", type=_positive, metavar="N", help="processes that share the work (default: one, which batches it)"
    )


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _several(text: str) -> tuple[str, list[str]]:
    key, values = _key_value(text)
    return key, [value for value in values.split(",") if value]


def _numbers(text: str) -> list[float]:
    return [_number(part) for part in text.split(",") if part]


def _data_option(text: str) -> tuple[str, str]:
    return "data", str(_directory(text))


def _directory(text: str) -> Path:
    # Absolute: a run that is resumed elsewhere must find the same data.
    return Path(text).resolve()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _positive(text: str) -> int:
    return _integer(text, 1)


def _whole(text: str) -> int:
    return _integer(text, 0)


def _two_or_more(text: str) -> int:
    return _integer(text, 2)


def _place(text: str) -> float | str:
    if text in ("best", "midpoint"):
        return text
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not on the string: give 0 to 1, midpoint or best")
    return share


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    return value
