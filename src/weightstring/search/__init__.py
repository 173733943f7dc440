"""Searching for a string: Section II.B, its jobs, when to stop, and what drives it."""

from weightstring.descent import Start
from weightstring.search.chain import Bead
from weightstring.search.jobs import Descend, Job, JobContext, JobResult, Key, Measure, Measured, Tick
from weightstring.search.methods.as_in_the_paper import AsInThePaper
from weightstring.search.methods.autoneb import AutoNEB
from weightstring.search.methods.breadth_first import BreadthFirst
from weightstring.search.methods.constrained import Constrained
from weightstring.search.methods.curves import Bezier, PolyChain
from weightstring.search.methods.even import Even
from weightstring.search.methods.greedy import Greedy
from weightstring.search.methods.persistent import Persistent
from weightstring.search.methods.relay import Relay
from weightstring.search.methods.shortened import Shortened
from weightstring.search.methods.sinking import Sinking
from weightstring.search.running.batched import Apart, Batched, Executor
from weightstring.search.running.dask import Dask
from weightstring.search.running.driver import run, run_all
from weightstring.search.running.processes import Processes
from weightstring.search.running.remote import Rebuilding, Remote
from weightstring.search.running.search import Event, Search, SearchRequest
from weightstring.search.stopping import Budget, MaxBeads, MaxSteps, Progress, StopRule
from weightstring.search.strategies import STRATEGIES
from weightstring.search.strategy import Strategy
from weightstring.search.string import Query, String

__all__ = [
    "STRATEGIES",
    "Apart",
    "AsInThePaper",
    "AutoNEB",
    "Batched",
    "Bead",
    "Bezier",
    "BreadthFirst",
    "Budget",
    "Constrained",
    "Dask",
    "Descend",
    "Even",
    "Event",
    "Executor",
    "Greedy",
    "Job",
    "JobContext",
    "JobResult",
    "Key",
    "MaxBeads",
    "MaxSteps",
    "Measure",
    "Measured",
    "Persistent",
    "PolyChain",
    "Processes",
    "Progress",
    "Query",
    "Rebuilding",
    "Relay",
    "Remote",
    "Search",
    "SearchRequest",
    "Shortened",
    "Sinking",
    "Start",
    "StopRule",
    "Strategy",
    "String",
    "Tick",
    "run",
    "run_all",
]
