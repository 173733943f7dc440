"""Barriers between many models from the command line."""

from __future__ import annotations

import json
import shutil

import pytest

import weightstring as ws


@pytest.fixture
def models(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, path in (("a", workshop.a), ("b", workshop.b)):
        shutil.copy(path, tmp_path / f"{name}.safetensors")
    return ["a.safetensors", "b.safetensors", "random:3"]


@pytest.mark.slow
def test_a_table_in_80_columns_and_a_page(cli, workshop, models, tmp_path):
    done = cli("matrix", workshop.task, *models, "--align", "--out", "lines")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert "over_mean, sampled, of the lines to aligned copies" in done.out
    assert done.out.count("·") == 12
    page = (tmp_path / "lines" / "report.html").read_text()
    assert "no search and no verdict" in page
    assert f"{workshop.task}: 3 pairs" in page.replace("&#x2F;", "/")
    assert "Sampled barriers of evaluation loss" in page
    assert "<th>evaluation loss</th>" in page
    again = cli("matrix", workshop.task, *models, "--align", "--out", "lines", "--json")
    told = json.loads(again.out)
    assert told["models"] == models
    assert len(told["lines"]) == 6
    assert told["lines"][0]["over_mean"] > 0


@pytest.mark.slow
def test_many_models_are_printed_in_blocks(cli, workshop):
    done = cli("matrix", workshop.task, "random:0-8", "--barrier", "max")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.count("·") == 18


def test_the_numbers_are_those_of_the_library(cli, workshop, models):
    told = json.loads(cli("matrix", workshop.task, *models[:2], "--json").out)
    run = ws.load(workshop.connected)
    (line,) = told["lines"]
    assert line["length"] == pytest.approx(run.string.distance)
    assert (line["end_a"], line["end_b"]) == pytest.approx(tuple(end["loss"] for end in run.ends))


def test_misuse_is_one_line(refused, workshop):
    assert "give two or more" in refused("matrix", workshop.task, "random:1")
    assert "a barrier is of one quantity" in refused("matrix", workshop.task, "random:1-2", "--bind", "both")
