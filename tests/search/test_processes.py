"""Worker processes: killed ones are replaced, hopeless ones given up, none is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from msgspec.structs import astuple
from torch import nn

from weightstring.descent import Start
from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.path import Objective
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Ring
from weightstring.recipe import Recipe
from weightstring.runs.connect import connect
from weightstring.search import Descend, Job, JobContext, Processes, Remote
from weightstring.search.running import processes
from weightstring.tasks import load_task

PATIENCE = 30.0
"""Seconds within which a process that was ended is gone."""


def until(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether something comes to hold within some patience."""
    deadline = time.monotonic() + patience
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def gone(wanted: set[int]) -> bool:
    """Whether none of these children is left."""
    return until(lambda: not wanted & {child.pid for child in multiprocessing.active_children()})


def ignores_interrupts(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return bool(ignored & 1 << signal.SIGINT - 1)


def workers(pool: Processes) -> set[int]:
    return set(pool.pool._processes or {})


@pytest.mark.parametrize("count", [0, -2, 1.5, "2"])
def test_a_number_of_workers_that_is_none_is_refused(refused, count):
    with refused(InvalidSetting, rf"^Processes\({count!r}\): give at least one worker$"):
        Processes(count)


def test_a_pool_is_begun_when_it_is_needed_and_ended_as_often_as_one_likes():
    pool = Processes()
    assert pool.workers == os.cpu_count()
    assert pool._pool is None
    pool.close()
    first = pool.pool
    assert pool.pool is first
    pool.rebuild()
    assert pool.pool is not first
    pool.close()
    pool.close()
    assert pool._pool is None


@pytest.mark.slow
def test_a_search_goes_on_when_a_worker_is_killed():
    problem = load_task("digits")
    problem.use_engine("loop")
    work = JobContext(Objective(problem), 0, Recipe("adam", {"lr": 1e-3}, max_steps=60))
    jobs: list[Job] = [Descend(Start(problem.initial(i), 0.05, 0.05, f"bead {i}")) for i in range(6)]
    expected = {job.name: work.run(job) for job in jobs}
    found, killed = {}, set()
    with Processes(2) as pool:
        remote = Remote(pool, work)
        for job in jobs:
            remote.submit((0, job.name), job)
        while len(found) < len(jobs):
            found |= {name: result for (_, name), result in remote.collect(lambda check: None)}
            if found and not killed:
                killed = {min(workers(pool))}
                os.kill(*killed, signal.SIGKILL)
        left = workers(pool)
    for name, result in expected.items():
        assert torch.equal(found[name].theta, result.theta)
        assert astuple(found[name])[1:] == astuple(result)[1:]
    assert killed
    assert gone(left | killed)


@pytest.mark.slow
def test_a_job_that_always_kills_its_worker_is_refused_and_leaves_no_process(refused):
    here = os.getpid()

    def deadly(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.cross_entropy(output, targets)

    problem = ModuleProblem(nn.Linear(2, 3), deadly, (torch.ones(9, 2), torch.arange(9) % 3), engine="loop")
    before = {child.pid for child in multiprocessing.active_children()}
    with (
        Processes(1) as pool,
        refused(WorkerFailed, r"^the worker of a measure job died 4 times: is there memory enough for all workers\?"),
    ):
        connect(problem, problem.initial(0), problem.initial(1), 50.0, executor=pool)
    assert gone({child.pid for child in multiprocessing.active_children()} - before)


@pytest.mark.slow
def test_a_search_in_processes_finds_what_it_finds_here():
    ring = Ring()
    expected = connect(ring, *ring.ends, 0.1)
    with Processes(2) as pool:
        found = connect(ring, *ring.ends, 0.1, executor=pool)
    assert found.outcome == expected.outcome
    torch.testing.assert_close(found.string.beads, expected.string.beads, rtol=1e-12, atol=1e-12)


SCRIPT = """
import weightstring as ws
from weightstring.problem.surfaces import Ring
from weightstring.path import Objective
from weightstring.search import Processes


class Told:
    def stage(self, name, seconds=None):
        pass

    def estimated(self, estimate):
        pass

    def event(self, event):
        if event.round == 1:
            print(*pool.pool._processes, flush=True)

    def measuring(self):
        pass


if __name__ == "__main__":
    ring = Ring()
    endless = ws.Recipe("sgd", {"lr": 1e-12}, patience=10**9, max_steps=10**9)
    with Processes(2) as pool:
        result = ws.connect(ring, *ring.ends, 0.1, recipe=endless, executor=pool, progress=Told())
    print(result.outcome.reason)
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_search_and_all_its_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert until(lambda: all(map(ignores_interrupts, pids)), 5 * PATIENCE)  # as soon as they have begun
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert pids
    assert out.splitlines()[-1] == "interrupted"
    assert err == ""
    assert process.returncode == 0
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_workers_take_the_gpus_that_their_parent_sees_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(processes.GPUS, raising=False)
    assert processes.seen_gpus() == ["0", "1"]
    monkeypatch.setenv(processes.GPUS, "4,7")
    assert processes.seen_gpus() == ["4", "7"]
    for name in ("torch.set_num_threads", "signal.signal", "threading.Thread"):
        monkeypatch.setattr(f"weightstring.search.running.processes.{name}", Mock())
    begun, given = multiprocessing.get_context("spawn").Value("i", 0), []
    for _ in range(3):
        processes._begin(os.getpid(), ["4", "7"], begun)
        given.append(os.environ[processes.GPUS])
    assert given == ["4", "7", "4"]
