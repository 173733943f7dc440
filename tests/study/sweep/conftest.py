"""Fixtures of the tests that damage a sweep, or read one from elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.tasks import load_task


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return load_task("polynomial", {"width": "4"})


@pytest.fixture
def store(swept: Path, tmp_path: Path) -> Path:
    """A copy of the sweep that the file has made, to be damaged."""
    return Path(shutil.copytree(swept, tmp_path / "s"))
