"""κ along a string: how sharp the loss is at its beads and between them (Section IV)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from weightstring.path.sharpness import Sharpness, curvature
from weightstring.path.string import WeightString
from weightstring.protocol import LossProblem


@dataclass(frozen=True)
class Place:
    """κ at one place of a string.

    Args:
        s: the share of the string's length before it, in [0, 1].
        bead: the bead's number; None between two.
        sharpness: κ there, of the *training* loss.
    """

    s: float
    bead: int | None
    sharpness: Sharpness


def along(problem: LossProblem, string: WeightString, between: int = 1, seed: int = 0) -> Iterator[Place]:
    """κ at each bead and at places evenly spaced on each segment, from the first end to the last, as they are found.

    Args:
        problem: the loss, with exact Hessian products.
        string: a path.
        between: places on each segment; 0: only the beads.
        seed: of Lanczos' first vector.

    Raises:
        InvalidSetting, InvalidCheckpoint, Unsupported: see :func:`~weightstring.path.sharpness.curvature`.

    >>> import torch
    >>> from weightstring.problem import ModuleProblem
    >>> data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1)
    >>> problem = ModuleProblem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data)
    >>> string = WeightString(problem, torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]]))
    >>> [(place.s, place.bead, place.sharpness.kappa) for place in along(problem, string)]
    [(0.0, 0, 9.0), (0.125, None, 9.0), (0.25, 1, 9.0), (0.625, None, 9.0), (1.0, 2, 9.0)]
    """
    lengths = [float((b.double() - a.double()).norm()) for a, b in zip(string.beads, string.beads[1:], strict=False)]
    whole, passed = sum(lengths), 0.0
    for number, start in enumerate(string.beads):
        yield Place(passed / whole if whole else 0.0, number, curvature(problem, start, seed))
        if number == len(lengths):
            return
        end = string.beads[number + 1]
        for i in range(1, between + 1):
            share = i / (between + 1)
            theta = start + share * (end - start)
            s = (passed + share * lengths[number]) / whole if whole else 0.0
            yield Place(s, None, curvature(problem, theta, seed))
        passed += lengths[number]
