"""A sweep that somebody sent is data: no cell computes, and nothing in it names a place outside its directory."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.report.sweep.data import read_sweep, summary_csv
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.table import Row, as_csv, read_table

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", '=HYPERLINK("https://example.org","here")', "'=1", "'", "''", "'tis"]


@pytest.fixture(scope="module")
def swept(problem: ws.ModuleProblem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("received") / "s"
    ws.sweep(problem, [0.1], pairs=1, store=store)
    return store


def rows_named(store: Path, name: str) -> list[Row]:
    return [replace(row, variant=name, reason=name, run="") for row in read_table(store / "table.csv")]


def cells(text: str) -> list[str]:
    return [cell for line in csv.reader(text.splitlines()) for cell in line]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_is_a_formula_and_each_is_read_back_as_it_was(store, name):
    rows = rows_named(store, name)
    (store / "table.csv").write_text(as_csv(rows))
    assert read_table(store / "table.csv") == rows
    for text in (as_csv(rows), summary_csv(read_sweep(store).summary)):
        assert not [cell for cell in cells(text) if cell[:1] and cell[0] in "=+-@＝"]
        assert f"'{name}" in cells(text)


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp", "..", "a/../../b", "a\x1b[2J", "", "x" * 201])
class TestNames:
    def test_of_a_tables_variant_that_lead_elsewhere_are_refused(self, store, name, refused):
        (store / "table.csv").write_text(as_csv(rows_named(store, name)))
        with refused(InvalidRun, r"table\.csv: damaged: row 1 is of .*; delete it, and every sweep makes its own rows"):
            read_sweep(store)

    def test_nor_are_those_of_the_sweep_itself_followed(self, problem, store, name, refused):
        told = json.loads((store / "sweep.json").read_text())
        told["variants"][0]["name"] = name
        (store / "sweep.json").write_text(json.dumps(told))
        for use in (SweepDirectory(store).record, lambda: ws.sweep(problem, [0.1], pairs=1, store=store)):
            with refused(InvalidRun, r"sweep\.json: damaged, .*: a variant named .*"):
                use()


@pytest.mark.parametrize("name", ["../0.1-1.safetensors", "/etc/passwd", "0.1-.safetensors", "0.2-1.safetensors", ""])
def test_networks_lie_beside_the_list_that_names_them(problem, store, name, refused):
    told = store / "ends" / "all" / "seeds-0000" / "0.1.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "networks": name}))
    with refused(InvalidRun, r"0\.1\.json: names the networks .*, not its own; delete 0\.1\.json"):
        ws.sweep(problem, [0.1], pairs=2, store=store)
    assert os.listdir(store.parent) == ["s"]
