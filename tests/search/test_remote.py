"""Jobs elsewhere: the same results, whatever the pool and whoever dies in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import cloudpickle
import pytest
import torch
from msgspec.structs import astuple
from torch import nn

from weightstring.descent import Start
from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.path import Objective, Segment
from weightstring.problem import ModuleProblem
from weightstring.problem.surfaces import Maze, shifted
from weightstring.recipe import Recipe
from weightstring.search import Batched, Descend, Job, JobContext, JobResult, Measure, Measured, Remote
from weightstring.search.running.remote import REPEATS, content_name, run_job

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
WORK = JobContext(Objective(SURFACE), 7, SURFACE.recipe)


def jobs() -> list[Job]:
    a, b = SURFACE.ends
    thetas = torch.lerp(a, b, torch.linspace(0, 1, 6, dtype=torch.float64)[:, None])
    heights = Objective(SURFACE)(thetas).tolist()
    made: list[Job] = []
    for i in range(5):
        ends = (heights[i], heights[i + 1])
        made.append(Measure(f"segment {i}", Segment(thetas[i], thetas[i + 1]), ends, 0.9 + 0.5 * (i % 2)))
        made.append(Descend(Start(thetas[i], 0.6, 0.7, f"bead {i}", 1.0 if i % 3 else 0.5)))
    return made


def assert_same(found: list[JobResult], expected: list[JobResult], rtol: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, Measured):
            assert one == other
        else:
            assert astuple(one)[2:] == astuple(other)[2:]
            assert one.value == pytest.approx(other.value, rel=rtol)
            torch.testing.assert_close(one.theta, other.theta, rtol=rtol, atol=rtol)


@dataclass(eq=False)
class ByHand(Executor):
    """A pool whose jobs are done when it is told so, in this thread; and which can die."""

    waiting: list[tuple[Future, Callable[[], object]]] = field(default_factory=list)
    submitted: int = 0

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        self.waiting.append((future, lambda: function(*args, **kwargs)))
        self.submitted += 1
        return future

    def work(self, count: int | None = None) -> None:
        for future, run in self.waiting[:count]:
            if future.set_running_or_notify_cancel():
                future.set_result(run())
        self.waiting = [] if count is None else self.waiting[count:]

    def die(self, count: int | None = None) -> None:
        for future, _ in self.waiting[:count]:
            future.set_exception(BrokenExecutor())
        self.waiting = [] if count is None else self.waiting[count:]


@dataclass
class Replaced:
    """A pool that is rebuilt; all that have been."""

    pools: list[ByHand] = field(default_factory=lambda: [ByHand()])

    @property
    def pool(self) -> ByHand:
        return self.pools[-1]

    def rebuild(self) -> None:
        self.pools.append(ByHand())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_pool_of_threads_finds_what_one_batch_finds(run, threads):
    expected = run(Batched(JobContext(Objective(SURFACE), 7, SURFACE.recipe, 3)), jobs())
    with ThreadPoolExecutor(threads) as pool:
        assert_same(run(Remote(pool, WORK), jobs()), expected)


def classifier(*middle: nn.Module) -> ModuleProblem:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), *(middle or (nn.Tanh(),)), nn.Linear(6, 3)).double()
    inputs = torch.randn(40, 4, dtype=torch.float64)
    recipe = Recipe("adam", {"lr": 0.02}, check_every=5, max_steps=60)
    return ModuleProblem(net, lambda output, targets: nn.functional.cross_entropy(output, targets),
                         (inputs, torch.arange(40) % 3), batch_size=8, recipe=recipe, engine="loop")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("middle", [(), (nn.Dropout(0.4),)], ids=["plain", "dropout"])
def test_threads_do_not_share_a_module_nor_its_draws(run, middle):
    problem = classifier(*middle)
    descents: list[Job] = [Descend(Start(problem.initial(i), 0.1, 0.1, f"bead {i}")) for i in range(8)]
    work = JobContext(Objective(problem), 3, problem.recipe)
    expected = [work.run(job) for job in descents]
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            found = run(Remote(pool, work), descents)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.theta, other.theta)
            assert astuple(one)[1:] == astuple(other)[1:]


def test_two_jobs_of_the_same_content_are_run_once():
    pool, ticks = ByHand(), []
    remote = Remote(pool, WORK)
    (descent,) = [job for job in jobs() if job.name == "bead 1"]
    (measured,) = [job for job in jobs() if job.name == "segment 1"]
    for search in range(3):
        remote.submit((search, descent.name), descent)
        remote.submit((search, measured.name), replace(measured, name=f"segment of {search}"))
    assert pool.submitted == 2
    pool.work()
    found = dict(remote.collect(ticks.append))
    assert ticks == [None]
    assert set(found) == {(i, name) for i in range(3) for name in ("bead 1", "segment 1")}
    assert torch.equal(found[0, "bead 1"].theta, WORK.run(descent).theta)
    assert found[0, "segment 1"] == found[2, "segment 1"] == WORK.run(measured)
    assert remote.collect(ticks.append) == []


def test_what_one_search_gives_up_another_may_still_want():
    pool = ByHand()
    remote = Remote(pool, WORK)
    for job in jobs()[:4]:
        for search in (0, 1):
            remote.submit((search, job.name), job)
    remote.cancel([(0, job.name) for job in jobs()[:4]] + [(1, jobs()[1].name)])
    pool.work()
    found = dict(remote.collect(lambda check: None))
    assert found.keys() == {(1, jobs()[i].name) for i in (0, 2, 3)}


def test_a_tick_that_raises_loses_no_result():
    class Enough(Exception):
        pass

    def tick(check: object) -> None:
        raise Enough

    pool = ByHand()
    remote = Remote(pool, WORK)
    remote.submit((0, "x"), jobs()[0])
    pool.work()
    with pytest.raises(Enough):
        remote.collect(tick)
    assert remote.collect(lambda check: None) == [((0, "x"), WORK.run(jobs()[0]))]


def names(job: Job, **changes: object) -> tuple[str, str]:
    """The names of a job, and of one that differs in some fields."""
    changed = (
        replace(job, descent=replace(job.descent, **changes)) if isinstance(job, Descend) else replace(job, **changes)
    )
    return content_name("work", job), content_name("work", changed)


def test_a_name_says_all_that_determines_the_result_and_nothing_else():
    theta = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    start = Start(theta, 0.5, 0.6, "a-b/0", 1.0, 0.9)
    descent = Descend(start)
    others = [
        {"theta": theta + 1e-15},
        {"theta": theta.float()},
        {"aim": 0.5 + 1e-16 * 2},
        {"limit": 0.7},
        {"place": "a-b/1"},
        {"rate": 0.3},
        {"value": None},
        {"value": 0.91},
    ]
    assert len({name for changes in others for name in names(descent, **changes)}) == len(others) + 1
    assert len(set(names(descent, theta=theta.clone()))) == 1
    assert len(set(names(descent, theta=lambda: theta))) == 1
    segment = Segment(theta, theta + 1)
    job = Measure("a-b", segment, (0.1, 0.2), 0.5)
    others = [
        {"segment": Segment(theta + 1, theta)},
        {"segment": Segment(theta, theta + 2)},
        {"ends": (0.2, 0.1)},
        {"threshold": 0.6},
    ]
    assert len({name for changes in others for name in names(job, **changes)}) == len(others) + 1
    assert len(set(names(job, name="another place"))) == 1
    assert content_name("work", job) != content_name("other work", job)
    assert content_name("work", job) != content_name("work", descent)


def test_jobs_whose_worker_died_are_run_again():
    replaced = Replaced()
    remote, found = Remote(replaced, WORK), {}
    for job in jobs():
        remote.submit((0, job.name), job)
    replaced.pool.work(3)
    replaced.pool.die()
    found |= dict(remote.collect(lambda check: None))
    assert len(replaced.pools) == 2
    replaced.pool.work()
    found |= dict(remote.collect(lambda check: None))
    assert_same([found[0, job.name] for job in jobs()], [WORK.run(job) for job in jobs()], rtol=1e-15)


def test_a_sound_pool_is_not_replaced_because_jobs_of_the_broken_one_end_late():
    replaced = Replaced()
    remote, found = Remote(replaced, WORK), {}
    for job in jobs():
        remote.submit((0, job.name), job)
    broken = replaced.pool
    broken.die(4)
    for _ in range(4):
        found |= dict(remote.collect(lambda check: None))
        broken.die(2)
    assert len(replaced.pools) == 2
    for _ in range(3):
        replaced.pool.work()
        found |= dict(remote.collect(lambda check: None))
    assert_same([found[0, job.name] for job in jobs()], [WORK.run(job) for job in jobs()], rtol=1e-15)


def test_a_job_that_kills_every_worker_is_refused(refused):
    replaced = Replaced()
    remote = Remote(replaced, WORK)
    remote.submit((0, "x"), jobs()[1])
    for _ in range(REPEATS):
        replaced.pool.die()
        assert remote.collect(lambda check: None) == []
    replaced.pool.die()
    with refused(WorkerFailed, rf"^the worker of a descend job died {REPEATS + 1} times: is there memory enough for "):
        remote.collect(lambda check: None)
    assert len(replaced.pools) == REPEATS + 1


class Dead(Executor):
    def submit(self, function, /, *args, **kwargs):
        raise BrokenExecutor


def test_a_pool_that_takes_no_more_jobs_is_refused(refused):
    with ThreadPoolExecutor(1) as pool:
        remote = Remote(pool, WORK)
    with refused(WorkerFailed, r"^the executor takes no jobs \(cannot schedule .*\): keep it open while connect runs$"):
        remote.submit((0, "x"), jobs()[0])
    with refused(
        WorkerFailed, r"^a worker of the executor died and it takes no more jobs: weightstring.Processes would"
    ):
        Remote(Dead(), WORK).submit((0, "x"), jobs()[0])


def test_a_pool_that_is_shut_down_with_jobs_in_its_queue_is_refused(refused):
    """Its futures are cancelled, of which concurrent.futures.wait never tells."""
    release = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(release.wait)
        remote = Remote(pool, WORK)
        for job in jobs()[:3]:
            remote.submit((0, job.name), job)
        pool.shutdown(wait=False, cancel_futures=True)
        with refused(WorkerFailed, r"^the executor takes no jobs \("):
            for _ in range(3):
                remote.collect(lambda check: None)
    finally:
        release.set()


def test_an_error_of_a_job_is_passed_on():
    pool = ByHand()
    remote = Remote(pool, WORK)
    remote.submit((0, "x"), jobs()[0])
    pool.waiting[0][0].set_exception(InvalidSetting("one model does not fit"))
    with pytest.raises(InvalidSetting, match=r"^one model does not fit$"):
        remote.collect(lambda check: None)


def test_what_cannot_be_sent_is_refused(refused):
    lock = threading.Lock()

    def guarded(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with lock:
            return nn.functional.cross_entropy(output, targets)

    problem = ModuleProblem(nn.Linear(2, 3), guarded, (torch.ones(4, 2), torch.arange(4) % 3), engine="loop")
    message = (
        r"^the problem cannot be sent to other processes \(.*lock.*\): keep open files, locks and generators out of"
    )
    with refused(InvalidSetting, message):
        Remote(ByHand(), JobContext(Objective(problem), 0, problem.recipe))


def test_the_problem_lies_in_a_file_of_the_spool_while_it_is_needed(tmp_path):
    remote = Remote(ByHand(), WORK, tmp_path)
    (file,) = tmp_path.glob("weightstring-*/*.pickle")
    assert (file.parent.stat().st_mode & 0o777, file.parent.stat().st_uid) == (0o700, os.geteuid())
    del remote
    assert list(tmp_path.iterdir()) == []


def test_another_file_in_its_place_is_not_loaded(tmp_path, refused):
    """A pickle is code."""
    remote = Remote(ByHand(), WORK, tmp_path)
    (file,) = tmp_path.glob("weightstring-*/*.pickle")
    file.write_bytes(cloudpickle.dumps(Mark(tmp_path / "PWNED")))
    with refused(WorkerFailed, r"\.pickle: not what was put there, so it was not loaded"):
        run_job(str(file), jobs()[0])
    assert not (tmp_path / "PWNED").exists()
    del remote


class Mark:
    """Leaves a file where it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return type(self.place).touch, (self.place,)
