"""Polynomial regression (Section V.A): f: [0, 1] → [0, 1] fitted by a 1-4-4-1 perceptron.

The quadratic and the cubic are those of C. D. Freeman and J. Bruna, "Topology and Geometry of
Half-Rectified Network Optimization", ICLR 2017.
"""

from __future__ import annotations

import torch
from torch import nn

from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.randomness import generator
from weightstring.recipe import Recipe
from weightstring.tasks.options import choose

TARGETS = {"quadratic": (0.1, 0.25, 0.5), "cubic": (0.0, 3.0, -10.0, 8.0)}
"""Coefficients, constant term first."""
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
LOSSES = {"squared": nn.MSELoss, "absolute": nn.L1Loss}


def polynomial(
    target: str = "quadratic",
    degree: int = 3,
    target_seed: int = 0,
    activation: str = "relu",
    output: str = "linear",
    optimizer: str = "rmsprop",
    lr: float = 1e-3,
    loss: str = "squared",
    samples: int = 256,
    batch_size: int = 256,
    width: int = 4,
) -> ModuleProblem:
    """A 1-4-4-1 network on a polynomial; the paper's draft has ReLU and RMSprop, its final version sigmoid and Adam.

    Args:
        target: ``quadratic``, ``cubic``, or ``random``: a member of the family f([0, 1]) ⊂ [0, 1].
        degree: of a random target.
        target_seed: draws a random target.
        activation: ``relu`` or ``sigmoid``.
        output: ``linear`` or ``sigmoid`` output unit.
        optimizer: ``rmsprop``, ``adam``, or another of torch.optim.
        lr: its learning rate.
        loss: ``squared`` or ``absolute`` error.
        samples: training points, evenly spaced on [0, 1]; the evaluation set has as many, between them.
        batch_size: points in a minibatch.
        width: units in each of the two hidden layers.

    Raises:
        InvalidSetting: an option has no such value.
    """
    choose("polynomial", "target", target, [*TARGETS, "random"])
    choose("polynomial", "activation", activation, ACTIVATIONS)
    choose("polynomial", "output", output, ["linear", "sigmoid"])
    choose("polynomial", "loss", loss, LOSSES)
    if width < 1:
        raise InvalidSetting(f"polynomial: width={width}: must be positive")
    if samples < 2:
        raise InvalidSetting(f"polynomial: samples={samples}: at least 2 are needed")
    coefficients = random_target(degree, target_seed) if target == "random" else torch.tensor(TARGETS[target])
    x = torch.linspace(0, 1, samples, dtype=torch.float64)
    between = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    unit = ACTIVATIONS[activation]
    layers = [nn.Linear(1, width), unit(), nn.Linear(width, width), unit(), nn.Linear(width, 1)]
    return ModuleProblem(
        nn.Sequential(*layers, *([nn.Sigmoid()] if output == "sigmoid" else [])),
        LOSSES[loss](),
        train=_points(coefficients, x),
        evaluate=_points(coefficients, between),
        batch_size=batch_size,
        recipe=Recipe(optimizer, {"lr": lr}),
    )


def random_target(degree: int, seed: int) -> torch.Tensor:
    """Coefficients (degree + 1,) of a random polynomial with f([0, 1]) ⊂ [0, 1], constant term first.

    In the Bernstein basis Σ b_k C(n, k) x^k (1 − x)^{n−k} a polynomial lies between its smallest and
    its largest coefficient on [0, 1]; so b_k are drawn uniformly from [0, 1].

    Raises:
        InvalidSetting: a negative degree.
    """
    if degree < 0:
        raise InvalidSetting(f"polynomial: degree={degree}: must not be negative")
    bernstein = torch.rand(degree + 1, generator=generator(seed, "polynomial", degree), dtype=torch.float64)
    # b_k ↦ coefficient of x^j: C(n, j) Σ_k (−1)^{j−k} C(j, k) b_k, the j-th forward difference.
    difference, coefficients, binomial = bernstein, [], 1.0
    for j in range(degree + 1):
        coefficients.append(binomial * float(difference[0]))
        difference = difference[1:] - difference[:-1]
        binomial *= (degree - j) / (j + 1)
    return torch.tensor(coefficients, dtype=torch.float64)


def _points(coefficients: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    powers = x.unsqueeze(1) ** torch.arange(len(coefficients), dtype=torch.float64)
    return x.float().unsqueeze(1), (powers @ coefficients.double()).float().unsqueeze(1)
