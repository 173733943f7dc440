"""The checks that all other tests run under: what they catch, and when they are off."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import torch

from .annotations import CALLS, Checks, _Loader

SOURCE = textwrap.dedent(
    """
    from __future__ import annotations
    from dataclasses import dataclass
    from jaxtyping import Float
    from torch import Tensor

    Row = Float[Tensor, " n"]

    def dot(a: Row, b: Row) -> Float[Tensor, ""]:
        return a @ b if len(a) == len(b) else a

    def head(a: Row) -> Row:
        return a[None]

    def twice(number: float, times: int = 2) -> float:
        def inner(given: str) -> str:
            return given
        return inner(number * times)

    def named(number: float) -> str:
        return number

    def later(found: Later) -> None:
        pass

    class Later:
        def share(self, of: int) -> float:
            return 1 / of

    @dataclass(frozen=True)
    class Point:
        at: float
    """
)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = tmp_path_factory.mktemp("checked") / "example.py"
    path.write_text(SOURCE)
    name = "example_of_annotations"
    sys.modules[name] = made = ModuleType(name)  # where dataclasses look their module up
    _Loader(name, str(path)).exec_module(made)
    del sys.modules[name]
    assert not list(Path(path.parent).rglob("*.pyc"))
    return made


BROKEN = {
    "two lengths of one name": lambda m: m.dot(torch.ones(2), torch.ones(3)),
    "a shape returned": lambda m: m.head(torch.ones(2)),
    "an argument": lambda m: m.twice("1"),
    "a named argument": lambda m: m.twice(1.0, times=0.5),
    "what is returned": lambda m: m.named(1.0),
    "a class defined further down": lambda m: m.later("anything"),
    "a method": lambda m: m.Later().share(1.5),
    "a field": lambda m: m.Point("here"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_caught(module, name):
    with pytest.raises(Exception, match=r"[Tt]ype|violat"):
        BROKEN[name](module)


@pytest.mark.parametrize("name", BROKEN)
def test_nothing_is_caught_where_checks_are_off(module, name, unchecked):
    BROKEN[name](module)


def test_a_kept_promise_passes(module):
    assert module.dot(torch.ones(2), torch.ones(2)) == 2
    assert module.twice(1) == 2  # an int is a float; the function inside is not held to its promise
    assert module.later(module.Later()) is None
    assert module.Later().share(2) == 0.5
    assert module.Point(1).at == 1


def test_the_first_calls_are_checked_in_each_test_anew(module):
    for _ in range(CALLS):
        module.twice(1.0)
    assert module.twice("1") == "11"  # no longer looked at
    Checks.begin_test()
    with pytest.raises(Exception, match="violat"):
        module.twice("1")
