"""The loss as a function of a flat θ: any module on any data."""

from weightstring.problem.capabilities import Digested, Laid, Modular, PerExample, Predicting, Traceable
from weightstring.problem.engines import on_threads
from weightstring.problem.flat import Entry, Layout
from weightstring.problem.module import ModuleProblem
from weightstring.problem.trace_inputs import TraceInputs
from weightstring.protocol import EngineChoice

__all__ = [
    "Digested",
    "EngineChoice",
    "Entry",
    "Laid",
    "Layout",
    "Modular",
    "ModuleProblem",
    "PerExample",
    "Predicting",
    "TraceInputs",
    "Traceable",
    "on_threads",
]
