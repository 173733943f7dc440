"""Searching for a string: Section II.B, its jobs, when to stop, and what drives it."""

from weightstring.search.as_in_the_paper import AsInThePaper
from weightstring.search.autoneb import AutoNEB
from weightstring.search.breadth_first import BreadthFirst
from weightstring.search.chain import Bead
from weightstring.search.constrained import Constrained
from weightstring.search.curves import Bezier, PolyChain
from weightstring.search.driver import Asked, Event, Search, run, run_all
from weightstring.search.even import Even
from weightstring.search.executor import Apart, Batched, Executor, Key, Tick
from weightstring.search.greedy import Greedy
from weightstring.search.jobs import Descend, Evolve, Job, Measure, Measured, Result
from weightstring.search.persistent import Persistent
from weightstring.search.processes import Processes
from weightstring.search.relay import Relay
from weightstring.search.remote import Rebuilding, Remote, Work
from weightstring.search.shortening import Shortened
from weightstring.search.sinking import Sinking
from weightstring.search.stopping import Budget, MaxBeads, MaxSteps, Progress, StopRule
from weightstring.search.strategy import Strategy, Task

__all__ = [
    "Apart",
    "AsInThePaper",
    "Asked",
    "AutoNEB",
    "Batched",
    "Bead",
    "Bezier",
    "BreadthFirst",
    "Budget",
    "Constrained",
    "Descend",
    "Even",
    "Event",
    "Evolve",
    "Executor",
    "Greedy",
    "Job",
    "Key",
    "MaxBeads",
    "MaxSteps",
    "Measure",
    "Measured",
    "Persistent",
    "PolyChain",
    "Processes",
    "Progress",
    "Rebuilding",
    "Relay",
    "Remote",
    "Result",
    "Search",
    "Shortened",
    "Sinking",
    "StopRule",
    "Strategy",
    "Task",
    "Tick",
    "Work",
    "run",
    "run_all",
]
