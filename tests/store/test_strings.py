"""Ends of large models lie on disk once: the string's file holds what is between them."""

from __future__ import annotations

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.problem.surfaces import Ring
from weightstring.store import strings
from weightstring.store.beads import read_beads


@pytest.fixture
def large(monkeypatch):
    """Any model counts as large."""
    monkeypatch.setattr(strings, "SMALL", 0)


@pytest.fixture
def search(tmp_path):
    """A search on disk: by a straight line, or through beads."""
    ring = Ring()
    a, b = ring.ends
    return lambda threshold: ws.connect(ring, a, b, threshold, store=tmp_path / "run")


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("threshold", "written"), [(1e6, False), (0.1, True)])
def test_a_string_without_its_ends_is_read_back_whole(search, tmp_path, threshold, written):
    found, run = search(threshold), tmp_path / "run"
    assert (run / "beads" / "string.safetensors").exists() is written
    read = ws.load(run)
    assert len(read.string) == len(found.string) > (2 if written else 1)
    assert torch.equal(read.string.beads, found.string.beads)
    ws.write_report(run)


@pytest.mark.usefixtures("large")
def test_ends_that_were_changed_are_refused_with_the_string(search, tmp_path):
    search(0.1)
    path = tmp_path / "run" / "beads" / "ends.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InvalidRun, match="not the ends of the manifest"):
        ws.load(tmp_path / "run")


def test_a_string_that_was_written_whole_is_read(search, tmp_path, monkeypatch):
    found = search(0.1)
    assert len(read_beads(tmp_path / "run" / "beads" / "string.safetensors")) == len(found.string)
    monkeypatch.setattr(strings, "SMALL", 0)
    assert torch.equal(ws.load(tmp_path / "run").string.beads, found.string.beads)
