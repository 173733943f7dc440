"""``weightstring show``: what a run found, or how far it is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

import weightstring as ws
from weightstring.cli.ending import UNRESOLVED
from weightstring.cli.options.problem import add_json, add_run
from weightstring.text import shown

HELP = "show what a run found"


def add_arguments(parser: ArgumentParser) -> None:
    add_run(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """Print what the run found, or how far it is."""
    from weightstring.cli.output import describe_unfinished
    from weightstring.cli.running import tell
    from weightstring.store import opened

    directory = opened(options.run)
    directory.manifest()  # a result without a sound manifest belongs to no run
    if not directory.finished:
        print(shown(describe_unfinished(directory)), file=sys.stderr)
        return UNRESOLVED
    return tell(ws.load(directory), directory, options.json, whole=True)
