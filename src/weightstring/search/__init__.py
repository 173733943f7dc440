"""Searching for a string: Section II.B, its jobs, when to stop, and what drives it."""

from weightstring.search.chain import Bead
from weightstring.search.driver import Event, Search, run
from weightstring.search.executor import Batched, Executor, Tick
from weightstring.search.greedy import Greedy
from weightstring.search.jobs import Descend, Job, Measure, Measured, Result
from weightstring.search.stopping import Budget, MaxBeads, MaxSteps, Progress, StopRule
from weightstring.search.strategy import Strategy, Task

__all__ = [
    "Batched",
    "Bead",
    "Budget",
    "Descend",
    "Event",
    "Executor",
    "Greedy",
    "Job",
    "MaxBeads",
    "MaxSteps",
    "Measure",
    "Measured",
    "Progress",
    "Result",
    "Search",
    "StopRule",
    "Strategy",
    "Task",
    "Tick",
    "run",
]
