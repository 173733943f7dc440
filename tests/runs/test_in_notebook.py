"""How a search gets on under a cell: one line, changed in place, which says in the end what was found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import weightstring as ws
from weightstring.problem.surfaces import Ring

CELL = """
import weightstring as ws
from weightstring.problem.surfaces import Ring
ring = Ring(size=200)
ws.minimax(ring, *ring.ends, progress=True, stop=ws.MaxBeads(24)).level < 0.1
"""
REFUSED = """
ws.connect(ring, *ring.ends, threshold=-1.0)
"""


class Handle:
    """As IPython's display gives one back."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def __call__(self, content: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert not self.shown, "a second output"
        self.shown.append(content)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        self.shown.append(content)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """The output of a cell, as if this process were a kernel."""
    made, python, display = Handle(), ModuleType("IPython"), ModuleType("IPython.display")

    class Shell:
        kernel = object()

    python.get_ipython = Shell  # type: ignore[attr-defined]
    display.display = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", python)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return made


def test_there_is_one_output_which_changes_now_and_then_and_ends_with_the_verdict(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightstring.runs.in_notebook.PAUSE", 0.0)
    ring = Ring()
    result = ws.connect(ring, *ring.ends, 0.1)
    *before, last = handle.shown
    assert all("<" not in each["text/plain"] and "<div>" in each["text/html"] for each in handle.shown)
    assert any("beads" in each["text/plain"] for each in before)
    assert last["text/plain"].startswith(f"connected: largest sample {result.largest:.6g}, threshold 0.1; ")


def test_changes_are_seldom(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightstring.runs.in_notebook.PAUSE", 1e9)
    ring = Ring()
    ws.connect(ring, *ring.ends, 0.1)
    assert len(handle.shown) <= 2


def test_many_searches_of_one_call_have_one_line(handle: Handle) -> None:
    ring = Ring()
    ws.connect_many(ring, [ring.ends, ring.ends[::-1]], 0.1)
    assert handle.shown[-1]["text/plain"].startswith("2 of 2 connected, ")


def test_nothing_is_shown_where_that_is_asked_for(handle: Handle) -> None:
    ring = Ring()
    ws.connect(ring, *ring.ends, 0.1, progress=False)
    assert handle.shown == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the event loop that talks with the kernel
def test_a_kernel_shows_one_line_for_each_search_and_says_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells: list[Any] = [nbformat.v4.new_code_cell(text) for text in (CELL, REFUSED)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    searched, refused = ([output.output_type for output in cell.outputs] for cell in notebook.cells)
    assert (searched, refused) == (["display_data", "execute_result"], ["display_data", "error"])
    assert notebook.cells[0].outputs[0].data["text/plain"].startswith("unresolved (")
    assert notebook.cells[1].outputs[0].data["text/plain"].startswith("EndAboveThreshold at: measuring the ends, ")
