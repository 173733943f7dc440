"""Named things of one kind, to which anyone may add."""

from __future__ import annotations

import importlib.metadata
import math
import re

import pytest

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry


def roots() -> Registry[object]:
    registry: Registry[object] = Registry("root")
    registry.register("square", "sqrt")(math.sqrt)
    registry.add("cube", "math:cbrt")
    return registry


def test_what_is_registered_comes_back_in_order_and_by_name():
    registry = roots()
    assert list(registry) == ["square", "sqrt", "cube"]
    assert registry["cube"] is math.cbrt
    assert registry["sqrt"] is math.sqrt


def test_the_name_of_an_object_is_its_first_also_where_it_is_not_imported_yet():
    assert roots().name_of(math.sqrt) == "square"
    assert roots().name_of(math.cbrt) == "cube"
    assert roots().name_of(math.exp) is None


def test_another_object_is_refused_under_a_name_that_is_taken():
    registry = roots()
    with pytest.raises(InvalidSetting, match=re.escape("root 'square' is math:sqrt already: register math:exp by")):
        registry.add("square", math.exp)
    assert registry["square"] is math.sqrt


def test_a_class_defined_again_replaces_the_former():
    def defined() -> type:
        class Same: ...

        return Same

    registry, second = Registry[object]("class"), defined()
    registry.add("same", defined())
    registry.add("same", second)
    assert registry["same"] is second


@pytest.mark.parametrize("home", ["math:nothing", "no_such_module_anywhere:x", "not a place"])
def test_what_cannot_be_imported_says_from_where(home):
    registry = Registry[object]("root")
    registry.add("fourth", home)
    with pytest.raises(InvalidSetting, match=re.escape(f"root 'fourth' cannot be imported from {home}: ")) as caught:
        registry["fourth"]
    assert "\n" not in str(caught.value)


def test_an_empty_name_is_refused():
    with pytest.raises(InvalidSetting, match="root ' ': give a name that is not empty"):
        roots().add(" ", math.exp)


def test_installed_packages_add_by_their_entry_points_and_replace_nothing(monkeypatch):
    points = [
        importlib.metadata.EntryPoint(name, f"math:{name}", "weightstring.roots") for name in ("exp", "sqrt", "cbrt")
    ]
    monkeypatch.setattr(
        "weightstring.registry.entry_points", lambda group: points if group == "weightstring.roots" else []
    )
    registry: Registry[object] = Registry("root", group="weightstring.roots")
    registry.add("cbrt", math.pow)
    assert list(registry) == ["cbrt", "exp", "sqrt"]
    assert (registry["exp"], registry["cbrt"]) == (math.exp, math.pow)


def test_get_returns_its_default_where_there_is_none():
    shapes = Registry("shape")
    shapes.add("square", "os.path:join")
    assert shapes.get("circle") is None
    assert shapes.get("circle", 3) == 3
    assert shapes.get("square", 3).__name__ == "join"
