"""Two random models to grow a string between (Section II.C): near each other, or of about the same loss."""

from __future__ import annotations

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem.module import ModuleProblem
from weightstring.randomness import derive_seed

TRIES = 100
"""Models drawn in search of one whose loss is near enough."""


@undisturbed
def random_pair(
    problem: ModuleProblem, seed: int = 0, *, radius: float | None = None, within: float | None = None
) -> tuple[Theta, Theta]:
    """Two random models σ_i and σ_j.

    The draft asks for ‖σ_i − σ_j‖ < κ, which the final paper reads as losses that are close: both are here.

    Args:
        problem: whose models.
        seed: of both.
        radius: κ, their largest distance over all parameters; σ_j is moved towards σ_i if it is further away.
        within: the largest difference of their evaluation losses; σ_j is drawn again until it is that near.

    Returns:
        Two models (P,).

    Raises:
        InvalidSetting: κ is not positive, or no model of so near a loss was drawn.

    >>> x = torch.linspace(0, 1, 8).unsqueeze(1)
    >>> problem = ModuleProblem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, 2 * x), batch_size=None)
    >>> a, b = random_pair(problem, radius=0.1)
    >>> round(float((b - a).norm()), 4)
    0.1
    """
    if radius is not None and not radius > 0:
        raise InvalidSetting(f"random_pair(radius={radius}): must be positive")
    if within is not None and not within >= 0:
        raise InvalidSetting(f"random_pair(within={within}): a difference of losses is 0 or more")
    first = problem.initial(derive_seed(seed, "pair", 0))
    loss = float(problem.measure(first[None])["loss"])
    nearest = float("inf")
    for number in range(1, TRIES + 1):
        second = problem.initial(derive_seed(seed, "pair", number))
        distance = float((second.double() - first.double()).norm())
        if radius is not None and distance > radius:
            second = torch.lerp(first, second, radius / distance)
        if within is None:
            return first, second
        difference = abs(float(problem.measure(second[None])["loss"]) - loss)
        if difference <= within:
            return first, second
        nearest = min(nearest, difference)
    raise InvalidSetting(
        f"random_pair(within={within:g}): of {TRIES} random models the nearest in loss differs by {nearest:.6g}; "
        "allow more, or give a radius"
    )
