"""From a task's name and options to its problem; :mod:`trust` decides which names may be executed."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, NoneType, SimpleNamespace, UnionType
from typing import NamedTuple, Union, get_args, get_origin, get_type_hints

from weightstring.errors import TaskError, WeightstringError
from weightstring.problem import ModuleProblem
from weightstring.registry import Registry
from weightstring.tasks.builtin import BUILT_IN
from weightstring.text import meant

TASKS: Registry[Callable[..., object]] = Registry("task", group="weightstring.tasks")
"""Tasks by name: functions that return a :class:`ModuleProblem`, built in or of installed packages."""

for _name, _home in BUILT_IN.items():
    TASKS.add(_name, _home)


class Source(NamedTuple):
    """A task file as it was read: the bytes that are checked are the bytes that are executed.

    Args:
        path: the file, absolute, symbolic links followed.
        function: the function in it that builds the problem.
        content: its bytes.
    """

    path: Path
    function: str
    content: bytes

    @property
    def name(self) -> str:
        """The task's name, the same in every directory."""
        return f"{self.path}:{self.function}"


def load_task(name: str, options: Mapping[str, str] | None = None) -> ModuleProblem:
    """Build the problem of a task.

    Args:
        name: one of :data:`TASKS`, or ``path/to/file.py:function``, where the function returns a
            :class:`ModuleProblem`. The file is executed: only name one that you trust.
        options: the function's keyword arguments, as text; converted by its annotations, or where there
            are none to the types of its defaults.

    What the file prints goes to stderr: stdout belongs to the caller's own results.

    Raises:
        TaskError: the task or an option is unknown, an option cannot be read from text, or the function
            does not return a ModuleProblem.

    >>> load_task("polynomial", {"target": "cubic"}).size
    33
    """
    return build(name, read_source(name), options or {})


def build(name: str, source: Source | None, options: Mapping[str, str]) -> ModuleProblem:
    """The problem of a task whose file was read, or of a registered one; see :func:`load_task`.

    Args:
        name: what messages call it.
        source: the file; None: the task is registered.
        options: see :func:`load_task`.
    """
    function = TASKS[name] if source is None else _from_file(name, source)
    arguments = _convert(name, function, options)
    try:
        with redirect_stdout(sys.stderr):
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


def resolve(name: str) -> str:
    """A task's name, the same in every directory: a file's path is made absolute.

    Raises:
        TaskError: it is no task's name, or there is no such file.

    >>> resolve("digits")
    'digits'
    """
    if name in TASKS:
        return name
    path, function_name = _locate(name)
    return f"{path.resolve()}:{function_name}"


def read_source(name: str) -> Source | None:
    """The file that a task's name points to, read; None for a task of :data:`TASKS`.

    Raises:
        TaskError: it is no task's name, or there is no such file.

    >>> read_source("digits") is None
    True
    """
    if name in TASKS:
        return None
    path, function_name = _locate(name)
    try:
        return Source(path.resolve(), function_name, path.read_bytes())
    except OSError as problem:
        raise TaskError(f"task {name}: {path} cannot be read: {problem.strerror}") from None


def path_options(name: str) -> frozenset[str]:
    """The options of a task of :data:`TASKS` that are read as paths.

    >>> sorted(path_options("text")), sorted(path_options("digits"))
    (['data'], [])
    """
    function = TASKS[name]
    parameters = inspect.signature(function).parameters
    return frozenset(key for key, parameter in parameters.items() if _kind(parameter, function) is Path)


def _locate(name: str) -> tuple[Path, str]:
    path, colon, function_name = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        if name.endswith(".py") and Path(name).is_file():
            raise TaskError(f"task {name}: which function of it? give {name}:NAME, such as {name}:problem")
        near = meant(name, TASKS)
        raise TaskError(f"unknown task {name!r}{near}: give one of {', '.join(TASKS)}, or path/to/file.py:function")
    if not Path(path).is_file():
        raise TaskError(f"task {name}: there is no file {path}; give the path from here, or an absolute one")
    return Path(path), function_name


def _from_file(name: str, source: Source) -> Callable[..., object]:
    module = _execute(source, name)
    function = getattr(module, source.function, None)
    if not callable(function):
        near = meant(source.function, vars(module))
        raise TaskError(f"task {name}: {source.path} has no function {source.function!r}{near}")
    return function  # type: ignore[no-any-return]


class _AsRead(SourceFileLoader):
    """Executes the bytes that were read, neither the file as it is now nor a cache beside it."""

    def __init__(self, module_name: str, source: Source) -> None:
        super().__init__(module_name, str(source.path))
        self._content = source.content

    def get_code(self, fullname: str) -> CodeType:
        """Compile them."""
        return self.source_to_code(self._content, self.path)


def _execute(source: Source, name: str) -> ModuleType:
    path = source.path
    module_name = f"weightstring_task_{path.stem}"  # under its own, a json.py would pass for the library's
    spec = importlib.util.spec_from_file_location(module_name, path, loader=_AsRead(module_name, source))
    if spec is None or spec.loader is None:
        raise TaskError(f"task {name}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as `python file.py` does, so that its neighbours can be imported
    sys.modules[module_name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise TaskError(f"task {name}: {path.name} fails: {_in_one_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _convert(name: str, function: Callable[..., object], options: Mapping[str, str]) -> dict[str, object]:
    converted: dict[str, object] = {}
    parameters = inspect.signature(function).parameters if options else {}
    for key, text in options.items():
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise TaskError(f"task {name} has no option {key!r}{meant(key, parameters)}; it has: {known}")
        kind = _kind(parameters[key], function)
        convert = next((convert for known, convert in _CONVERSIONS.items() if known is kind), None)
        if convert is None:
            raise TaskError(
                f"task {name}: option {key}={text} cannot be read as {_kind_name(kind)}; "
                f"annotate it as one of {', '.join(map(_kind_name, _CONVERSIONS))}"
            )
        try:
            converted[key] = convert(text)
        except ValueError:
            raise TaskError(f"task {name}: option {key}={text} is not {_kind_name(kind)}") from None
    return converted


def _kind(parameter: inspect.Parameter, function: Callable[..., object]) -> object:
    """An option's type: its annotation without ``| None``, else the type of its default, else text."""
    hint = _hint(parameter, function)
    if hint is None:
        default = parameter.default
        if default is None or default is parameter.empty:
            return str
        return Path if isinstance(default, Path) else type(default)
    if get_origin(hint) in (Union, UnionType):
        members = [member for member in get_args(hint) if member is not NoneType]
        return members[0] if len(members) == 1 else hint
    return hint


def _hint(parameter: inspect.Parameter, function: Callable[..., object]) -> object:
    if parameter.annotation is parameter.empty:
        return None
    # One by one: a name imported for type checkers only must cost no other option its annotation.
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = get_type_hints(holder, getattr(inspect.unwrap(function), "__globals__", {}))
    except Exception:  # an annotation is an expression of the user's, and may raise anything
        return None
    return hints[parameter.name]


def _kind_name(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


def _to_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_CONVERSIONS: Mapping[type, Callable[[str], object]] = {int: int, float: float, bool: _to_bool, str: str, Path: Path}
