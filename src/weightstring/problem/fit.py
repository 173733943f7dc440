"""Train a random model to a level: step 1 of the greedy algorithm (Section II.B)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from weightstring.arrays import Theta, Thetas, Values
from weightstring.descent import Check, Start, descend
from weightstring.errors import LevelNotReached
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe


def fit_from(
    problem: LossProblem,
    start: Theta,
    *,
    recipe: Recipe,
    seed: int,
    until: float,
    max_steps: int | None,
    quantity: str,
    on_check: Callable[[Check], None],
) -> Theta:
    """Descend from ``start`` by a recipe until ``quantity`` is at most ``until``.

    Raises:
        LevelNotReached: the descent ended above ``until``; carries the best θ.
    """

    def height(thetas: Thetas) -> Values:
        return problem.measure(thetas, (quantity,))[quantity]

    recipe = recipe if max_steps is None else dataclasses.replace(recipe, max_steps=max_steps)
    starts = [Start(start, until, until, "fit")]
    (descended,) = descend(problem, height, starts, seed=seed, recipe=recipe, on_check=on_check)
    if descended.status != "reached":
        how = "diverged" if descended.status == "diverged" else "stopped improving or ran out of steps"
        raise LevelNotReached(
            f"training from seed {seed} {how} after {descended.steps} steps: best {quantity} {descended.value:.6g}, "
            f"wanted {until:.6g}; raise until, allow more max_steps, or try another seed or recipe",
            descended.theta,
            descended.value,
        )
    return descended.theta
