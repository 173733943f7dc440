"""Gradient descent of many models side by side, each to its own level.

It stands below :mod:`weightstring.problem` because training an end from scratch
(``ModuleProblem.fit``) and step 3 of the greedy algorithm are the same thing.
"""

from weightstring.descent.descent import Check, Descents, Start, batch_width, descend
from weightstring.descent.optimizers import OPTIMIZERS, Optimizers
from weightstring.descent.watch import Descended, Height

__all__ = [
    "OPTIMIZERS",
    "Check",
    "Descended",
    "Descents",
    "Height",
    "Optimizers",
    "Start",
    "batch_width",
    "descend",
]
