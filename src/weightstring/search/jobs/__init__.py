"""What a search asks to be done, and what comes back: one kind of job a file, each with its own batch and records."""

from weightstring.search.jobs.descend import Descend, knowing
from weightstring.search.jobs.job import Batch, Job, JobContext, JobResult, Key, Spent, Tick, read_round, round_of
from weightstring.search.jobs.measure import Looks, Measure, Measured

__all__ = [
    "Batch",
    "Descend",
    "Job",
    "JobContext",
    "JobResult",
    "Key",
    "Looks",
    "Measure",
    "Measured",
    "Spent",
    "Tick",
    "knowing",
    "read_round",
    "round_of",
]
