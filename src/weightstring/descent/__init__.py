"""Gradient descent of many models side by side, each to its own level.

It stands below :mod:`weightstring.problem` because training an end from scratch
(``ModuleProblem.fit``) and step 3 of the greedy algorithm are the same thing.
"""

from weightstring.descent.bead import Descended
from weightstring.descent.constraint import Both, Constraint, Free, Hyperplane, Soft, Spring, across
from weightstring.descent.constraints import constraint, on_planes
from weightstring.descent.evolution import Evolution, Evolved
from weightstring.descent.group import Descent
from weightstring.descent.loop import Check, Descents, batch_width, descend
from weightstring.descent.motion import Look, Motion, Tied, Updates, require_updates
from weightstring.descent.optimizers import OPTIMIZERS, Optimizers
from weightstring.descent.plateau import Height, PlateauMonitor
from weightstring.descent.recipes import changed
from weightstring.descent.start import Start
from weightstring.descent.stride import Step
from weightstring.descent.tether import Tether

__all__ = [
    "OPTIMIZERS",
    "Both",
    "Check",
    "Constraint",
    "Descended",
    "Descent",
    "Descents",
    "Evolution",
    "Evolved",
    "Free",
    "Height",
    "Hyperplane",
    "Look",
    "Motion",
    "Optimizers",
    "PlateauMonitor",
    "Soft",
    "Spring",
    "Start",
    "Step",
    "Tether",
    "Tied",
    "Updates",
    "across",
    "batch_width",
    "changed",
    "constraint",
    "descend",
    "on_planes",
    "require_updates",
]
