r"""Paths and splitting on the quartic toy (Section III.B): L(w₁, w₂) = ‖w₁ w₂ − a*‖².

θ = (w₁, w₂): the row vector w₁ (1 × d₂), then the matrix w₂ (d₂ × d₁) row by row. Statements, proofs and corrections to
the draft stand in docs/theory/quartic.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.descent import Descended, Hyperplane, Start, Tether, descend
from weightstring.errors import InvalidSetting, LevelNotReached
from weightstring.path import WeightString
from weightstring.randomness import generator
from weightstring.recipe import Recipe
from weightstring.theory.curve import Curve, chain, straight
from weightstring.theory.quartic_surfaces import Quartic, ReluQuartic, join, minimiser

__all__ = [
    "Quartic",
    "ReluQuartic",
    "depth_bound",
    "hyperplane_crossing",
    "minimiser",
    "rotation",
    "segment_bound",
    "split_segments",
    "two_step",
]

DETOUR = 0.1
"""Sine of the angle between w₁ᴬ and w₁ᴮ under which a third w₁ is visited: w₂ would run away as 1/sine."""
ATTEMPTS = 5
"""Descents for one bead: from the midpoint, then from beside it."""
SHRINKS = math.sqrt(5) / 4
"""By what factor splitting shortens segments at least, see :func:`depth_bound`."""


def two_step(problem: Quartic, a: Theta, b: Theta) -> Curve:
    """The draft's first path (9)–(10), straight pieces: w₂ until it serves both w₁, then w₁, then w₂.

    Its loss is constant between minimisers, and at most the ends' larger one between any two models (P,). Where w₁ᴬ and
    w₁ᴮ are parallel, as in θ and −θ, no w₂ serves both: the path visits a third w₁, orthogonal to w₁ᴬ.

    Raises:
        InvalidSetting: d₂ = 1.

    >>> toy = Quartic(width=3)
    >>> curve = two_step(toy, toy.ends[0], -toy.ends[0])
    >>> len(curve.pieces), curve.bound
    (5, 0.0)
    """
    bound = _larger_loss(problem, a, b)
    if problem.width == 1:
        raise InvalidSetting("two_step: d2 = 1 leaves no room beside w1; give a problem of width 2 or more")
    (w1, w2), (v1, v2) = problem.parts(a), problem.parts(b)
    stops = [(w1, w1 @ w2), (v1, v1 @ v2)]
    sizes = float(w1.norm() * v1.norm())
    unit = _unit(w1)
    if sizes > 0 and float((v1 - (v1 @ unit) * unit).norm()) < DETOUR * float(v1.norm()):
        stops.insert(1, (math.sqrt(sizes) * _beside(unit), w1 @ w2))
    corners = [a]
    for (here, product), (there, wanted) in pairwise(stops):
        rows = torch.stack([here, there])
        w2 = w2 + torch.linalg.pinv(rows) @ (torch.stack([product, wanted]) - rows @ w2)
        corners += [join(here, w2), join(there, w2)]
    return chain([*corners, b], bound)


def rotation(problem: Quartic, a: Theta, b: Theta) -> Curve:
    """The draft's second path (11)–(12): (w₁ e^{tg}, e^{−tg} w₂), e^g turning and scaling w₁ᴬ to w₁ᴮ; then w₂.

    Its loss is constant between minimisers, and at most the ends' larger one between any two models (P,). Opposite w₁
    are half a turn apart, in any plane.

    Raises:
        InvalidSetting: a w₁ is 0, or d₂ = 1 and the two have opposite signs.

    >>> toy = Quartic(width=2)
    >>> (rotation(toy, toy.ends[0], -toy.ends[0]).at(0.25) + 1).round(decimals=9)  # a quarter turn
    tensor([1., 2., 1., 2.], dtype=torch.float64)
    """
    bound = _larger_loss(problem, a, b)
    (w1, w2), (v1, _) = problem.parts(a), problem.parts(b)
    if not w1.any() or not v1.any():
        raise InvalidSetting("rotation: w1 = 0 at an end has no direction to turn; use two_step")
    if problem.width == 1 and w1[0] * v1[0] < 0:
        raise InvalidSetting("rotation: d2 = 1 and w1 of opposite signs: these ends are separated by w1 = 0")
    u = _unit(w1)
    across = v1 - (v1 @ u) * u
    angle = math.atan2(float(across.norm()), float(v1 @ u))
    # Of parallel vectors the remainder is rounding, any plane will do; of nearly parallel ones a part of it is.
    v = across if float(across.norm()) > 1e-14 * float(v1.norm()) else _beside(u)
    v = _unit(_unit(v) - (_unit(v) @ u) * u)
    ratio = float(v1.norm() / w1.norm())
    plane, turned = torch.outer(u, u) + torch.outer(v, v), torch.outer(u, v) - torch.outer(v, u)

    def turn(s: float) -> Theta:
        turning = torch.eye(len(u)).to(u) + (math.cos(s * angle) - 1) * plane + math.sin(s * angle) * turned
        return join(ratio**s * (w1 @ turning), turning.T @ w2 / ratio**s)

    return Curve((turn, straight(turn(1.0), b)), bound)


def hyperplane_crossing(problem: Quartic, a: Theta, b: Theta, level: float | None = None, seed: int = 0) -> Theta:
    """A model (P,) of loss at most ``level`` at equal distance from a and b, by descent on that hyperplane.

    It starts at the midpoint; where that fails, as between θ and −θ, whose midpoint is stationary, beside it.

    Args:
        problem: the loss.
        a: one minimiser (P,).
        b: the other.
        level: the loss to reach; by default 0 up to rounding: eps^1.5 of the dtype, times ‖a*‖² above 1.
        seed: of the starts beside the midpoint.

    Raises:
        LevelNotReached: no descent came so low; for d₂ = 1 and opposite w₁ there is no such model.

    >>> toy = Quartic(width=3)
    >>> bead = hyperplane_crossing(toy, toy.ends[0], -toy.ends[0])
    >>> toy.measure(bead[None])["loss"].item() < 1e-20
    True
    """
    return _crossings(problem, [(a, b)], level, seed)[0]


def split_segments(problem: Quartic, a: Theta, b: Theta, depth: int, seed: int = 0) -> WeightString:
    """The string of 2^depth segments that recursive splitting by :func:`hyperplane_crossing` gives.

    Raises:
        LevelNotReached: see :func:`hyperplane_crossing`.
    """
    beads = [a, b]
    for _ in range(depth):
        middles = _crossings(problem, list(pairwise(beads)), None, seed)
        beads = [bead for both in zip(beads, [*middles, b], strict=True) for bead in both][:-1]
    return WeightString(problem, torch.stack(beads))


def segment_bound(length: float, level: float, scale: float = 1.0) -> float:
    """No less than γ on a segment of length ℓ whose ends have loss at most L₀: (√L₀ + ξ ℓ²/8)².

    The excess over L₀ falls like ℓ² for L₀ > 0, and like ℓ⁴ for L₀ = 0.

    >>> segment_bound(2.0, level=0.0), segment_bound(2.0, level=1.0)
    (0.25, 2.25)
    """
    return (math.sqrt(level) + scale * length**2 / 8) ** 2


def depth_bound(problem: Quartic, a: Theta, b: Theta, depth: int) -> float:
    """The bound that the draft leaves open: max γ on the string of :func:`split_segments` between minimisers.

        ε(d) = ξ² ℓ⁴/64 · (25/256)^d   if ℓ = ‖b − a‖ ≤ μ/4, μ = ‖w₁ᴬ + w₁ᴮ‖/2;   inf otherwise.

    There every descent from a midpoint reaches loss 0, and segments shrink by √5/4 at least.

    Raises:
        InvalidSetting: an end that is no minimiser, or a negative depth.

    >>> toy = Quartic(width=2)
    >>> a, b = (minimiser(torch.tensor([1.0, w]).double(), torch.ones(1).double()) for w in (0.0, 0.1))
    >>> f"{depth_bound(toy, a, b, 0):.1e} {depth_bound(toy, a, b, 3):.1e}"
    '6.2e-06 5.8e-09'
    """
    if depth < 0 or _larger_loss(problem, a, b) > _zero(problem):
        raise InvalidSetting(f"depth_bound(depth={depth}): give two minimisers and a depth of 0 or more")
    length, room = float((b - a).norm()), float((a + b)[: problem.width].norm()) / 2
    return segment_bound(length * SHRINKS**depth, _zero(problem), problem.scale) if length <= room / 4 else math.inf


def _crossings(problem: Quartic, pairs: Sequence[tuple[Theta, Theta]], level: float | None, seed: int) -> list[Theta]:
    aim = _zero(problem) if level is None else level
    # 3/2: the ball that holds the descent from the midpoint, in which this rate never climbs.
    curvature = problem.hessian_bound(1.5 * max(float(end.norm()) for pair in pairs for end in pair))
    recipe = Recipe("sgd", {"lr": 1 / curvature}, check_every=20, patience=10, max_steps=20_000)
    lowest: dict[int, Descended] = {}
    for attempt in range(ATTEMPTS):
        waiting = [i for i in range(len(pairs)) if i not in lowest or lowest[i].status != "reached"]
        starts = [_start(*pairs[i], aim, attempt, seed) for i in waiting]
        descents = descend(problem, lambda t: problem.measure(t)["loss"], starts, seed=seed, recipe=recipe)
        for i, descended in zip(waiting, descents, strict=True):
            lowest[i] = min(lowest.get(i, descended), descended, key=lambda one: one.value)
    worst = max(lowest.values(), key=lambda one: one.value)
    if worst.value > aim:
        raise LevelNotReached(
            f"hyperplane_crossing: {ATTEMPTS} descents came to loss {worst.value:.3g}, not to {aim:.3g}; "
            "raise the level (for d2 = 1 and opposite w1 there is no such model)",
            worst.theta,
            worst.value,
        )
    return [lowest[i].theta for i in range(len(pairs))]


def _start(a: Theta, b: Theta, aim: float, attempt: int, seed: int) -> Start:
    place = f"crossing/{attempt}"
    beside = torch.randn(len(a), generator=generator(seed, place), dtype=torch.float64).to(a)
    theta = (a + b) / 2 + attempt * float((b - a).norm()) / (8 * math.sqrt(len(a))) * beside
    return Start(theta, aim, aim, place, tether=Tether(Hyperplane(), a, b))


def _larger_loss(problem: Quartic, a: Theta, b: Theta) -> float:
    return max(float(problem.measure(end[None])["loss"]) for end in (a, b))


def _beside(unit: Float[Tensor, " d2"]) -> Float[Tensor, " d2"]:
    """A unit vector orthogonal to one; 0 where there is none."""
    axis = torch.zeros_like(unit)
    axis[unit.abs().argmin()] = 1.0
    across = axis - (axis @ unit) * unit
    return _unit(across) if len(unit) > 1 else torch.zeros_like(unit)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm() if vector.any() else vector


def _zero(problem: Quartic) -> float:
    """A loss that is 0 up to rounding."""
    return float(torch.finfo(problem.dtype).eps ** 1.5 * max(1.0, sum(t * t for t in problem.target)))
