"""The experiments' pages are what their scripts write of the results that are kept, and what these scripts compute."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from weightstring.tasks import load_task

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))


def test_the_page_is_what_its_script_writes_of_the_results(monkeypatch, tmp_path):
    report = importlib.import_module("report")
    monkeypatch.setattr(report, "OUT", tmp_path / "EXPERIMENTS.md")
    report.main()
    assert report.OUT.read_text() == (ROOT / "EXPERIMENTS.md").read_text()


def test_a_mean_of_one_pair_says_so_and_shows_no_interval():
    tables = importlib.import_module("tables")
    assert tables.interval([1.5, 1.25, 1.75], 2) == "1.50 [1.25, 1.75]"
    assert tables.interval([1.5, 1.5, 1.5], 2, of=1) == tables.interval([1.5, None, None], 2) == "1.50 (one pair)"
    assert tables.interval([None, None, None]) == "–"


@pytest.mark.slow
def test_a_sweep_in_pieces_keeps_every_pair_and_ends_as_one_call_does(monkeypatch, tmp_path):
    harness = importlib.import_module("harness")
    kept = {}
    monkeypatch.setattr(harness, "keep", lambda name, found: kept.setdefault(name, []).append(found["summary"]))
    given = Namespace(engine="auto", store=tmp_path / "runs", pairs=2, quick=False)
    problem, levels = load_task("polynomial"), (0.1, 0.05)
    harness.swept("pieces", problem, levels, given, {}, True)
    whole = Namespace(**vars(given) | {"store": tmp_path / "whole"})
    harness.swept("whole", problem, levels, whole, {})
    assert [[row["pairs"] for row in summary] for summary in kept["pieces"]] == [[1], [2], [2, 1], [2, 2]]
    assert kept["pieces"][-1] == kept["whole"][0]


def test_levels_that_are_kept_with_more_pairs_stay_where_the_setting_is_the_same(monkeypatch, tmp_path):
    harness = importlib.import_module("harness")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)

    def found(setting, **pairs):
        rows = [
            {"variant": "all", "threshold": float(level.replace("_", ".")), "pairs": n} for level, n in pairs.items()
        ]
        return {"setting": setting, "seconds": 3.0, "beads laws": {"all": None}, "summary": rows}

    harness.keep("sweep", found("one", _5=4, _4=2))
    both = harness.beside_known("sweep", found("one", _5=1, _4=2, _3=1))
    assert [(row["threshold"], row["pairs"]) for row in both["summary"]] == [(0.5, 4), (0.4, 2), (0.3, 1)]
    assert both["seconds"] is None
    assert harness.beside_known("sweep", found("one", _5=4, _4=2))["seconds"] == 3.0
    assert harness.beside_known("sweep", found("other", _5=1))["summary"] == found("other", _5=1)["summary"]


def test_half_way_is_measured_along_the_polygon():
    atlas = importlib.import_module("atlas")
    beads = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 5.0]])
    assert atlas.half_way(beads).tolist() == [1.0, 2.0]
    assert atlas.half_way(beads[:2]).tolist() == [0.5, 0.0]
