"""The options that name a task, its models, or the problem of a finished run."""

from __future__ import annotations

import argparse

from weightstring.cli.options.values import data_option, key_value
from weightstring.tasks.builtin import BUILT_IN


def add_task(parser: argparse.ArgumentParser) -> None:
    """A task and its options."""
    parser.add_argument(
        "task",
        metavar="TASK",
        help=f"{', '.join(BUILT_IN)}, or path/to/file.py:function",
    )
    _add_task_options(parser)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Two models."""
    what = "a checkpoint (.safetensors, .pt, .ckpt, a folder of Hugging Face's or of an adapter) or random:SEED"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the other one")
    add_allowed(parser)


def add_many_models(parser: argparse.ArgumentParser) -> None:
    """A task and two models or more."""
    add_task(parser)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a checkpoint, a folder of checkpoints, random:SEED or random:FIRST-LAST",
    )
    add_allowed(parser)


def add_allowed(parser: argparse.ArgumentParser) -> None:
    """Classes that checkpoints may hold."""
    parser.add_argument(
        "--allow-global",
        dest="allowed",
        action="append",
        default=[],
        metavar="module.Class",
        help="a class that a checkpoint of torch.save may hold besides tensors; its code runs; may be repeated",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """The directory of a run."""
    parser.add_argument("run", metavar="RUN", help="its directory")


def add_problem(parser: argparse.ArgumentParser) -> None:
    """What builds a run's problem, where the task in its manifest will not do."""
    group = parser.add_argument_group(
        "problem", "a run builds its task again; a file that you have not named yourself is not executed"
    )
    group.add_argument(
        "--task", metavar="TASK", help="build this task, such as path/to/file.py:function, not what the run names"
    )
    _add_task_options(group)


def add_json(parser: argparse.ArgumentParser, what: str = "the result") -> None:
    """Machine-readable output."""
    parser.add_argument("--json", action="store_true", help=f"{what} as JSON on standard output")


def _add_task_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--set",
        dest="options",
        action="append",
        type=key_value,
        default=[],
        metavar="KEY=VALUE",
        help="an option of the task, such as target=cubic; may be repeated",
    )
    parser.add_argument(
        "--data",
        dest="options",
        action="append",
        type=data_option,
        metavar="DIR",
        help="directory of the task's data; sets its option data (default: $WEIGHTSTRING_DATA)",
    )
