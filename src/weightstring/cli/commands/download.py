"""``weightstring download``: the published files of a task."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from weightstring.cli.ending import DONE
from weightstring.cli.options.values import directory

HELP = "fetch the data of a task"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", choices=["mnist", "fashion-mnist"], help="mnist or fashion-mnist", metavar="NAME")
    parser.add_argument("--data", type=directory, metavar="DIR", help="where to (default: $WEIGHTSTRING_DATA)")


def run(options: Namespace) -> int:
    """Fetch the files into a directory of data."""
    from weightstring.tasks.download import download
    from weightstring.tasks.published import IMAGE_SETS

    def tell(path: Path, url: str | None) -> None:
        print(f"{path}: " + (f"from {url}" if url else "already there, and correct"))

    download(IMAGE_SETS[options.name], options.data, on_file=tell)
    return DONE
