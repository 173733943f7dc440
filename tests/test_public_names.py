"""What ``import weightstring as ws`` offers."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import weightstring as ws


@pytest.mark.parametrize("name", ws.__all__)
def test_every_public_name_is_there_and_explains_itself(name):
    thing = getattr(ws, name)
    assert not inspect.ismodule(thing)
    assert thing.__doc__


@pytest.mark.slow
def test_modules_do_not_hide_functions_of_the_same_name():
    code = (
        "import pkgutil, importlib, inspect, weightstring as ws\n"
        "for found in pkgutil.walk_packages(ws.__path__, 'weightstring.'):\n"
        "    importlib.import_module(found.name)\n"
        "print([name for name in ws.__all__ if inspect.ismodule(getattr(ws, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
