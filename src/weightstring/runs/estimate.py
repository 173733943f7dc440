"""What a search takes, said before it is begun: evaluations, seconds and memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.memory import allowed_bytes, bytes_in_use
from weightstring.path import Objective
from weightstring.path.adaptive import FIRST
from weightstring.path.maximum import ACCEPT_GRID, GRID
from weightstring.path.screening import SCREENED
from weightstring.path.string_curve import shown
from weightstring.problem.capabilities import Accounted
from weightstring.problem.room import descending_bytes, measuring_bytes
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.computing import arithmetic
from weightstring.runs.costs import CHECKS, ENDS, Cost, Estimate, Memory
from weightstring.runs.passes import examples, of_step
from weightstring.runs.preparing import check, prepare
from weightstring.runs.run import Run, SearchedRun
from weightstring.runs.settings import DEFAULT_STRATEGY, Pair, Settings, Workers
from weightstring.search import Budget, MaxBeads, StopRule, Strategy
from weightstring.search.stopping import rules_of

AT_PEAKS = 3
"""Samples beside those of a grid, at the peaks of a curve and beside its ends."""

PATIENCE = 5.0
"""Seconds for a straight line from which on a person wants to know before."""


@undisturbed
def estimate(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    threshold: float | None = None,
    *,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    sampling: str = "auto",
    through: Sequence[Theta] = (),
) -> Estimate:
    """What :func:`connect` with these arguments takes: its ends and waypoints are measured, and nothing else.

    Args:
        problem: the loss.
        a: one end θ (P,).
        b: the other end.
        threshold: L0; it is checked against the ends.
        strategy: how to search, as for all that follows.
        bind: what the threshold binds.
        recipe: how beads descend.
        executor: what runs the jobs.
        sampling: how densely segments are sampled.
        through: waypoints, which the first string leads through in place of the straight line.

    Raises:
        EndAboveThreshold, InvalidCheckpoint, InvalidSetting: as :func:`connect`.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> told = estimate(ring, *ring.ends, sampling="adaptive")
    >>> told.line.evaluations, told.bead.steps
    (9, 25)
    """
    settings = Settings(strategy=strategy, bind=bind, recipe=recipe, executor=executor, sampling=sampling)
    pairs = [Pair(a=a, b=b, threshold=threshold, through=tuple(through))]
    check(problem, pairs, settings)
    with arithmetic(problem, pairs):
        (run,) = prepare(problem, pairs, settings)
        return estimated(run)


def estimated(run: Run, searches: int = 1) -> Estimate:
    """What a run takes whose ends are measured; or so many like it."""
    computing, objective = run.computing, run.objective
    problem, second = run.problem, run.computing.seconds
    step = second * of_step(objective)
    accepted, located, curve = _per_segment(objective, computing.adaptive, computing.sparing)
    steps = CHECKS * computing.recipe.check_every
    segments = len(run.through) + 1
    training = _training(objective, segments, accepted + ENDS, second) if computing.sparing else None
    line = round(ENDS + len(run.through) + segments * (accepted + curve))
    bead = round(located + accepted + curve + CHECKS + computing.adaptive)
    memory = Memory(
        used=bytes_in_use(problem.device),
        measuring=measuring_bytes(problem),
        descending=descending_bytes(problem, computing.width),
        allowed=allowed_bytes(problem.device),
    )
    return Estimate(
        adaptive=computing.adaptive,
        evaluation=second,
        step=step,
        line=Cost(line, 0, line * second),
        bead=Cost(bead, steps, bead * second + steps * step),
        training=training,
        memory=memory,
        segments=segments,
        searches=searches,
        beads=_beads(run.settings.limits, segments + 1),
        limit=min((rule.seconds for rule in rules_of(run.settings.limits) if isinstance(rule, Budget)), default=inf),
    )


def worth_telling(runs: Sequence[Run]) -> Estimate | None:
    """What these runs take that have no result yet, each as the first, where a person would wait for them."""
    waiting = [run for run in runs if not isinstance(run, SearchedRun)]
    seconds = sum(run.computing.seconds * (FIRST + 1) for run in waiting)
    return estimated(waiting[0], len(waiting)) if seconds > PATIENCE else None


def _beads(limits: StopRule, begun: int) -> int | None:
    """New beads that the limits leave a string which begins with so many."""
    counts = [rule.count for rule in rules_of(limits) if isinstance(rule, MaxBeads)]
    return max(0, min(counts) - begun) if counts else None


def _per_segment(objective: Objective, adaptive: bool, sparing: bool) -> tuple[float, float, float]:
    """Evaluations that accept a segment, that locate the maximum of one, and that its curve takes."""
    problem, names = objective.problem, objective.names
    sketch = 0.0
    if objective.screening is not None:
        part = examples(objective.screening.problem, names) / examples(problem, names)
        sketch = part * (FIRST + 1 if adaptive else ACCEPT_GRID + 1 + AT_PEAKS)
    if adaptive:
        curve = _others(objective, [name for name in shown(problem) if name not in objective.told], FIRST + 1)
        located = FIRST + 1 if objective.screening is None else sketch + AT_PEAKS
        return sketch + FIRST - 1, located, 0 if sparing and curve > FIRST + 1 else curve
    curve = _others(objective, shown(problem), GRID + AT_PEAKS)
    if objective.screening is None:
        return ACCEPT_GRID - 1 + AT_PEAKS, GRID + AT_PEAKS, curve
    return sketch + SCREENED.intervals - 1 + AT_PEAKS, sketch + AT_PEAKS, curve


def _training(objective: Objective, segments: int, search: float, second: float) -> Cost | None:
    """What is left out along the first string, where it would take longer than the search of it."""
    problem = objective.problem
    spared = problem.spared if isinstance(problem, Accounted) else ()
    count = _others(objective, [name for name in spared if name not in objective.told], FIRST + 1)
    return Cost(round(segments * count), 0, segments * count * second) if count > search else None


def _others(objective: Objective, names: Sequence[str], places: int) -> float:
    """So many models measured by other quantities, in evaluations."""
    problem = objective.problem
    return places * examples(problem, names) / examples(problem, objective.names) if names else 0.0
