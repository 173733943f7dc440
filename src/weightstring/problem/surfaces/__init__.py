r"""Analytic losses whose maximum interpolated error Γ (Eq. 3) is known: the oracles of a search.

Each surface is a formula over θ = (x, y, z₁, …, z_{P−2}) and a :class:`~weightstring.protocol.LossProblem`
like any network. On every one of them Γ(a, b) is exact for *all* pairs of ends, by one argument: every path from
a to b crosses certain hyperplanes, on each of which the loss has a known minimum, its pass; and one can walk from
a down into a valley, along it over the passes and up to b, without climbing higher. So

    Γ(a, b) = max(L(a), L(b), highest pass between a and b).

A search may find a string under a threshold above Γ; a string under a threshold below Γ is a wrong answer.
Any of them can be moved elsewhere by :func:`shifted` and :func:`stretched`.
"""

from weightstring.problem.surfaces.base import NO_PASS, Surface
from weightstring.problem.surfaces.maze import Maze
from weightstring.problem.surfaces.moved import shifted, stretched
from weightstring.problem.surfaces.ring import Ring
from weightstring.problem.surfaces.spike import Spike
from weightstring.problem.surfaces.two_wells import TwoWells

__all__ = ["NO_PASS", "Maze", "Ring", "Spike", "Surface", "TwoWells", "shifted", "stretched"]
