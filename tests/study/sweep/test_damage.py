"""A sweep's directory under two sweeps, an interruption, a resumed run, a disk that refuses, and damage."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

import weightstring as ws
from weightstring.descent import Check, Descents, Start
from weightstring.errors import InvalidRun, RunLocked, StoreFailed
from weightstring.store import RunDirectory
from weightstring.study.sweep.collecting import gather
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import EndTrainer
from weightstring.study.sweep.networks import KeptNetworks, Networks
from weightstring.study.sweep.plan import Plan
from weightstring.study.sweep.table import read_table

SEEDS = "ends/all/seeds-0000"


@pytest.fixture(scope="module")
def swept(problem: ws.ModuleProblem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("damage") / "s"
    ws.sweep(problem, [0.1], pairs=2, store=store)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Two sweeps at once


def test_a_sweep_that_cannot_begin_is_refused_before_it_writes(problem, store, monkeypatch, refused):
    monkeypatch.setattr("weightstring.study.sweep.directory.WAIT", 0.0)
    before = contents(store)
    with SweepDirectory(store).locked(), refused(RunLocked, "another sweep is beginning or writing here; wait for it"):
        ws.sweep(problem, [0.05], pairs=1, store=store)
    assert contents(store) == before


def test_a_block_is_held_while_it_is_trained_and_let_go(problem, tmp_path, monkeypatch):
    held = []

    def trained(trainer: EndTrainer, blocks: Sequence[int]) -> None:
        with pytest.raises(RunLocked, match="another process trains these networks"):
            SweepDirectory(tmp_path).ends_lock("all", 0).__enter__()
        held.append(blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr(EndTrainer, "train", trained)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ws.sweep(problem, [0.1], pairs=1, store=tmp_path)
    assert held == [[0], [0]]


# Interrupted training


def trained(trainer: EndTrainer) -> Networks:
    trainer.train()
    return trainer.at(trainer.plan.levels[-1])


def interrupting(finished: int) -> Callable[[Check], None]:
    """Ctrl-C at the check that finds so many networks trained."""

    def check(found: Check) -> None:
        if found.finished >= finished:
            raise KeyboardInterrupt

    return check


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places of all descents that are begun."""
    places: list[str] = []
    add = Descents.add

    def added(descents: Descents, start: Start, key: int) -> None:
        places.append(start.place)
        add(descents, start, key)

    monkeypatch.setattr(Descents, "add", added)
    return places


def test_networks_that_were_done_when_training_was_interrupted_are_kept(problem, tmp_path, begun):
    plan = Plan((0.3,), pairs=3)
    whole = trained(EndTrainer(problem, plan))
    with pytest.raises(KeyboardInterrupt):
        trained(EndTrainer(problem, plan, tmp_path / "n", on_check=interrupting(4)))
    kept = json.loads((tmp_path / "n" / "seeds-0000" / "0.3.json").read_text())
    done = {*kept["seeds"], *kept["failed"]}
    assert 0 < len(done) < 6
    begun.clear()
    again = trained(EndTrainer(problem, plan, tmp_path / "n"))
    assert not {f"end-{seed}" for seed in done} & set(begun)
    assert (again.seeds, again.failed) == (whole.seeds, whole.failed)
    assert torch.equal(again.thetas, whole.thetas)


def test_networks_that_are_done_are_kept_while_others_are_trained(problem, tmp_path, monkeypatch):
    monkeypatch.setattr("weightstring.study.sweep.ends.KEEP_EVERY", 0.0)
    kept = []
    keep = KeptNetworks.keep
    monkeypatch.setattr(KeptNetworks, "keep", lambda own, *given: (kept.append(given), keep(own, *given)))
    found = trained(EndTrainer(problem, Plan((0.3,), pairs=3), tmp_path / "n"))
    assert len(kept) > 1
    assert torch.equal(found.thetas, trained(EndTrainer(problem, Plan((0.3,), pairs=3))).thetas)


def test_fewer_networks_after_an_interruption_are_the_first_ones(problem, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(EndTrainer(problem, Plan((0.3,), pairs=3), tmp_path / "n", on_check=interrupting(4)))
    plan = Plan((0.3,), pairs=1)
    found, whole = (trained(EndTrainer(problem, plan, folder)) for folder in (tmp_path / "n", None))
    assert found.seeds == whole.seeds
    assert torch.equal(found.thetas, whole.thetas)


@pytest.mark.parametrize("count", [1, 4, 10])
def test_what_was_done_before_does_not_change_which_networks_are_used(problem, monkeypatch, count):
    """Of all descents of a round only some are done, in any order, as by interruptions; every third seed fails."""
    draw = random.Random(count)

    def train(trainer: EndTrainer, level: float, seeds: Sequence[int]) -> None:
        done = draw.sample(seeds, draw.randint(1, len(seeds)))
        theta = problem.initial(0)
        trainer.kept.keep(level, {s: theta * 0 + s for s in done if s % 3 != 1}, {s for s in done if s % 3 == 1})

    monkeypatch.setattr(EndTrainer, "_train", train)
    trainer = EndTrainer(problem, Plan((0.1,)), block=7)
    for asked in (count, 20, count):
        trainer.plan = Plan((0.1,), pairs=asked)
        found = trained(trainer)
        assert found.seeds == tuple(seed for seed in range(100) if seed % 3 != 1)[: 2 * asked]
        assert found.thetas[:, 0].tolist() == list(found.seeds)
        assert found.failed == tuple(seed for seed in range(found.seeds[-1]) if seed % 3 == 1)


# Runs that were resumed


def test_the_row_of_a_resumed_run_is_made_again(problem, tmp_path):
    stop = ws.MaxBeads(2)
    first = ws.sweep(problem, [0.1], pairs=2, store=tmp_path, stop=stop)
    row = next(row for row in first.rows if not row.connected)
    a, b = RunDirectory(tmp_path / row.run).ends()
    settings = {"strategy": ws.Greedy(), "bind": "loss"}
    resumed = ws.connect(problem, a, b, threshold=0.1, store=tmp_path / row.run, **settings)
    assert resumed.connected
    again = ws.sweep(problem, [0.1], pairs=2, store=tmp_path, stop=stop)
    new = again.rows[row.pair]
    assert (new.outcome, new.beads, new.largest) == ("connected", len(resumed.string), resumed.largest)
    assert [own for own in again.rows if own != new] == [own for own in first.rows if own != row]
    assert read_table(tmp_path / "table.csv") == list(again.rows)


def test_a_row_outlives_its_run(problem, store, monkeypatch):
    before = read_table(store / "table.csv")
    shutil.rmtree(store / "runs")
    monkeypatch.setattr("weightstring.study.sweep.part.connect_all", None)
    assert list(ws.sweep(problem, [0.1], pairs=2, store=store).rows) == before


# Disks that refuse


@pytest.mark.parametrize(
    "name",
    [
        "sweep.json",
        "table.csv",
        "failed.json",
        "trivial.json",
        f"{SEEDS}/0.05.json",
        f"{SEEDS}/0.1.json",
    ],
)
def test_a_disk_that_takes_no_file_is_told_in_one_line(problem, store, name, refused):
    path = store / name
    path.with_name(f".{path.name}.tmp").mkdir()  # where the new file is written first
    if path.name == "0.1.json":
        path.unlink()
    with refused(
        StoreFailed,
        f"{path.name}: cannot be written: Is a directory; a folder lies where a file should be: move it away",
    ):
        ws.sweep(problem, [0.1, 0.05], pairs=1, store=store)


@pytest.mark.parametrize("name", ["sweep.json", "table.csv", "failed.json", "trivial.json", f"{SEEDS}/0.1.json"])
def test_a_folder_in_place_of_a_file_is_told_in_one_line(problem, store, name, refused):
    (store / name).unlink()
    (store / name).mkdir()
    with refused(InvalidRun, f"{name}: cannot be read: Is a directory; "):
        ws.sweep(problem, [0.1], pairs=2, store=store)


def test_a_file_in_place_of_the_networks_folder_is_told_in_one_line(problem, store, refused):
    shutil.rmtree(store / "ends")
    (store / "ends").write_text("")
    with refused(InvalidRun, "ends/all.*Not a directory"):
        ws.sweep(problem, [0.05], pairs=1, store=store)


def test_a_directory_that_cannot_be_is_told_in_one_line(problem, tmp_path, refused):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "in it"):
        with refused(InvalidRun, "cannot be used as a sweep directory"):
            ws.sweep(problem, [0.1], pairs=1, store=path)
    with refused(InvalidRun, "cannot be looked into: File name too long"):
        ws.sweep(problem, [0.1], pairs=1, store=tmp_path / ("x" * 300))


# Damage


def recovers(problem: ws.ModuleProblem, store: Path, before: dict[str, bytes]) -> None:
    """The same sweep writes the same files again."""
    ws.sweep(problem, [0.1], pairs=2, store=store)
    after = contents(store)
    for name in ("failed.json", "trivial.json"):
        assert after[name] == before[name]
    rows = read_table(store / "table.csv")
    (store / "table.csv").write_bytes(before["table.csv"])
    assert [(row.pair, row.outcome, row.beads, row.largest, row.run) for row in rows] == [
        (row.pair, row.outcome, row.beads, row.largest, row.run) for row in read_table(store / "table.csv")
    ]


@pytest.mark.many(quick=6)
@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["failed.json", "trivial.json", f"{SEEDS}/0.1.json"])
def test_a_damaged_file_is_told_and_deleting_it_helps(problem, store, name, damaged, refused):
    before = contents(store)
    (store / name).write_bytes(damaged)
    with refused(InvalidRun, rf"{name}: damaged.*; delete it, and "):
        ws.sweep(problem, [0.1], pairs=2, store=store)
    (store / name).unlink()
    recovers(problem, store, before)


def test_seeds_of_failures_are_found_again_beside_the_networks(store):
    (store / "failed.json").unlink()
    path = store / SEEDS / "0.1.json"
    path.write_text(json.dumps({"seeds": [1, 3, 4, 5], "failed": [0, 2, 7], "networks": "", "sha256": ""}))
    assert gather(SweepDirectory(store)).failed == {("all", 0.1): (0, 2)}  # 7 was not needed


@pytest.mark.parametrize("cut", [1, 3, 12, 200, math.inf])
def test_a_table_that_is_not_whole_is_told_and_deleting_it_helps(problem, store, cut, refused):
    before = contents(store)
    path = store / "table.csv"
    path.write_bytes(before["table.csv"][: -min(cut, len(before["table.csv"]))])
    with refused(InvalidRun, r"table\.csv: damaged.*; delete it, and every sweep makes its own rows again"):
        ws.sweep(problem, [0.1], pairs=2, store=store)
    path.unlink()
    recovers(problem, store, before)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"all", b"\xff", "utf-8"),
        (b"pair-0001", b"pair-00", "row 2 names the run 'runs/all/0.1/pair-00', not its own"),
        (b"all", b'"a\0l"', "NUL|cannot be printed"),
        (b"connected", b"connected,more,and,more", "damaged"),
        (b"largest_low", b"largest", "no column largest_low"),
    ],
)
def test_a_changed_table_is_told(store, old, new, words, refused):
    path = store / "table.csv"
    path.write_bytes(path.read_bytes().replace(old, new))
    with refused(InvalidRun, words):
        gather(SweepDirectory(store))


def test_a_table_with_line_ends_of_windows_is_read(store):
    path = store / "table.csv"
    before = read_table(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_table(path) == before


def test_other_files_beside_the_networks_are_left_alone(problem, store):
    for name in ("notes.json", "nan.json", "1e400.json", "0.10.json"):
        (store / "ends" / "all" / name).write_text("mine")
    found = ws.sweep(problem, [0.1, 0.05], pairs=1, store=store)
    assert [row.threshold for row in found.rows] == [0.1, 0.1, 0.05]
    assert (store / "ends" / "all" / "notes.json").read_text() == "mine"


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("damage", ["deleted", "cut", "of other networks"])
def test_damaged_networks_are_told_with_what_helps(problem, store, damage, refused):
    before = contents(store)
    (path,) = (store / SEEDS).glob("*.safetensors")
    told = store / SEEDS / "0.1.json"
    if damage == "deleted":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        record = json.loads(told.read_text())
        told.write_text(json.dumps({**record, "seeds": record["seeds"][:-1]}))
    with refused(InvalidRun, r"safetensors: .*; delete 0\.1\.json beside it, and its networks are trained again"):
        ws.sweep(problem, [0.1], pairs=3, store=store)
    told.unlink()
    recovers(problem, store, before)
