"""What all tests share: how many of them run, and whether annotations are checked; fixtures are in fixtures.py."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch
from beartype._check.code import codemain
from hypothesis import settings

from .annotations import Checks, install

torch.set_num_threads(1)  # the workers of pytest-xdist share the cores; small operations are slower with more
settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

# Where Python is told to keep no compiled files, each process that a test starts would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Before anything imports the package, which the hook changes: the conftest.py of a folder may be next.
if os.environ.get("CHECK_ANNOTATIONS"):
    # Which item of a list is checked is drawn at random: not from the generator whose draws are under test.
    codemain.getrandbits = random.Random(0).getrandbits
    install()


def pytest_configure(config: pytest.Config) -> None:
    for name in (".fixtures", ".slurm"):
        config.pluginmanager.register(import_module(name, __package__))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is there before the first test stays to the end: the garbage collector need not look through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_runtest_setup() -> None:
    Checks.begin_test()


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked as one of ``many`` examples, the quick suite takes a few, from all over."""
    examples = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("many"):
            examples[item.nodeid.partition("[")[0]].append(item)
    for own in examples.values():
        quick = own[0].get_closest_marker("many").kwargs["quick"]
        kept = {i * len(own) // quick for i in range(quick)}
        for number, item in enumerate(own):
            if number not in kept:
                item.add_marker(pytest.mark.slow)
