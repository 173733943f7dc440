"""The executor: jobs in any order, side by side, each with the result it would have alone."""

from __future__ import annotations

import math

import pytest
import torch

from weightstring.descent import Start, descend
from weightstring.path import MAX_PEAKS, Bound, Maximum, Samples, Segment, locate
from weightstring.problem.surfaces import Maze, Ring, shifted
from weightstring.search import Batched, Descend, Executor, Measure

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)


def points(count: int) -> torch.Tensor:
    a, b = SURFACE.ends
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.lerp(a, b, torch.linspace(0, 1, count, dtype=torch.float64)[:, None]) + 0.3 * noise


def measure_job(a: torch.Tensor, b: torch.Tensor, name: str, threshold: float) -> Measure:
    values = Bound(SURFACE)(torch.stack([a, b])).tolist()
    return Measure(name, Segment(a, b), (values[0], values[1]), threshold)


def jobs() -> list[Measure | Descend]:
    thetas = points(9)
    made: list[Measure | Descend] = []
    for i in range(8):
        made.append(measure_job(thetas[i], thetas[i + 1], f"segment {i}", 0.9 + 0.5 * (i % 2)))
        made.append(Descend(Start(thetas[i], 0.6, 0.7, f"bead {i}", 1.0 if i % 3 else 0.5)))
    return made


def executor(problem=SURFACE, width: int = 3) -> Batched:
    return Batched(Bound(problem), 7, SURFACE.recipe, width)


def nothing(done: int, descents: object) -> None:
    """A tick that nobody watches."""


def test_every_job_has_the_result_it_has_alone():
    together = executor().run(jobs(), nothing)
    assert isinstance(executor(), Executor)
    for job, result in zip(jobs(), together, strict=True):
        (alone,) = executor(width=1).run([job], nothing)
        if isinstance(job, Measure):
            assert result == alone
        else:
            assert result[2:] == alone[2:]
            assert result.value == pytest.approx(alone.value, rel=1e-12)
            torch.testing.assert_close(result.theta, alone.theta, rtol=1e-12, atol=1e-12)


def test_a_segment_under_the_threshold_is_accepted_and_one_over_it_is_located():
    for job, result in zip(jobs(), executor().run(jobs(), nothing), strict=True):
        if isinstance(job, Measure):
            ts = torch.linspace(0, 1, 2001, dtype=torch.float64)
            top = SURFACE.measure(job.segment.at(ts))["loss"].max().item()
            assert result.accepted == (top <= job.threshold)
            assert result.top.value == pytest.approx(top, rel=1e-3)
            assert len(result.peaks) <= MAX_PEAKS


def test_the_ends_are_not_measured_again_and_what_is_measured_is_counted(watched):
    problem = watched(SURFACE)
    measures = [job for job in jobs() if isinstance(job, Measure)]
    results = executor(problem).run(measures, nothing)
    assert problem.measured == sum(result.evaluations for result in results)
    for job in measures:
        assert not any(torch.equal(theta, end) for theta in problem.thetas for end in (job.segment.a, job.segment.b))


def test_the_given_heights_of_the_ends_are_believed():
    job = measure_job(*points(2), "segment", 5.0)
    high = Measure(job.name, job.segment, (9.0, 0.6), 5.0)
    (result,) = executor().run([high], nothing)
    assert not result.accepted
    assert result.top == Maximum(0.0, 9.0)


def test_peaks_are_those_of_locate():
    job = measure_job(*SURFACE.ends, "segment", 0.6)
    (result,) = executor().run([job], nothing)
    samples = Samples(job.segment)
    (found,) = locate(Bound(SURFACE), [samples])
    assert result.top.value == pytest.approx(found.value, rel=1e-5)
    assert len(result.peaks) == 3  # one a wall


def test_a_segment_of_infinite_loss_is_open():
    ring = Ring()
    a, _b = ring.ends
    job = Measure("far", Segment(a, a + 1e200), (0.0, math.inf), 1.0)
    (result,) = Batched(Bound(ring), 0, ring.recipe, 4).run([job], nothing)
    assert not result.accepted
    assert result.top.value == math.inf


def test_descents_are_those_of_descend():
    descents = [job for job in jobs() if isinstance(job, Descend)]
    results = executor().run(descents, nothing)
    expected = descend(SURFACE, Bound(SURFACE), [job.start for job in descents], seed=7, width=3)
    assert all(torch.equal(r.theta, e.theta) and r[1:] == e[1:] for r, e in zip(results, expected, strict=True))


def test_ticks_count_the_jobs_done_and_may_end_the_round():
    class Enough(Exception):
        pass

    ticks = []

    def tick(done, descents):
        ticks.append((done, descents))
        if len(ticks) > limit:
            raise Enough

    limit = math.inf
    executor().run(jobs(), tick)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    assert ticks[-1] == (8, None)  # measuring: all eight descents are done
    assert all(descents.finished == done for done, descents in ticks if descents is not None)
    ticks.clear()
    limit = 3
    with pytest.raises(Enough):
        executor().run(jobs(), tick)
    assert len(ticks) == 4


def test_no_jobs_no_results():
    assert executor().run([], nothing) == []
