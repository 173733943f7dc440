"""The executor: jobs in any order, side by side, each with the result it would have alone."""

from __future__ import annotations

import math

import pytest
import torch
from msgspec.structs import astuple

from weightstring.descent import Check, Start, descend
from weightstring.path import MAX_PEAKS, Maximum, Objective, Samples, Segment, locate
from weightstring.problem.surfaces import Maze, Ring, shifted
from weightstring.search import Batched, Descend, Executor, JobContext, Measure, Measured

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)


def points(count: int) -> torch.Tensor:
    a, b = SURFACE.ends
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.lerp(a, b, torch.linspace(0, 1, count, dtype=torch.float64)[:, None]) + 0.3 * noise


def measure_job(a: torch.Tensor, b: torch.Tensor, name: str, threshold: float) -> Measure:
    values = Objective(SURFACE)(torch.stack([a, b])).tolist()
    return Measure(name, Segment(a, b), (values[0], values[1]), threshold)


def jobs() -> list[Measure | Descend]:
    thetas = points(9)
    made: list[Measure | Descend] = []
    for i in range(8):
        made.append(measure_job(thetas[i], thetas[i + 1], f"segment {i}", 0.9 + 0.5 * (i % 2)))
        made.append(Descend(Start(thetas[i], 0.6, 0.7, f"bead {i}", 1.0 if i % 3 else 0.5)))
    return made


def executor(problem=SURFACE, width: int = 3) -> Batched:
    return Batched(JobContext(Objective(problem), 7, SURFACE.recipe, width))


def test_every_job_has_the_result_it_has_alone(run):
    together = run(executor(), jobs())
    assert isinstance(executor(), Executor)
    for job, result in zip(jobs(), together, strict=True):
        (alone,) = run(executor(width=1), [job])
        if isinstance(job, Measure):
            assert result == alone
        else:
            assert astuple(result)[2:] == astuple(alone)[2:]
            assert result.value == pytest.approx(alone.value, rel=1e-12)
            torch.testing.assert_close(result.theta, alone.theta, rtol=1e-12, atol=1e-12)


def test_a_segment_under_the_threshold_is_accepted_and_one_over_it_is_located(run):
    for job, result in zip(jobs(), run(executor(), jobs()), strict=True):
        if isinstance(job, Measure):
            ts = torch.linspace(0, 1, 2001, dtype=torch.float64)
            top = SURFACE.measure(job.segment.at(ts))["loss"].max().item()
            assert result.accepted == (top <= job.threshold)
            assert result.top.value == pytest.approx(top, rel=1e-3)
            assert len(result.peaks) <= MAX_PEAKS


def test_the_ends_are_not_measured_again_and_what_is_measured_is_counted(watched, run):
    problem = watched(SURFACE)
    measures = [job for job in jobs() if isinstance(job, Measure)]
    results = run(executor(problem), measures)
    assert problem.measured == sum(result.evaluations for result in results)
    for job in measures:
        assert not any(torch.equal(theta, end) for theta in problem.thetas for end in (job.segment.a, job.segment.b))


def test_the_given_heights_of_the_ends_are_believed(run):
    job = measure_job(*points(2), "segment", 5.0)
    high = Measure(job.name, job.segment, (9.0, 0.6), 5.0)
    (result,) = run(executor(), [high])
    assert not result.accepted
    assert result.top == Maximum(0.0, 9.0)


def test_peaks_are_those_of_locate(run):
    job = measure_job(*SURFACE.ends, "segment", 0.6)
    (result,) = run(executor(), [job])
    samples = Samples(job.segment)
    (found,) = locate(Objective(SURFACE), [samples])
    assert result.top.value == pytest.approx(found.value, rel=1e-5)
    assert len(result.peaks) == 3  # one a wall


def test_a_segment_of_infinite_loss_is_open(run):
    ring = Ring()
    a, _b = ring.ends
    job = Measure("far", Segment(a, a + 1e200), (0.0, math.inf), 1.0)
    (result,) = run(Batched(JobContext(Objective(ring), 0, ring.recipe, 4)), [job])
    assert not result.accepted
    assert result.top.value == math.inf


def test_descents_are_those_of_descend(run):
    descents = [job for job in jobs() if isinstance(job, Descend)]
    results = run(executor(), descents)
    expected = descend(SURFACE, Objective(SURFACE), [job.descent for job in descents], seed=7, width=3)
    assert all(
        torch.equal(r.theta, e.theta) and astuple(r)[1:] == astuple(e)[1:]
        for r, e in zip(results, expected, strict=True)
    )


def test_a_tick_may_end_the_work_and_nothing_that_is_done_is_lost(run):
    class Enough(Exception):
        pass

    descents = [job for job in jobs() if isinstance(job, Descend)]
    expected = {job.name: result for job, result in zip(descents, run(executor(), descents), strict=True)}
    interrupted, ticks = executor(), []

    def tick(check: Check | None) -> None:
        ticks.append(check)
        raise Enough

    for job in descents:
        interrupted.submit((0, job.name), job)
    with pytest.raises(Enough):
        interrupted.collect(tick)
    found = {}
    while len(found) < len(descents):
        try:
            found |= {name: result for (_, name), result in interrupted.collect(tick)}
        except Enough:
            found |= {name: result for (_, name), result in interrupted.collect(lambda check: None)}
    assert [check.finished for check in ticks] == sorted(check.finished for check in ticks)
    assert max(check.running for check in ticks) == 3
    for name, result in expected.items():
        assert torch.equal(found[name].theta, result.theta)
        assert astuple(found[name])[1:] == astuple(result)[1:]


def test_measuring_comes_first_and_ticks_without_a_check():
    ticks: list[Check | None] = []
    both = executor()
    for job in jobs():
        both.submit((0, job.name), job)
    first = both.collect(ticks.append)
    assert sorted(name for (_, name), _ in first) == [f"segment {i}" for i in range(8)]
    assert set(ticks) == {None}
    ticks.clear()
    both.collect(ticks.append)
    assert ticks[0].running > 0


def test_jobs_that_are_given_up_are_not_collected_and_harm_no_others(run):
    expected = run(executor(), jobs())
    given_up = [(0, job.name) for job in jobs()[::3]]
    left = {job.name: result for job, result in zip(jobs(), expected, strict=True) if (0, job.name) not in given_up}
    some = executor()
    for job in jobs():
        some.submit((0, job.name), job)
    some.submit((1, "bead 0"), next(job for job in jobs() if job.name == "bead 0"))
    some.cancel(given_up[:3])
    found = dict(some.collect(lambda check: None))
    found |= dict(some.collect(lambda check: None))  # descents are under way
    some.cancel(given_up)
    found = {key: result for key, result in found.items() if key not in given_up}
    while len(found) < len(left) + 1:
        found |= dict(some.collect(lambda check: None))
    assert some.collect(lambda check: None) == []
    assert {name for search, name in found if search == 0} == left.keys()
    for name, result in left.items():
        if isinstance(result, Measured):
            assert found[0, name] == result
        else:
            assert astuple(found[0, name])[2:] == astuple(result)[2:]
            torch.testing.assert_close(found[0, name].theta, result.theta, rtol=1e-12, atol=1e-12)
    assert found[1, "bead 0"].status == "reached"


def test_no_jobs_no_results():
    assert executor().collect(lambda check: None) == []
