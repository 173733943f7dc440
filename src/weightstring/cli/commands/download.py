"""``weightstring download``: the published files of a task."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from weightstring.cli.ending import DONE
from weightstring.cli.options.values import directory

HELP = "fetch the data of a task"
NAMES = ["mnist", "fashion-mnist", "cifar10", "cifar100"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", choices=NAMES, help=", ".join(NAMES), metavar="NAME")
    parser.add_argument("--data", type=directory, metavar="DIR", help="where to (default: $WEIGHTSTRING_DATA)")


def run(options: Namespace) -> int:
    """Fetch the files into a directory of data."""
    from weightstring.tasks import cifar_files, files
    from weightstring.tasks.cifar_published import CIFAR_SETS
    from weightstring.tasks.download import download
    from weightstring.tasks.published import IMAGE_SETS

    def tell(path: Path, url: str | None) -> None:
        print(f"{path}: " + (f"from {url}" if url else "already there, and correct"))

    name, data = options.name, options.data
    cifar = name in CIFAR_SETS
    download(
        cifar_files.fetches(CIFAR_SETS[name], data) if cifar else files.fetches(IMAGE_SETS[name], data), on_file=tell
    )
    return DONE
