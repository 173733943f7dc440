"""γ and t* of one segment, for direct use."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Positions, Theta
from weightstring.errors import InvalidSetting
from weightstring.path.maximum import Maximum, Samples, locate
from weightstring.path.objective import Objective, check_theta
from weightstring.path.segment import Segment, measure_points
from weightstring.protocol import LossProblem


@undisturbed
def loss_curve(problem: LossProblem, a: Theta, b: Theta, ts: Sequence[float] | Positions) -> Positions:
    """The interpolated loss curve γ(t) = L(Θ(θ1, θ2, t)) (2): the evaluation loss at ``ts``.

    Args:
        problem: the loss.
        a: θ1 (P,), at t = 0.
        b: θ2 (P,), at t = 1.
        ts: positions in [0, 1].

    Returns:
        float64 (len(ts),) on the CPU; +inf where the loss is not finite.

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: a position outside [0, 1].

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> loss_curve(ring, *ring.ends, [0.0, 0.5, 1.0]).argmax()
    tensor(1)
    """
    segment = _segment(problem, a, b)
    if not isinstance(ts, torch.Tensor | Sequence) or (isinstance(ts, torch.Tensor) and ts.ndim != 1):
        raise InvalidSetting(f"ts={ts!r}: give a list or a vector of positions")
    positions = [float(t) for t in ts]
    outside = [t for t in positions if not 0 <= t <= 1]
    if outside:
        raise InvalidSetting(f"t={outside[0]} is not on the segment: positions run from 0 to 1")
    heights = measure_points(Objective(problem), [(segment, t) for t in positions])
    return torch.tensor(heights, dtype=torch.float64)


@undisturbed
def locate_maximum(problem: LossProblem, a: Theta, b: Theta) -> Maximum:
    """t* and γ(t*): where the evaluation loss is largest between two models, as far as samples can tell.

    The ends count: a loss that only rises has its maximum at t = 1.

    Args:
        problem: the loss.
        a: θ1 (P,).
        b: θ2 (P,).

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> round(locate_maximum(ring, *ring.ends).t, 6)
    0.5
    """
    return locate(Objective(problem), [Samples(_segment(problem, a, b))])[0]


def _segment(problem: LossProblem, a: Theta, b: Theta) -> Segment:
    check_theta(problem, a, "the first end")
    check_theta(problem, b, "the second end")
    return Segment(a, b)
