"""What measurements and descents cost, counted in examples that pass through the module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weightstring.path import Objective
from weightstring.path.string_curve import shown
from weightstring.problem.capabilities import Accounted
from weightstring.protocol import LossProblem
from weightstring.runs.run import SearchedRun

BACKWARD = 3
"""A gradient takes as long as so many forward passes."""


def examples(problem: LossProblem, quantities: Iterable[str]) -> int:
    """Examples that pass through the module when one model is measured by these quantities; 1 where that is unknown."""
    if not isinstance(problem, Accounted):
        return 1
    sets = {problem.beside([name]): problem.examples(name) for name in quantities}
    return sum(sets.values())


def of_step(objective: Objective) -> float:
    """What a gradient step costs, in evaluations."""
    problem = objective.problem
    return BACKWARD * (problem.batch_size or problem.train_size) / examples(problem, objective.names)


def curve_seconds(run: SearchedRun, without: Sequence[str]) -> float:
    """What measuring the finished string's curve takes, nothing that its search has told measured again."""
    problem, objective, string = run.problem, run.objective, run.result.string
    known = objective.told if run.computing.adaptive else ()
    names = [name for name in shown(problem) if name not in without and name not in known]
    places = len(string.places(string.heights(run.result.names)))
    return run.computing.seconds * places * examples(problem, names) / examples(problem, objective.names)


def spared(run: SearchedRun) -> tuple[str, ...]:
    """Quantities that are left out of the finished string's curve: measuring them would cost more than the search did.

    Only where models are dear and sampled adaptively, and only what the problem itself lets go.
    """
    problem, objective, result = run.problem, run.objective, run.result
    if not run.computing.sparing or not isinstance(problem, Accounted):
        return ()
    left = tuple(name for name in problem.spared if name not in objective.told)
    places = len(result.string.places(result.string.heights(result.names)))
    search = 2 + result.evaluations + result.steps * of_step(objective)
    return left if places * examples(problem, left) > search * examples(problem, objective.names) else ()
