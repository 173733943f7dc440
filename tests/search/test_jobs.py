"""Jobs and their results, in memory and in the journal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import pytest
import torch
from msgspec.structs import astuple

from weightstring.codec import Record, decode, encode
from weightstring.descent import Descended, Evolution, Evolved, Start, Tied, constraint
from weightstring.errors import InvalidRun
from weightstring.path import Maximum, Objective, Segment
from weightstring.problem.surfaces import Ring
from weightstring.search import Batched, Descend, Job, JobContext, Measure, Measured
from weightstring.search.jobs import JobResult, read_round, round_of
from weightstring.search.jobs.measure import Told
from weightstring.search.running.remote import content_name
from weightstring.store import Round

THETA = torch.tensor([3.0, -2.0, 0.1], dtype=torch.float64)
MEASURED = [
    Measured(True, (Maximum(0.5, 0.1),), 31),
    Measured(False, (Maximum(0.3, math.inf), Maximum(1.0, 1e300), Maximum(0.0, -2.5)), 17),
    Measured(True, (Maximum(0.25, 0.1),), 2, told=Told((0.25, 0.5), {"loss": (0.1, 0.0), "error": (math.inf, -1.0)})),
]
DESCENDED = [
    Descended(THETA, 0.1 + 0.2, "reached", 35, 8),
    Descended(THETA, math.inf, "diverged", 0, 1),
    Descended(THETA, -1e-300, "exhausted", 10_000, 501),
]
EVOLVED = [
    Evolved(torch.stack([THETA, -THETA]), (0.5, math.inf), ("reached", "diverged"), 70, 9, ((0.7, None), (0.5, 1.0))),
    Evolved(torch.stack([THETA, -THETA]), (0.5, 0.1), ("exhausted",), 70, 2),  # one moved, one was only measured
]

MEASURE = Measure("a-b", Segment(THETA, -THETA), (0.1, 0.2), 0.3)
DESCEND = Descend(Start(THETA, 0.1, 0.2, "a-b/0"))


def test_a_descent_is_named_by_its_place():
    assert DESCEND.name == "a-b/0"


def test_the_first_peak_is_the_top():
    assert MEASURED[1].top == Maximum(0.3, math.inf)


def test_a_measured_segment_is_the_same_from_its_other_end():
    other = MEASURED[2].reversed
    assert other.peaks == (Maximum(0.75, 0.1),)
    assert other.told is not None
    assert other.told.rows[0.75] == {"loss": 0.1, "error": math.inf}
    assert other.reversed == MEASURED[2]


def evolve(*moving: int) -> Descend:
    thetas = torch.stack([THETA, 2 * THETA, 3 * THETA, -THETA])
    return Descend(Evolution("all", thetas, moving, Tied(constraint("free")), 0.1, 0.2, 100))


WRITTEN: list[tuple[Job, JobResult]] = [
    *((MEASURE, result) for result in MEASURED),
    *((DESCEND, result) for result in DESCENDED),
    (evolve(1, 2), EVOLVED[0]),
    (evolve(1), EVOLVED[1]),
]


def read(jobs: list[Job], kept: Round) -> list[JobResult]:
    return read_round(jobs, kept, 4, torch.device("cpu"))


@pytest.mark.parametrize(("job", "result"), WRITTEN, ids=str)
def test_results_come_back_from_the_journal_bit_for_bit(job, result):
    jobs, results = [DESCEND, job], [DESCENDED[0], result]
    kept = round_of(jobs, results, 0.5)
    assert kept.jobs == (DESCEND.name, job.name)
    kept = kept._replace(results=msgspec.json.decode(msgspec.json.encode(kept.results), type=tuple))
    first, again = read(jobs, kept)
    assert torch.equal(first.theta, THETA)
    assert type(again) is type(result)
    for one, other in zip(astuple(again), astuple(result), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_results_that_no_search_writes_are_refused(refused):
    def refuse(job: Job, result: object, says: str, thetas: torch.Tensor | None = None) -> None:
        with refused(InvalidRun, f"^round 4 of the journal: not a result of {job.name}: .*{says}"):
            read([job], Round((job.name,), (result,), thetas, 0.5))

    (descended,), (measured,) = (round_of([job], [result], 0).results for job, result in (WRITTEN[3], WRITTEN[1]))
    refuse(MEASURE, measured | {"peaks": []}, "length >= 1 - at `\\$.peaks`")
    refuse(MEASURE, descended, "Invalid value 'descended'", THETA[None])
    refuse(DESCEND, measured, "Invalid value 'measured'")
    refuse(DESCEND, {"type": "descended"}, "missing required field `theta`")
    refuse(DESCEND, descended, "no 1 models are left in its bead file")
    refuse(DESCEND, descended | {"theta": [2]}, "a descent ends in one model, not in 2", torch.stack([THETA] * 2))
    refuse(DESCEND, descended | {"status": "fine"}, "Invalid enum value 'fine'", THETA[None])
    refuse(DESCEND, descended | {"steps": None}, "Expected `int`, got `null`", THETA[None])
    refuse(evolve(1), encode(EVOLVED[0], []), "other models moved", EVOLVED[0].thetas)
    with refused(InvalidRun, r"^round 4 of the journal: its results have 1 models, its bead file has 2$"):
        read([DESCEND], Round((DESCEND.name,), (descended,), torch.stack([THETA] * 2), 0.5))


def test_jobs_that_ask_for_different_things_differ_in_content():
    jobs = [
        MEASURE,
        Measure("a-b", MEASURE.segment, None, 0.3),
        Measure("a-b", MEASURE.segment, (0.1, 0.2), 0.3, 8),
        DESCEND,
        DESCEND.renamed("a-b/1"),
        Descend(DESCEND.descent, "alternative"),
        evolve(1),
        evolve(1, 2),
        evolve(1).renamed("again"),
    ]
    assert len({content_name("", job) for job in jobs}) == len(jobs)
    assert content_name("", MEASURE.renamed("c-d")) == content_name("", MEASURE)


class Length(Record, frozen=True, tag="length"):
    """What comes of a job that is none of ours."""

    value: float

    steps = 0
    evaluations = 1
    largest = None


@dataclass(frozen=True)
class Walk:
    """How long the way from a θ to the origin is: a job that is none of ours, with a batch of its own."""

    name: str
    theta: torch.Tensor

    descends = False

    def renamed(self, name):
        return Walk(name, self.theta)

    def adds(self, beads):
        return 0

    def content(self):
        return "walk", self.theta

    def decode(self, encoded, take):
        return decode(encoded, Length)

    @classmethod
    def batch(cls, context, allowed):
        return Walks()


class Walks:
    noun, at_once, running, check = "walks", True, 0, None

    def __init__(self):
        self.jobs = {}

    @property
    def keys(self):
        return tuple(self.jobs)

    def add(self, key, job):
        self.jobs[key] = job

    def ready(self, descending):
        return bool(self.jobs)

    def advance(self, on_chunk):
        jobs, self.jobs = self.jobs, {}
        return {key: Length(float(job.theta.norm())) for key, job in jobs.items()}

    def cancel(self, keys):
        self.jobs = {key: job for key, job in self.jobs.items() if key not in keys}


def test_a_job_of_another_kind_is_run_named_and_written_like_ours(run):
    context = JobContext(Objective(Ring(size=3)), 0, Ring().recipe)
    jobs = [Walk("a", THETA), MEASURE, DESCEND, Walk("b", -2 * THETA)]
    assert all(isinstance(job, Job) for job in jobs)
    results = run(Batched(context), jobs)
    assert [results[0].value, results[3].value] == [float(THETA.norm()), 2 * float(THETA.norm())]
    assert context.run(jobs[3]) == results[3]
    assert content_name("", jobs[0]) == content_name("", jobs[0].renamed("c")) != content_name("", jobs[3])
    again = read(jobs, round_of(jobs, results, 0.5))
    assert (again[0], again[1], again[3]) == (results[0], results[1], results[3])
    assert torch.equal(again[2].theta, results[2].theta)
