"""What a function computes, as lines of text that are the same in every process, however its file was imported.

Library code counts by where it comes from. A function of the user's own counts by its qualified name, without that of
its module, by its instructions, and by what these name: closures, defaults, constants and helper functions of its
module, attributes of ``self``. Comments, docstrings and line breaks do not count. Instructions differ between versions
of Python.
"""

from __future__ import annotations

import sys
import sysconfig
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from types import EllipsisType, FunctionType, MethodType, ModuleType, NoneType, SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from weightstring.problem.digests.bytecode import CALLED, reading_of
from weightstring.problem.digests.digest import tensor_digest, tensors_digest, without_addresses

PLAIN = (bool, int, float, complex, str, bytes, NoneType, EllipsisType, Enum, np.generic, torch.dtype, torch.device)
"""Values whose text says all of them."""

SETTINGS = (bool, int, float, str)
"""Types of attributes by which modules of one class differ."""

COMPILED = ("_orig_mod", "_torchdynamo_orig_callable")
"""Where ``torch.compile`` keeps the function or module that it makes faster."""

LIBRARIES = ("weightstring", "torch")
"""Libraries wherever they are installed; others are known by that."""

MAIN = ("__main__", "__mp_main__")
"""The user's own script, which a function keeps as its module in processes that run another."""


def lines_of(function: object) -> tuple[str, ...]:
    """What a function or callable object computes.

    >>> lines_of(nn.functional.mse_loss)
    ('torch.nn.functional.mse_loss',)
    >>> lines_of(partial(nn.functional.huber_loss, delta=0.5))
    ('partial', '.func torch.nn.functional.huber_loss', ".keywords['delta'] 0.5")
    """
    reader = _Reader()
    reader.value("", function, None)
    return tuple(reader.lines)


def identities(net: nn.Module, functions: Mapping[str, object]) -> tuple[str, ...]:
    """What a net's own classes and some named functions compute."""
    lines = [f"net {line}" for line in lines_of_net(net)]
    return (*lines, *(f"{name} {line}" for name, function in functions.items() for line in lines_of(function)))


def lines_of_net(net: nn.Module) -> tuple[str, ...]:
    """What the user's own classes in a net compute: ``forward`` and the settings that it names, but no tensors."""
    reader = _Reader()
    for name, module in net.named_modules():
        if _is_own(type(module).__module__):
            reader.attributes(name, module, CALLED, held=PLAIN)
    return tuple(reader.lines)


def kept(before: Iterable[str], after: Iterable[str]) -> tuple[str, ...]:
    """The lines that calling a function left as they were: what changes by a call, such as a counter, is no setting."""
    still = set(after)
    return tuple(line for line in before if line in still)


class _Reader:
    """Follows what a function names, each thing once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._seen: dict[tuple[int, frozenset[str] | None], object] = {}  # held, or another could get its id

    def _say(self, place: str, text: str) -> None:
        self.lines.append(without_addresses(f"{place} {text}".strip()))

    def value(self, place: str, value: object, used: frozenset[str] | None) -> None:
        """Describe a value.

        Args:
            place: how it is reached.
            value: anything.
            used: the attributes that are asked of it; None: it is called, or handed on whole.
        """
        if isinstance(value, PLAIN):
            self._say(place, repr(value))
        elif isinstance(value, Tensor):
            self._say(place, tensor_digest(value))
        elif isinstance(value, np.ndarray):
            content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
            self._say(place, f"{value.dtype} {value.shape} {sha256(content).hexdigest()}")
        elif (id(value), used) not in self._seen:
            self._seen[id(value), used] = value
            self._composed(place, value, used)

    def _composed(self, place: str, value: object, used: frozenset[str] | None) -> None:
        for inside in COMPILED:
            value = getattr(value, inside, value)
        match value:
            case FunctionType():
                self._function(place, value)
            case MethodType():
                self.value(place, value.__func__, None)
                self.value(f"{place}.__self__", value.__self__, _used_by(value.__func__))
            case torch.jit.ScriptFunction():
                self._say(place, str(value.code))
            case partial():
                self._say(place, "partial")
                self.value(f"{place}.func", value.func, None)
                self._items(f"{place}.args", enumerate(value.args))
                self._items(f"{place}.keywords", sorted(value.keywords.items()))
            case property():
                self.value(place, value.fget, None)
            case staticmethod() | classmethod():
                self.value(place, value.__func__, None)
            case type():
                self._class(place, value)
            case ModuleType():
                self._module(place, value, used)
            case list() | tuple() if all(isinstance(each, PLAIN) for each in value):
                self._say(place, repr(value))
            case list() | tuple():
                self._say(place, type(value).__name__)
                self._items(place, enumerate(value))
            case dict():
                self._say(place, "dict")
                self._items(place, sorted(value.items(), key=lambda item: repr(item[0])))
            case set() | frozenset():
                self._say(place, f"set {sorted(map(repr, value))}")
            case _:
                self._object(place, value, used)

    def _items(self, place: str, items: Iterable[tuple[object, object]]) -> None:
        for key, value in items:
            self.value(f"{place}[{key!r}]", value, None)

    def _function(self, place: str, function: FunctionType) -> None:
        home, code = str(function.__globals__.get("__name__")), function.__code__
        if _is_own(home):
            reading = reading_of(code)
            self._say(place, f"{function.__qualname__} {reading.digest}")
            for defaults in filter(None, (function.__defaults__, function.__kwdefaults__)):
                self.value(f"{place} defaults", defaults, None)
            for name in sorted(reading.globals & function.__globals__.keys()):
                self.value(f"{place} {name}", function.__globals__[name], reading.used(name))
            for name in sorted(reading.imports & sys.modules.keys()):
                self.value(f"{place} {name}", sys.modules[name], reading.attributes)
        else:  # one that wraps another has the other's name
            own = function.__module__ is None or _is_own(function.__module__)
            self._say(place, f"{home}.{code.co_qualname}" if own else f"{function.__module__}.{function.__qualname__}")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__" and cell != type(cell)():  # an empty one equals another
                self.value(f"{place} {name}", cell.cell_contents, reading_of(code).used(name))

    def _class(self, place: str, kind: type) -> None:
        self._say(place, kind.__qualname__ if _is_own(kind.__module__) else f"{kind.__module__}.{kind.__qualname__}")
        for base in kind.__mro__:
            if _is_own(base.__module__):
                functions = {name: value for name, value in vars(base).items() if isinstance(value, FunctionType)}
                for name, function in sorted(functions.items()):
                    self.value(f"{place}.{name}", function, None)

    def _module(self, place: str, module: ModuleType, used: frozenset[str] | None) -> None:
        if not _is_own(module.__name__):
            self._say(place, module.__name__)
            return
        for name in sorted((used or frozenset()) & vars(module).keys()):
            self.value(f"{place}.{name}", vars(module)[name], None)

    def _object(self, place: str, value: object, used: frozenset[str] | None) -> None:
        kind = type(value)
        if _is_own(kind.__module__):
            self._say(place, kind.__qualname__)
            called = used is None and any(name in vars(base) for name in CALLED for base in _own_bases(kind))
            self.attributes(place, value, CALLED if called else frozenset(_held(value)) if used is None else used)
            return
        name = f"{kind.__module__}.{kind.__qualname__}"
        if used is not None:
            self._say(place, name)
            self.attributes(place, value, used)
        elif isinstance(value, nn.Module):
            self._say(place, f"{name} {value!r} {tensors_digest(value.state_dict())} {_settings(value)}")
            for inside, part in value.named_modules():
                if _is_own(type(part).__module__):
                    self.attributes(f"{place}.{inside}", part, CALLED, held=PLAIN)
        elif isinstance(value, Namespace | SimpleNamespace) or is_dataclass(value):
            self._say(place, name)
            names = [field.name for field in fields(value)] if is_dataclass(value) else vars(value)
            self._items(place, [(name, getattr(value, name)) for name in sorted(names)])
        else:
            called_name = getattr(value, "__qualname__", None)  # of a function written in C
            home = getattr(value, "__module__", None)
            self._say(place, name if called_name is None else f"{home}.{called_name}")
            if hasattr(value, "__wrapped__"):
                self.value(f"{place}.__wrapped__", value.__wrapped__, None)

    def attributes(self, place: str, value: object, names: frozenset[str], held: tuple[type, ...] = (object,)) -> None:
        """Describe attributes of an object, and those that its methods among them ask of it in turn.

        Args:
            place: how the object is reached.
            value: the object.
            names: of the attributes.
            held: types of what the object itself holds that are described; methods of its class always are.
        """
        pending, known = sorted(names), set(names)
        for name in pending:  # grows
            own = _held(value)
            if name in own and name != "training" and isinstance(own[name], held):
                self.value(f"{place}.{name}", own[name], None)
            for base in _own_bases(type(value)):
                if name in vars(base) and name not in own:
                    method = vars(base)[name]
                    self.value(f"{place}.{name}", method, None)
                    more = sorted(_used_by(method) - known)
                    pending += more
                    known |= set(more)


def _own_bases(kind: type) -> Iterator[type]:
    return (base for base in kind.__mro__ if _is_own(base.__module__))


def _held(value: object) -> Mapping[str, object]:
    """What an object itself holds by name, the tensors and submodules of a module among it."""
    held: dict[str, object] = dict(getattr(value, "__dict__", {}))
    if isinstance(value, nn.Module):
        held |= {**value._parameters, **value._buffers, **value._modules}
    return held


def _settings(module: nn.Module) -> list[tuple[str, object]]:
    """Reduction, ignored class and the like of a loss of torch's, which its text leaves out."""
    settings = vars(module).items() if type(module).__module__.startswith("torch.nn.") else ()
    return sorted(
        (name, value)
        for name, value in settings
        if name[0] != "_" and name != "training" and isinstance(value, SETTINGS)
    )


def _used_by(method: object) -> frozenset[str]:
    """The attributes that a method, or a property, asks for."""
    function = getattr(method, "fget", None) or getattr(method, "__func__", None) or method
    return reading_of(function.__code__).attributes if isinstance(function, FunctionType) else frozenset()


@cache
def _is_own(module: str) -> bool:
    """Whether a module, by name, is the user's own and not of a library."""
    top = module.partition(".")[0]
    if top in LIBRARIES or top in MAIN:
        return top in MAIN
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return top not in sys.stdlib_module_names
    parts = Path(file).parts
    return not ({"site-packages", "dist-packages"} & {*parts} or Path(file).is_relative_to(_STANDARD))


_STANDARD = sysconfig.get_path("stdlib")
