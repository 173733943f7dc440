"""One sweep by several processes: the rows of one, bit for bit, whoever does which block, and in which order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.study.sweep.collecting import collect, gather
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.forms import forms_of
from weightstring.study.sweep.part import Part
from weightstring.study.sweep.plan import Plan, Shard
from weightstring.study.sweep.rows import Place
from weightstring.study.sweep.running import do, parts_of
from weightstring.study.sweep.table import Row, read_table

from .lines import line

LEVELS = (0.1, 0.05)
PLAN = Plan(LEVELS, pairs=3, tries=6)


@pytest.fixture(scope="module")
def whole(problem: ws.ModuleProblem, tmp_path_factory: pytest.TempPathFactory) -> ws.Sweep:
    store = tmp_path_factory.mktemp("whole") / "s"
    return ws.sweep(problem, LEVELS, pairs=3, tries=6, store=store)


def parts(problem: ws.ModuleProblem, store: Path, block: int = 1, plan: Plan = PLAN) -> list[Part]:
    forms = forms_of(problem, None, None, None)
    return parts_of(plan, forms, SweepDirectory(store), block)


def timeless(rows: Iterable[Row]) -> list[tuple[object, ...]]:
    """Rows without what a clock says."""
    return [astuple(replace(row, seconds=0.0)) for row in rows]


def test_blocks_done_in_any_order_by_many_give_the_rows_of_one(problem, whole, tmp_path):
    draw = random.Random(0)
    while True:
        (part,) = parts(problem, tmp_path / "s")  # each time another process, which knows nothing of the others
        blocks = part.open()
        if not blocks:
            break
        kind = draw.choice([block.kind for block in blocks])
        part.take([draw.choice([block for block in blocks if block.kind == kind])])
    found = collect(tmp_path / "s")
    assert not found.missing
    assert timeless(found.rows) == timeless(whole.rows)
    assert found.failed == whole.failed
    assert timeless(read_table(tmp_path / "s" / "table.csv")) == timeless(whole.rows)


def test_a_shard_leaves_what_another_is_at_and_does_what_is_left(problem, whole, tmp_path):
    (part,) = parts(problem, tmp_path / "s")
    part.networks.train()
    with part.directory.pairs_lock("all", 1):
        swept = ws.sweep(problem, LEVELS, pairs=3, tries=6, store=tmp_path / "s", shard="2/2")
        assert {row.pair for row in swept.rows} == {0, 2}
        assert not (tmp_path / "s" / "table.csv").exists()
        assert gather(part.directory).missing == tuple(Place("all", level, 1) for level in LEVELS)
    swept = ws.sweep(problem, LEVELS, pairs=3, tries=6, store=tmp_path / "s", shard="1/2")
    assert timeless(swept.rows) == timeless(whole.rows)


def test_a_shard_begins_with_its_own_blocks(problem, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(Part, "take", lambda part, blocks: taken.extend(blocks) or [])
    monkeypatch.setattr("weightstring.study.sweep.running.LOOK_AGAIN", 0.0)
    (part,) = parts(problem, tmp_path / "s", 1)
    part.networks.train()
    do([part], Shard.of("2/3"))
    assert [block.number for block in taken[:3]] == [1, 2, 0]


def test_nothing_is_done_twice(problem, whole, tmp_path, monkeypatch):
    ws.sweep(problem, LEVELS, pairs=3, tries=6, store=tmp_path / "s", shard="1/1", block=1)
    monkeypatch.setattr("weightstring.study.sweep.part.connect_all", None)
    again = ws.sweep(problem, LEVELS, pairs=3, tries=6, store=tmp_path / "s", shard="1/1")
    assert timeless(again.rows) == timeless(whole.rows)


def test_blocks_stay_as_the_first_call_made_them(problem, tmp_path, refused):
    parts(problem, tmp_path / "s", 2)
    with refused(InvalidRun, "has blocks of 2 pairs, not 3"):
        parts(problem, tmp_path / "s", 3)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "", 3])
def test_a_shard_that_is_none_is_refused(problem, tmp_path, shard, refused):
    with refused(InvalidSetting, "give K/N, the K-th of N from 1"):
        ws.sweep(problem, [0.1], pairs=1, store=tmp_path, shard=shard)


def test_shards_need_a_directory(problem, refused):
    with refused(InvalidSetting, "give store=, a directory that all shards see"):
        ws.sweep(problem, [0.1], pairs=1, shard="1/2")


@pytest.mark.slow
def test_networks_are_the_same_whatever_else_was_asked_before(tmp_path):
    """With failures, too, after which seeds are needed at the lower threshold alone."""
    narrow = line(nn.ReLU, 2)
    few, many = (Plan((0.1, 0.05), pairs=count, tries=8) for count in (1, 2))
    (first,) = parts(narrow, tmp_path / "grown", 1, few)
    first.networks.train()
    (grown,) = parts(narrow, tmp_path / "grown", 1, many)
    grown.networks.train()
    (once,) = parts(narrow, tmp_path / "once", 1, many)
    once.networks.train()
    assert any(grown.networks.failed(level) for level in LEVELS)
    for level in LEVELS:
        one, other = (part.networks.at(level) for part in (grown, once))
        assert (one.seeds, one.failed) == (other.seeds, other.failed)
        assert one.thetas.equal(other.thetas)
