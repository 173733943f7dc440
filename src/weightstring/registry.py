"""Named things of one kind, to which anyone may add: strategies, engines, rules, tasks, sections, stores.

There is one mechanism. A module registers with a decorator, weightstring's own as anyone else's::

    from weightstring.search import STRATEGIES

    @STRATEGIES.register("halving")
    class Halving: ...

An installed package names what it offers in its ``pyproject.toml``, and is imported when that is first asked for::

    [project.entry-points."weightstring.strategies"]
    halving = "my_package.halving:Halving"
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar, cast, overload

from weightstring.errors import InvalidSetting
from weightstring.text import meant

Entry = TypeVar("Entry")
Decorated = TypeVar("Decorated")
Default = TypeVar("Default")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Objects of one kind by name, in the order of registration.

    Args:
        kind: what they are, for messages: ``"strategy"``.
        group: the entry-point group by which installed packages add to it; None: they cannot.

    >>> shapes = Registry("shape")
    >>> @shapes.register("square", "rectangle")
    ... class Square: ...
    >>> shapes.add("path", "os.path:join")  # imported when first asked for
    >>> list(shapes), shapes["path"].__name__, shapes.name_of(Square)
    (['square', 'rectangle', 'path'], 'join', 'square')
    >>> shapes["circle"]
    Traceback (most recent call last):
    weightstring.errors.InvalidSetting: unknown shape 'circle': choose one of square, rectangle, path
    """

    def __init__(self, kind: str, *, group: str | None = None) -> None:
        self.kind = kind
        self._group = group
        self._entries: dict[str, Entry | str] = {}

    def register(self, *names: str) -> Callable[[Decorated], Decorated]:
        """Decorate a class or function that is to be known by these names.

        Raises:
            InvalidSetting: see :meth:`add`.
        """

        def keep(entry: Decorated) -> Decorated:
            for name in names:
                self.add(name, cast("Entry", entry))
            return entry

        return keep

    def add(self, name: str, entry: Entry | str) -> None:
        """Register an object, or where to import it from: ``"module:attribute"``.

        A class or function that is defined again under its old name, as in a notebook, replaces the former one.

        Raises:
            InvalidSetting: another object has the name already, or it is no name.
        """
        if not isinstance(name, str) or not name.strip():
            raise InvalidSetting(f"{self.kind} {name!r:.80}: give a name that is not empty")
        known = self._entries.get(name)
        if known is not None and known is not entry and _home(known) != _home(entry):
            raise InvalidSetting(
                f"{self.kind} {name!r:.80} is {_home(known)} already: register {_home(entry)} by another name"
            )
        self._entries[name] = entry

    def name_of(self, entry: object) -> str | None:
        """The first name that an object is registered by; None: it is not."""
        for name, known in list(self._all().items()):
            if isinstance(known, str) and known.partition(":")[0] in sys.modules:
                known = self[name]
            if known is entry:
                return name
        return None

    def __getitem__(self, name: str) -> Entry:
        """The object of that name.

        Raises:
            InvalidSetting: there is none, or it cannot be imported.
        """
        entries = self._all()
        if name not in entries:
            near = meant(str(name), entries)
            raise InvalidSetting(f"unknown {self.kind} {name!r:.80}{near}: choose one of {', '.join(entries)}")
        entry = entries[name]
        if isinstance(entry, str):
            try:
                entry = entries[name] = resolve_name(entry)
            except (ImportError, AttributeError, ValueError) as error:
                raise InvalidSetting(f"{self.kind} {name!r:.80} cannot be imported from {entry}: {error}") from error
        return cast("Entry", entry)

    @overload
    def get(self, name: str) -> Entry | None: ...

    @overload
    def get(self, name: str, default: Default) -> Entry | Default: ...

    def get(self, name: str, default: Any = None) -> Any:
        """The object of that name, or the default; ``Mapping``'s own expects a ``KeyError`` where there is none."""
        if name not in self:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Entry | str]:
        """The entries, those of installed packages included: they are looked up once, and replace none."""
        if self._group is not None:
            group, self._group = self._group, None
            for point in entry_points(group=group):
                self._entries.setdefault(point.name, point.value)
        return self._entries


def _home(entry: Any) -> str:
    """Where an object is defined: ``module:attribute``; for what has no name, what it is."""
    if isinstance(entry, str):
        return entry
    module, name = getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)
    return f"{module}:{name}" if module and name else repr(entry)
