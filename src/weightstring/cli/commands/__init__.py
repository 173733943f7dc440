"""The commands, one file each: its arguments, its run and its printing.

No command imports PyTorch before it runs, so that help and a mistyped option are answered at once.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Protocol

from weightstring.cli.commands import (
    align,
    atlas,
    blame,
    certify,
    collect,
    compare,
    completion,
    connect,
    demo,
    doctor,
    download,
    export,
    init,
    matrix,
    measure,
    merge,
    mergeable,
    minimax,
    random_pair,
    report,
    resume,
    sharpness,
    show,
    status,
    sweep,
    theory,
    threshold,
    train,
    verify,
)


class Command(Protocol):
    """What a command's file holds."""

    HELP: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, options: Namespace) -> int:
        """Do it; the exit code."""


COMMANDS: dict[str, Command] = {
    "demo": demo,
    "init": init,
    "doctor": doctor,
    "train": train,
    "random-pair": random_pair,
    "threshold": threshold,
    "connect": connect,
    "align": align,
    "blame": blame,
    "mergeable": mergeable,
    "minimax": minimax,
    "theory": theory,
    "compare": compare,
    "atlas": atlas,
    "matrix": matrix,
    "sweep": sweep,
    "collect": collect,
    "status": status,
    "resume": resume,
    "show": show,
    "measure": measure,
    "download": download,
    "report": report,
    "certify": certify,
    "verify": verify,
    "sharpness": sharpness,
    "export": export,
    "merge": merge,
    "completion": completion,
}
"""In the order in which help lists them."""
