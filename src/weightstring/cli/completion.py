"""What the TAB key offers: commands, options and their values, tasks, strategies and paths.

argcomplete reads the line from the shell and the parser tells it the rest, each time anew, so that nothing is out of
date after an upgrade. Nothing here imports PyTorch, and no task file is executed: functions are read off its source.
"""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from weightstring.cli.options.search import ENGINES
from weightstring.cli.options.strategy import OPTIONS
from weightstring.cli.parser import CommandParser
from weightstring.tasks.builtin import BUILT_IN

Completer: TypeAlias = Callable[..., Iterable[str]]

ASKED = "_ARGCOMPLETE"
"""What a shell sets that wants to know how a line may go on."""

PATHS = ("FILE", "DIR", "RUN", "SWEEP", "RUN|SWEEP", "PAGE", "MODEL")
"""How an argument is called that is a path."""

VALUES: dict[str, Sequence[str]] = {
    "bind": ("evaluate", "train", "both", "error"),
    "engine": ENGINES,
    "optimizer": ("auto", "adam", "adamw", "sgd", "rmsprop"),
    "constraint": ("free", "hyperplane", "spring:", "soft:"),
    "workers": ("dask", "dask:"),
}
"""Words that an option takes among others."""


def complete(parser: CommandParser) -> None:
    """Answer a shell that asks how its line may go on, and exit; return at once to anybody else."""
    if ASKED not in os.environ:
        return
    import argcomplete

    for command in parser.commands.choices.values():
        for action in command._actions:
            action.completer = completer(action)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def completer(action: argparse.Action) -> Completer:
    """What offers the values of an argument."""
    if action.choices is not None:
        return lambda **_: list(action.choices or ())
    if action.metavar in PATHS:
        return lambda prefix, **_: paths(prefix)
    return _BY_NAME.get(action.dest, lambda **_: VALUES.get(action.dest, ()))


def paths(prefix: str, ending: str = "") -> list[str]:
    """Files and folders that begin so, folders with a slash after them; hidden ones where a dot was typed.

    Args:
        prefix: what was typed.
        ending: of the files' names.
    """
    folder, slash, name = prefix.rpartition("/")
    try:
        entries = list(os.scandir(os.path.expanduser(folder + slash) or "."))
    except OSError:
        return []
    found = [
        f"{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in entries
        if entry.name.startswith(name)
        and (name or not entry.name.startswith("."))
        and (entry.is_dir() or entry.name.endswith(ending))
    ]
    return sorted(found)


def models(prefix: str, **_: Any) -> list[str]:
    """Checkpoints and folders of these, and random ones."""
    return ["random:", *paths(prefix)]


def tasks(prefix: str, **_: Any) -> list[str]:
    """Tasks by name, Python files with the colon after them, and after that the functions in one."""
    file, colon, _word = prefix.partition(".py:")
    if colon:
        return [f"{file}.py:{name}" for name in _functions(Path(f"{file}.py"))]
    files = [name if name.endswith("/") else f"{name}:" for name in paths(prefix, ".py")]
    return [*BUILT_IN, *_of_packages("weightstring.tasks"), *files]


def strategies(prefix: str, **_: Any) -> list[str]:
    """Strategies by name; of several that commas join, the last one."""
    before, comma, _word = prefix.rpartition(",")
    return [f"{before}{comma}{name}" for name in (*OPTIONS, *_of_packages("weightstring.strategies"))]


def task_options(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The options of the task that the line names, each with its equals sign."""
    task = getattr(parsed_args, "task", None) or ""
    home, _colon, function = BUILT_IN.get(task, task).rpartition(":")
    if task in BUILT_IN:
        spec = find_spec(home)
        home = "" if spec is None or spec.origin is None else spec.origin
    found = _functions(Path(home)).get(function)
    return [] if found is None else [f"{each.arg}=" for each in (*found.args.args, *found.args.kwonlyargs)]


_BY_NAME: dict[str, Completer] = {
    "task": tasks,
    "a": models,
    "b": models,
    "strategy": strategies,
    "strategies": strategies,
    "options": task_options,
}


def _of_packages(group: str) -> list[str]:
    return [point.name for point in entry_points(group=group)]


def _functions(file: Path) -> dict[str, ast.FunctionDef]:
    """The public functions of a file by name; none where it cannot be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name: node for node in found if not node.name.startswith("_")}
