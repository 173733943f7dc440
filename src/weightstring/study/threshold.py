"""``suggest_threshold``: a level that says something about two models, and the scale of losses that it stands on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint, InvalidData, Unsupported
from weightstring.notebook import Viewable
from weightstring.path import Maximum, Objective, no_worse
from weightstring.path.maximum import Samples, locate
from weightstring.path.objective import check_theta
from weightstring.path.quantities import bound_words
from weightstring.path.segment import Segment
from weightstring.problem import Modular, PerExample
from weightstring.protocol import LossProblem
from weightstring.study.sweep.trivial import trivial_levels

MARGIN = 0.02
"""Share of the higher end's value that is added: room for a proof, which no string has that touches its threshold."""


@dataclass(frozen=True, repr=False)
class Suggestion(Viewable):
    """A threshold for two models, and what it is to be seen beside.

    Args:
        value: the threshold: 2 % over the higher end.
        ends: what it binds, at the two models.
        line: the largest sample on the straight line between them, and where.
        standard_error: of the higher end's value as an estimate from so many evaluation examples; None where that does
            not come from what each example adds.
        examples: how many; 0 where it is not known.
        constant: what the best constant predictor reaches; None where there is none.
        bound: what is bound, in words.
    """

    value: float
    ends: tuple[float, float]
    line: Maximum
    standard_error: float | None
    examples: int
    constant: float | None
    bound: str

    @property
    def trivial(self) -> bool:
        """Whether a constant predictor is under it: then a string under it says nothing of what was learnt."""
        return self.constant is not None and self.constant <= self.value

    @property
    def straight(self) -> bool:
        """Whether every sample of the straight line is under the threshold already."""
        return no_worse(self.line.value, self.value)

    def __str__(self) -> str:
        first, last = self.ends
        lines = [
            f"threshold {self.value:.6g} on the {self.bound}: {MARGIN:.0%} over the higher end (A {first:.6g}, "
            f"B {last:.6g})"
        ]
        top = f"{self.line.value:.6g} at t = {self.line.t:.2f}, sampled"
        lines.append(
            f"the straight line stays under it: {top}; the two merge as they are"
            if self.straight
            else f"the straight line climbs to {top}: it takes a string"
        )
        if self.standard_error is not None:
            told = f"{self.standard_error:.2g}, of {self.examples} examples"
            lines.append(f"standard error of the higher end's value: {told}; of two models on the same ones it is less")
        if self.constant is not None:
            beside = ", under the threshold: a string under it says nothing of what was learnt" if self.trivial else ""
            lines.append(f"best constant predictor: {self.constant:.4g}{beside}")
        return "\n".join(lines)


@undisturbed
def suggest_threshold(problem: LossProblem, a: Theta, b: Theta, *, bind: str = "evaluate") -> Suggestion:
    """A threshold for the search between two models: L0 of the paper, the higher end's value, and 2 % for a proof.

    It costs the samples of one segment, and the fit of a constant.

    Args:
        problem: the loss.
        a: θ1 (P,).
        b: θ2 (P,).
        bind: what the threshold is to bind; see :func:`weightstring.connect`.

    Returns:
        The value, and what it is to be seen beside: the straight line, sampling error, a constant predictor.

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem, or its loss is not finite.
        InvalidSetting: the problem does not measure what is to be bound.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> suggestion = suggest_threshold(ring, *ring.ends)
    >>> suggestion.straight, suggestion.value >= max(suggestion.ends)
    (False, True)
    """
    check_theta(problem, a, "the first end")
    check_theta(problem, b, "the second end")
    objective = Objective(problem, bind)
    samples = Samples(Segment(a, b))
    top = locate(objective, [samples])[0]
    first, last = samples.heights[0.0], samples.heights[1.0]
    higher = max(first, last)
    if not math.isfinite(higher):
        raise InvalidCheckpoint(
            f"{bind}: A {first}, B {last}: no threshold lies over a loss that is not finite; was that model trained?"
        )
    error, examples = _standard_error(problem, a if first >= last else b, objective.names)
    return Suggestion(
        value=higher + MARGIN * abs(higher),
        ends=(first, last),
        line=top,
        standard_error=error,
        examples=examples,
        constant=_constant(problem, objective.names, a),
        bound=bound_words(objective.names, problem.evaluation),
    )


def _standard_error(problem: LossProblem, theta: Theta, names: tuple[str, ...]) -> tuple[float | None, int]:
    """Of a ratio of sums over examples, Σ s / Σ w: to first order that of the mean of s − r w, over the mean of w."""
    if len(names) > 1 or not isinstance(problem, PerExample) or not problem.adds(names[0]):
        return None, 0
    sums, weights = problem.shares(theta, names[0])
    count = len(sums)
    if count < 2 or not float(weights.sum()) > 0:
        return None, 0
    rest = sums - sums.sum() / weights.sum() * weights
    variance = float((rest**2).sum()) * count / (count - 1)
    return math.sqrt(variance) / float(weights.sum()), count


def _constant(problem: LossProblem, names: tuple[str, ...], theta: Theta) -> float | None:
    """What the best constant predictor reaches, where the problem knows its data."""
    if len(names) > 1 or not isinstance(problem, Modular):
        return None
    try:
        return trivial_levels(problem, names[0], theta).get("best constant")
    except (InvalidData, Unsupported):  # batches whose targets cannot be taken apart
        return None
