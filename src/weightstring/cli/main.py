"""The program: it reads the command line, runs one command and exits with its code."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from weightstring.cli.commands import COMMANDS
from weightstring.cli.completion import complete
from weightstring.cli.ending import code_of, plain_output
from weightstring.cli.parser import CommandParser
from weightstring.cli.quiet import be_quiet
from weightstring.cli.ranks import check_ranks, follow, follows

EXIT_CODES = """\
exit codes: 0 connected or done; 1 a bug in weightstring; 2 misuse, with one
line on what to do; 3 unresolved, or no theorem applies; 4 certificate not
reached or not verified; 5 disconnected, by proof; 130 interrupted, with the
command that resumes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    plain_output()
    if follows():
        sys.exit(follow())
    parser = build_parser()
    complete(parser)
    options = parser.parse_args(arguments)
    options.words = ["weightstring", *(sys.argv[1:] if arguments is None else arguments)]
    # A scheduler that takes the machine back sends SIGTERM: leave as after Ctrl-C, resumable.
    signal.signal(signal.SIGTERM, _as_interrupt)
    log = logging.getLogger("weightstring")
    log.handlers = log.handlers or [_ToStandardError()]
    log.setLevel(logging.WARNING if options.quiet else logging.INFO)
    be_quiet(options.quiet)
    sys.exit(code_of(_run, options))


def _run(options: argparse.Namespace) -> int:
    check_ranks(options)
    return COMMANDS[options.command].run(options)


class _Version(argparse.Action):
    """Prints the version, and looks it up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and exit."""
        from importlib.metadata import version  # a fifth of the time that --help takes

        print(f"weightstring {version('weightstring')}")
        parser.exit()


class _ToStandardError(logging.Handler):
    """Prints how searches get on where there is no terminal to show it on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line; nobody may read it."""
        with suppress(OSError, ValueError):
            print(f"weightstring: {record.getMessage()}", file=sys.stderr)


def _as_interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def build_parser() -> CommandParser:
    """All commands and their options."""
    parser = CommandParser(
        prog="weightstring",
        description="Find, measure and show low-loss paths between trained PyTorch models.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    for name, command in COMMANDS.items():
        own = parser.commands.add_parser(name, help=command.HELP)
        command.add_arguments(own)
        own.add_argument(
            "-q", "--quiet", action="store_true", help="print the verdict or the numbers alone; errors are still told"
        )
    return parser
