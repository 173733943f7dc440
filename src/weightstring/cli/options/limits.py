"""What proving and checking a certificate may take."""

from __future__ import annotations

from argparse import ArgumentParser

from weightstring.cli.options.values import duration, positive


def add_limits(parser: ArgumentParser, memory: str = "") -> None:
    """Time and memory at most; ``memory``: what the latter is for, where not for all."""
    parser.add_argument("--seconds", type=duration, metavar="S", help="seconds at most (default: none)")
    parser.add_argument(
        "--max-bytes",
        type=positive,
        default=1 << 30,
        metavar="N",
        help=f"bytes of memory at most{memory} (default: %(default)s)",
    )
