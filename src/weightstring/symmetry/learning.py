"""Units matched by the loss itself: a move learned by gradients of the loss on the line to the moved model.

The permutations, linear maps and factors of :class:`~weightstring.symmetry.latents.Latents` descend the training loss
at a random place of the line from the first model to the moved second one, its middle half (Peña et al. 2023; Theus et
al. 2025 learn orthogonal maps in the same way). A gradient with respect to θ is pulled back by the chain rule, so that
any engine computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from weightstring.descent.minibatches import minibatches
from weightstring.problem import Modular
from weightstring.randomness import generator
from weightstring.symmetry.latents import Latents
from weightstring.symmetry.lines import Lines, worse
from weightstring.symmetry.moves import Move

STEPS = 200
"""Steps unless told otherwise, one gradient each."""

LOOKS = 10
"""How often the middle of the line is measured on the way; the move of the lowest is kept."""

RATES = {"orders": 0.03, "turns": 0.01, "stretches": 0.01}
"""Step sizes of Adam for matrices of permutations, logarithms of linear maps and of factors; they fall to 0.

Factors take small steps: very unequal ones lower the line by making the models unlike in scale, and lengthen it much.
"""

PLACE = "learned matching"


class Learned(NamedTuple):
    """What was learned.

    Args:
        move: of all that were measured, the one of the lowest middle of the line; what it began with among them.
        gradients: how many were computed.
    """

    move: Move
    gradients: int


def learned(
    problem: Modular, lines: Lines, start: Move, *, steps: int, seed: int, rescale: bool, maps: bool
) -> Learned:
    """Move the second model of some lines so that the line to it is low, from a move that is known.

    Args:
        problem: whose training loss is descended.
        lines: from one model to copies of another.
        start: the move to begin with.
        steps: how many.
        seed: of minibatches and places on the line.
        rescale: learn factors and signs too.
        maps: learn linear maps too.
    """
    latents = Latents(start, lines.a, lines.b, rescale=rescale, maps=maps)
    if not latents.free:
        return Learned(start, 0)
    groups = [{"params": list(getattr(latents, name).values()), "lr": rate} for name, rate in RATES.items()]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches, draw = minibatches(problem, seed, PLACE), generator(seed, PLACE)
    best, lowest = start, lines.sketch(start(lines.b))
    for step in range(1, steps + 1):
        t = 0.25 + 0.5 * float(torch.rand((), generator=draw, dtype=torch.float64))
        rows = None if batches is None else batches.draw()[None]
        optimizer.zero_grad()
        with torch.enable_grad():
            moved = latents()
        line = torch.lerp(lines.a, moved.detach().to(lines.a), t)
        gradient = problem.gradient(line[None], rows).gradients[0]
        if not bool(gradient.isfinite().all()):
            return Learned(best, step)
        torch.autograd.backward(moved, t * gradient.to(moved))
        optimizer.step()
        falling.step()
        if step % max(1, steps // LOOKS) == 0 or step == steps:
            move = latents.move()
            heights = lines.sketch(move(lines.b))
            if worse(lowest, heights):
                best, lowest = move, heights
    return Learned(best, steps)
