"""``weightstring collect``: the table of a sweep that several processes do."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

import weightstring as ws
from weightstring.cli.ending import DONE, UNRESOLVED
from weightstring.cli.options.problem import add_json

HELP = "gather what the shards of a sweep have found into its table"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="SWEEP", help="its directory; shards may be at work there")
    add_json(parser, "the summary")


def run(options: Namespace) -> int:
    """Write the table, print the summary and what is missing; 3 where something is."""
    from weightstring.cli.sweeps import print_missing, print_sweep
    from weightstring.codec import for_json

    found, out = ws.collect(options.sweep), Path(options.sweep)
    if options.json:
        summary = [for_json(asdict(row)) for row in found.summary]
        print(json.dumps({"sweep": options.sweep, "summary": summary, "missing": [*map(list, found.missing)]}))
    else:
        print_sweep(found, out)
        print_missing(found, out)
    return UNRESOLVED if found.missing else DONE
