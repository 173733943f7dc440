"""Whole searches on a dask cluster: the same bits, whoever does them, and whatever becomes of it meanwhile."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import weightstring as ws
from weightstring.cli.options.search import computers
from weightstring.errors import InvalidSetting, LevelNotReached, WorkerFailed
from weightstring.problem.surfaces import Ring
from weightstring.search.running import dask, worker
from weightstring.search.running.tasks import REPEATS, Tasks, _dumped
from weightstring.search.running.worker import in_sight, run_task, versions
from weightstring.tasks import load_task

from ..slurm import Slurm

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
RING = Ring(size=3, radii=(1.0, 1.5))
PAIRS = [RING.ends, RING.ends[::-1], (RING.ends[0], RING.ends[0])]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of one thread of this process."""
    distributed = pytest.importorskip("distributed", reason="dask's distributed is not installed")
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as begun:
        yield begun


def same(one: ws.Result, other: ws.Result) -> bool:
    beads = torch.equal(one.string.beads, other.string.beads)
    return beads and one.outcome == other.outcome and len(one.history) == len(other.history)


def rows(swept: ws.Sweep) -> list[dict[str, Any]]:
    return [{k: v for k, v in vars(row).items() if k not in ("seconds", "run")} for row in swept.rows]


class TestCalls:
    @pytest.mark.parametrize("kept", [False, True])
    def test_many_pairs_come_out_as_in_this_process(self, client, tmp_path, kept):
        store = tmp_path / "runs" if kept else None
        expected = ws.connect_many(RING, PAIRS, 0.1, progress=False)
        found = ws.connect_many(RING, PAIRS, 0.1, progress=False, executor=ws.Dask(client), store=store)
        assert all(map(same, expected, found))
        if kept:
            names = sorted(path.name for path in (tmp_path / "runs" / "pair-0000").iterdir())
            assert names == ["beads", "journal.jsonl", "lock", "manifest.json", "result.json"]

    def test_a_search_goes_on_where_another_process_left_it(self, client, tmp_path):
        first = ws.connect(RING, *RING.ends, 0.1, store=tmp_path / "run", stop=ws.MaxBeads(3), progress=False)
        assert not first.connected
        found = ws.connect(RING, *RING.ends, 0.1, store=tmp_path / "run", executor=ws.Dask(client), progress=False)
        assert same(found, ws.connect(RING, *RING.ends, 0.1, progress=False))
        assert found.history[: len(first.history)] == first.history

    def test_strategies_are_compared_each_by_a_task_of_its_own(self, client, tmp_path):
        chosen = {"greedy": ws.Greedy(), "lower": ws.Greedy(alpha=0.5)}
        cluster = ws.Dask(client)
        found = ws.compare(RING, *RING.ends, 0.1, strategies=chosen, executor=cluster, store=tmp_path, shorten=False)
        expected = ws.compare(RING, *RING.ends, 0.1, strategies=chosen, shorten=False)
        for here, there in zip(expected, found, strict=True):
            assert {**here.row(), "seconds": 0} == {**there.row(), "seconds": 0}
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(chosen)

    @pytest.mark.slow
    def test_minimax_and_atlas_take_a_cluster(self, client):
        cluster = ws.Dask(client)
        found = ws.minimax(RING, *RING.ends, executor=cluster, stop=ws.MaxBeads(6), progress=False)
        expected = ws.minimax(RING, *RING.ends, stop=ws.MaxBeads(6), progress=False)
        assert (found.level, found.by_depth) == (expected.level, expected.by_depth)
        few = {"stop": ws.MaxBeads(4), "progress": False}
        joined = ws.atlas(RING, RING.ends, executor=cluster, **few)
        assert torch.equal(joined.direct, ws.atlas(RING, RING.ends, **few).direct)

    @pytest.mark.slow
    def test_a_sweep_has_the_same_rows(self, client, tmp_path):
        problem, how = load_task("polynomial"), {"pairs": 3, "block": 2, "progress": False}
        expected = ws.sweep(problem, [0.1], store=tmp_path / "here", **how)
        found = ws.sweep(problem, [0.1], store=tmp_path / "there", executor=ws.Dask(client), **how)
        assert rows(found) == rows(expected)
        table = (tmp_path / "there" / "table.csv").read_text()
        assert len(table.splitlines()) == 4

    def test_a_refusal_comes_back_as_it_was_raised(self, client):
        with pytest.raises(ws.EndAboveThreshold) as caught:
            ws.connect(RING, *RING.ends, -1.0, executor=ws.Dask(client), progress=False)
        assert caught.value.threshold == -1.0

    @pytest.mark.parametrize("store", [{}, "memory://run"])
    def test_a_store_in_this_process_is_refused(self, client, store):
        pytest.importorskip("fsspec")
        with pytest.raises(InvalidSetting, match="lies in this process's memory, where no worker can write"):
            ws.connect(RING, *RING.ends, 0.1, executor=ws.Dask(client), store=store)

    def test_beside_a_later_client_it_waits_by_its_own(self, client, monkeypatch):
        distributed, asked = pytest.importorskip("distributed"), []
        wait = distributed.wait
        monkeypatch.setattr(
            distributed, "wait", lambda *a, **k: asked.append(distributed.default_client()) or wait(*a, **k)
        )
        with distributed.Client(client.scheduler.address):
            ws.connect(RING, *RING.ends, 0.1, executor=ws.Dask(client), progress=False)
        assert {id(each) for each in asked} == {id(client)}

    def test_a_client_of_ones_own_will_do_and_stays_open(self, client):
        settings = ws.runs.settings.Settings(executor=client)
        assert isinstance(settings.executor, ws.Dask)
        settings.executor.close()
        assert client.status == "running"


class TestTasks:
    def test_a_task_is_named_by_what_it_does(self, client):
        with Tasks(ws.Dask(client), add, 1) as one, Tasks(ws.Dask(client), add, 1) as other:
            one.send("a", 2)
            other.send("b", 2)
            assert one._under_way["a"].future.key == other._under_way["b"].future.key
            assert finished(one) == [("a", 3)]
            one.send("a", 2)  # once more is another task
            assert one._under_way["a"].future.key.endswith("-1")
            assert finished(one) == [("a", 3)]

    def test_a_task_that_dask_gives_up_is_sent_again_but_not_for_ever(self, client, monkeypatch):
        import distributed

        class Dead:
            key = "dead"

            def done(self) -> bool:
                return True

            def result(self) -> None:
                raise distributed.KilledWorker("task", SimpleNamespace(address="tcp://a:1"), 3)  # type: ignore[arg-type]

            def cancel(self) -> None:
                pass

        sent = []
        monkeypatch.setattr(distributed, "wait", lambda *arguments, **settings: None)
        tasks = Tasks(ws.Dask(client), add, 1)
        monkeypatch.setattr(tasks, "_submit", lambda *arguments, key: sent.append(key) or Dead())
        tasks.send("a", 2)
        with pytest.raises(WorkerFailed, match="its workers died again and again: is there memory"):
            finished(tasks)
        assert len(set(sent)) == REPEATS + 1

    def test_a_task_that_the_scheduler_gave_up_is_told_in_one_line(self, client):
        with Tasks(ws.Dask(client), pause, None) as tasks:
            tasks.send("a", 0.5)
            client.cancel([tasks._under_way["a"].future], force=True)
            with pytest.raises(WorkerFailed, match="is gone, or gave the work up; what was found is kept, and the"):
                finished(tasks)

    def test_workers_that_do_not_see_the_directory_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(worker, "IN_SIGHT", 0.0)
        with in_sight(tmp_path / "run") as sight:
            assert call(sight=str(sight)) == 3
        assert not (tmp_path / "run").exists()
        with pytest.raises(WorkerFailed, match=r"a worker does not see .*/run, .* such as s3://bucket/run$"):
            call(sight=str(sight))

    def test_workers_of_another_version_are_refused(self):
        with pytest.raises(WorkerFailed, match=r"a worker has torch [^ ]+, this process 1\.0: install the same on all"):
            call(wanted={**versions(), "torch": "1.0"})

    def test_exceptions_with_values_travel(self):
        error = LevelNotReached("not reached", torch.ones(2), 0.5)
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.value) == ("not reached", 0.5)


class TestWords:
    @pytest.mark.parametrize("workers", [0, -1, 1.5])
    def test_a_number_of_workers_that_is_none_is_refused(self, workers):
        with pytest.raises(InvalidSetting, match="give at least one, and no cluster that has its own"):
            ws.Dask(workers=workers)

    def test_the_command_line_has_a_word_for_each(self):
        assert [computers(word) for word in ("2", "dask", "dask:2", "dask:tcp://a:1")] == [
            2,
            "dask",
            "dask:2",
            "dask:tcp://a:1",
        ]
        with pytest.raises(Exception, match="give a number of processes, dask, or dask: and a number or a scheduler's"):
            computers("dask:")

    def test_without_dask_it_is_said_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(InvalidSetting, match=r"dask is not installed: pip install weightstring\[dask\]"):
            ws.connect(RING, *RING.ends, 0.1, executor=ws.Dask(), progress=False)

    def test_where_no_scheduler_answers_it_is_said(self, monkeypatch):
        pytest.importorskip("distributed")
        monkeypatch.setattr(dask, "ANSWERS", 0.2)
        with pytest.raises(InvalidSetting, match=r"no scheduler answers at tcp://127\.0\.0\.1:9: "):
            ws.connect(RING, *RING.ends, 0.1, executor=ws.Dask("tcp://127.0.0.1:9"), progress=False)


@pytest.mark.slow
def test_a_sweep_survives_its_workers(tmp_path):
    pytest.importorskip("distributed", reason="dask's distributed is not installed")
    problem, how = load_task("polynomial"), {"pairs": 6, "block": 1, "progress": False}
    expected = ws.sweep(problem, [0.05], store=tmp_path / "here", **how)
    with ws.Dask(workers=2) as cluster:
        struck, over = [], threading.Event()

        def strike() -> None:
            while len(struck) < 3 and not over.wait(0.5):
                done = len(list((tmp_path / "there").rglob("result.json")))
                if done > len(struck):
                    struck.append(next(iter(cluster.client.run(os.getpid).values())))
                    os.kill(struck[-1], signal.SIGKILL)

        threading.Thread(target=strike, daemon=True).start()
        found = ws.sweep(problem, [0.05], store=tmp_path / "there", executor=cluster, **how)
        over.set()
    assert struck
    assert rows(found) == rows(expected)
    for journal in (tmp_path / "here").rglob("journal.jsonl"):
        other = tmp_path / "there" / journal.relative_to(tmp_path / "here")
        assert jobs(other) == jobs(journal)


@pytest.mark.slow
def test_the_command_line_begins_a_cluster_and_says_where(tmp_path):
    pytest.importorskip("distributed", reason="dask's distributed is not installed")
    words = ["sweep", "polynomial", "--thresholds", "0.1", "--pairs", "2", "--out", str(tmp_path / "sweep")]
    script = Path(sys.executable).with_name("weightstring")
    done = subprocess.run([script, *words, "--workers", "dask:1", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "weightstring: dask at tcp://127.0.0.1:" in done.stderr
    assert "/status" in done.stderr
    assert json.loads(done.stdout)["summary"][0]["pairs"] == 2


@pytest.mark.slow
def test_jobs_of_slurm_are_workers(slurm: Slurm, tmp_path, monkeypatch):
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    folder = {"log_directory": str(tmp_path), "local_directory": str(tmp_path), "python": sys.executable}
    options = {"host": "127.0.0.1", "dashboard_address": ":0"}
    with jobqueue.SLURMCluster(
        cores=1, processes=1, memory="1GB", walltime="00:10:00", scheduler_options=options, **folder
    ) as cluster:
        cluster.scale(jobs=1)
        with cluster.get_client() as begun:
            found = ws.connect_many(RING, PAIRS, 0.1, executor=ws.Dask(begun), store=tmp_path / "runs", progress=False)
    assert all(map(same, found, ws.connect_many(RING, PAIRS, 0.1, progress=False)))


def jobs(journal: Path) -> list[Any]:
    """What each round did, and its models."""
    lines = map(json.loads, journal.read_text().splitlines())
    return [(line["round"], line["jobs"], line["beads"]) for line in lines]


def add(shared: int, item: int) -> int:
    return shared + item


def pause(shared: None, item: float) -> float:
    time.sleep(item)
    return item


def finished(tasks: Tasks[Any]) -> list[tuple[Any, Any]]:
    found = []
    while tasks:
        found += tasks.done()
    return found


def call(wanted: dict[str, str] | None = None, sight: str | None = None) -> int:
    """A task as a worker runs it."""
    return run_task(wanted or versions(), sight, _dumped(1), add, _dumped(2))
