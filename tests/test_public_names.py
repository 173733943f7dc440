"""What ``import weightstring as ws`` offers."""

from __future__ import annotations

import inspect
import pkgutil

import pytest

import weightstring as ws


@pytest.mark.parametrize("name", ws.__all__)
def test_every_public_name_is_there_and_explains_itself(name):
    thing = getattr(ws, name)
    assert not inspect.ismodule(thing)
    assert thing.__doc__


def test_modules_do_not_hide_functions_of_the_same_name():
    assert {module.name for module in pkgutil.iter_modules(ws.__path__)} & set(ws.__all__) == set()
