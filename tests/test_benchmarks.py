"""The benchmarks' one entry: their names, and that a measurement runs and keeps nothing at a quick size."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def entry(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.__main__")


def test_every_benchmark_is_listed_with_a_line_of_its_own(entry, capsys):
    assert entry.main(["--list"]) == 0
    listed = capsys.readouterr().out
    names = entry.benchmarks()
    assert {"certificates", "steps", "report"} <= names.keys()
    assert "measuring" not in names
    assert all(line and f"{name:14} {line}" in listed for name, line in names.items())


def test_an_unknown_name_is_refused_in_one_line(entry, capsys):
    assert entry.main(["rivls"]) == 2
    assert "no benchmark 'rivls': choose of" in capsys.readouterr().err


def test_sides_take_turns_and_cpu_seconds_stand_beside_wall_seconds(entry):
    measuring = importlib.import_module("benchmarks.measuring")
    calls = []
    costs = measuring.alternating({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert all(0 <= cost.least <= cost.cpu <= cost.most for cost in costs.values())


def test_a_quick_size_runs_and_keeps_nothing(entry, capsys, monkeypatch, tmp_path):
    measuring = importlib.import_module("benchmarks.measuring")
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    assert entry.main(["table", "--quick", "--rows", "2000", "--repeats", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 100
    assert [*tmp_path.iterdir()] == []
