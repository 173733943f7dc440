"""The loss as a function of a flat θ: any module on any data."""

from weightstring.problem.engines import EngineChoice, on_threads
from weightstring.problem.flat import Entry, Layout
from weightstring.problem.module import ModuleProblem

__all__ = ["EngineChoice", "Entry", "Layout", "ModuleProblem", "on_threads"]
