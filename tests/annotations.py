"""The types and shapes that annotations promise, checked while tests run.

Like jaxtyping's own import hook, but for two things which made tests take three times as long: a function whose
signature names no shape goes to beartype alone, and functions inside functions, which would be decorated anew at each
call of the outer one, are left as they are. In each test the first few calls of a function are checked.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, ClassVar, Protocol, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

PACKAGE = "weightstring"
NAME = "__checked__"


class _AnythingMayBe(type(Protocol)):  # type: ignore[misc]
    """Of protocols that cannot be asked while a program runs."""

    def __instancecheck__(cls, instance: object) -> bool:
        return bool(vars(cls).get("_is_protocol")) or super().__instancecheck__(instance)


CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, to Python's type checkers (PEP 484)


def install() -> None:
    """Have every module of the package that is imported from here on checked."""
    sys.meta_path.insert(0, _Finder())


CALLS = 4
"""Of each function in each test so many are checked: a loop of a hundred thousand calls tells nothing more."""


class Checks:
    """What functions count of their calls; it is counted anew in each test."""

    _counted: ClassVar[list[Callable[[], None]]] = []

    @classmethod
    def count(cls, anew: Callable[[], None]) -> None:
        """Have a function that begins to count told when the next test begins."""
        cls._counted.append(anew)

    @classmethod
    def begin_test(cls) -> None:
        """Let all count anew."""
        for anew in cls._counted:
            anew()
        cls._counted.clear()


def checked(promised: Any) -> Any:
    """A function, or a class that is made by annotated fields, whose annotations are held against what it gets."""
    if getattr(promised, "_is_protocol", False) and not getattr(promised, "_is_runtime_protocol", False):
        promised.__class__ = _AnythingMayBe
    if isinstance(promised, type):
        return jaxtyping.jaxtyped(typechecker=CHECK)(promised)
    if not promised.__annotations__:
        return promised
    strict: Callable[..., Any] | None = None  # made at the first call: most functions are called by few tests
    left = CALLS

    def anew() -> None:
        nonlocal left
        left = CALLS

    @functools.wraps(promised)
    def either(*arguments: Any, **named: Any) -> Any:
        nonlocal strict, left
        if left < 1:  # first of all: of a million calls these few lines are a tenth of a test's time
            return promised(*arguments, **named)
        if left == CALLS:
            Checks.count(anew)
        left -= 1
        if jaxtyping.config.jaxtyping_disable:
            return promised(*arguments, **named)
        if strict is None:
            strict = _checking(promised)
        return strict(*arguments, **named)

    either._torchdynamo_orig_callable = promised  # by which a fingerprint knows what is computed, as with torch.compile
    return either


def _checking(promised: FunctionType) -> Callable[..., Any]:
    try:
        if not _names_a_shape(promised):
            return _strict(promised)
    except Exception:  # beartype cannot read all annotations, of which jaxtyping makes some simpler first
        pass
    return jaxtyping.jaxtyped(typechecker=CHECK)(promised)


def _names_a_shape(function: FunctionType) -> bool:
    texts = " ".join(map(str, function.__annotations__.values()))
    return any(_is_shape(function.__globals__.get(name)) for name in set(re.findall(r"\w+", texts)))


def _is_shape(named: object) -> bool:
    return getattr(named, "__module__", "").startswith("jaxtyping")


def _strict(function: FunctionType) -> Callable[..., Any]:
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    copy.__annotations__ = {name: _meaning(text, copy) for name, text in function.__annotations__.items()}
    return CHECK(copy)


def _meaning(annotation: object, function: FunctionType) -> Any:
    """What an annotation stands for; anything, where that is defined later, without end, or for type checkers alone."""
    try:
        found = get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), function.__globals__)["it"]
    except Exception:
        return Any
    # Of an alias that stands in itself; beartype takes a fifth of a second to find that out, of each function.
    return Any if "ForwardRef(" in repr(found) else found


class _Decorating(ast.NodeTransformer):
    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node


class _Loader(SourceFileLoader):
    """Compiles anew, since what Python caches is without the checks."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = ast.fix_missing_locations(_Decorating().visit(ast.parse(data, path)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[NAME] = checked
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
