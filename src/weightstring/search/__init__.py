"""Searching for a string: Section II.B, its jobs, when to stop, and what drives it."""

from weightstring.search.chain import Bead
from weightstring.search.driver import Asked, Event, Search, run, run_all
from weightstring.search.executor import Batched, Executor, Key, Tick
from weightstring.search.greedy import Greedy
from weightstring.search.jobs import Descend, Job, Measure, Measured, Result
from weightstring.search.processes import Processes
from weightstring.search.remote import Rebuilding, Remote, Work
from weightstring.search.stopping import Budget, MaxBeads, MaxSteps, Progress, StopRule
from weightstring.search.strategy import Strategy, Task

__all__ = [
    "Asked",
    "Batched",
    "Bead",
    "Budget",
    "Descend",
    "Event",
    "Executor",
    "Greedy",
    "Job",
    "Key",
    "MaxBeads",
    "MaxSteps",
    "Measure",
    "Measured",
    "Processes",
    "Progress",
    "Rebuilding",
    "Remote",
    "Result",
    "Search",
    "StopRule",
    "Strategy",
    "Task",
    "Tick",
    "Work",
    "run",
    "run_all",
]
