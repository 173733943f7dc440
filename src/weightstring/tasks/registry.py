"""From a task's name and options to its problem."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from weightstring.errors import TaskError, WeightstringError
from weightstring.problem import ModuleProblem

BUILT_IN = {
    "digits": "weightstring.tasks.digits:digits",
    "polynomial": "weightstring.tasks.polynomial:polynomial",
}
"""Built-in tasks by name, and the functions that build them."""


def load_task(name: str, options: Mapping[str, str] | None = None) -> ModuleProblem:
    """Build the problem of a task.

    Args:
        name: one of :data:`BUILT_IN`, or ``path/to/file.py:function``, where the function returns a
            :class:`ModuleProblem`. The file is executed: only name one that you trust.
        options: the function's keyword arguments, as text; converted by its annotations.

    Raises:
        TaskError: the task or an option is unknown, or the function does not return a ModuleProblem.

    >>> load_task("polynomial", {"target": "cubic"}).size
    33
    """
    function = _built_in(name) if name in BUILT_IN else _from_file(name)
    arguments = _convert(name, function, options or {})
    try:
        problem = function(**arguments)
    except WeightstringError:
        raise
    except (Exception, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise TaskError(
            f"task {name}: {_in_one_line(error)} ({Path(where.filename).name}, line {where.lineno})"
        ) from error
    if not isinstance(problem, ModuleProblem):
        raise TaskError(f"task {name}: returned {type(problem).__name__}; return a weightstring.ModuleProblem")
    return problem


def _built_in(name: str) -> Callable[..., object]:
    module, _, function = BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def _from_file(name: str) -> Callable[..., object]:
    path, colon, function_name = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise TaskError(f"unknown task {name!r}: give one of {', '.join(BUILT_IN)}, or path/to/file.py:function")
    if not Path(path).is_file():
        raise TaskError(f"task {name}: there is no file {path}")
    function = getattr(_execute(Path(path).resolve(), name), function_name, None)
    if not callable(function):
        raise TaskError(f"task {name}: {path} has no function {function_name!r}")
    return function  # type: ignore[no-any-return]


def _execute(path: Path, name: str) -> ModuleType:
    module_name = f"weightstring_task_{path.stem}"  # under its own, a json.py would pass for the library's
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"task {name}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as `python file.py` does, so that its neighbours can be imported
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise TaskError(f"task {name}: {path.name} fails: {_in_one_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _convert(name: str, function: Callable[..., object], options: Mapping[str, str]) -> dict[str, object]:
    """Options as the function's annotations want them; what has none stays text."""
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function)
    converted: dict[str, object] = {}
    for key, text in options.items():
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise TaskError(f"task {name} has no option {key!r}; it has: {known}")
        try:
            converted[key] = _CONVERSIONS.get(hints.get(key, str), str)(text)
        except ValueError:
            raise TaskError(f"task {name}: option {key}={text} is not {hints[key].__name__}") from None
    return converted


def _to_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_CONVERSIONS: dict[object, Callable[[str], object]] = {int: int, float: float, bool: _to_bool}
