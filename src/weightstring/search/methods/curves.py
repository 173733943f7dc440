"""Curves fitted between two models, as strategies on the same problem, engine and stopping rules.

Source: T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", 2018, arXiv:1802.10026.

The ends stay; the control points between them follow the gradient of the loss at a random point of the curve, t
uniform in [0, 1]. The polygonal chain is a string itself; the Bézier curve is inscribed with one, and it is the
string that is measured and held to the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from weightstring.arrays import Moving, Thetas, finite_or_none
from weightstring.descent import Evolution, Evolved, Look, Motion
from weightstring.errors import InvalidSetting
from weightstring.path import Evidence, Reason, Segment
from weightstring.protocol import Gradient
from weightstring.search import pruning
from weightstring.search.chain import Bead, Chain, Link, is_string
from weightstring.search.jobs import Evolve, Job, Measured, Result
from weightstring.search.pruning import Pruning
from weightstring.search.strategy import Task, require_numbers

MOST = 1000
"""Bends or beads of a curve: more is a mistake, and would fill the memory."""


@dataclass(frozen=True)
class Fitted:
    """How control points follow the gradients at points of their curve.

    Args:
        points: inner points of the curve that are returned, equally spaced in t; 0: the control points are the beads.
        samples: points t at which gradients are taken, each step.
        bezier: a Bézier curve through Bernstein weights; else a polygonal chain through hat functions.
    """

    points: int
    samples: int
    bezier: bool

    @property
    def phases(self) -> int:
        """All control points move at once."""
        return 1

    def beads(self, models: int) -> int:
        """The curve's points and the ends, or the control points."""
        return self.points + 2 if self.points else models

    def cost(self, moving: Sequence[int]) -> int:
        """One for each point at which they are taken."""
        return self.samples

    def look(self, thetas: Thetas, moving: Sequence[int], random: torch.Generator) -> Look:
        """At random points of the curve."""
        weights = self.weights(len(thetas), torch.rand(self.samples, generator=random, dtype=torch.float64))
        weights = weights.to(thetas)
        return Look(weights @ thetas, weights[:, list(moving)])

    def direct(self, thetas: Thetas, moving: Sequence[int], look: Look, gradient: Gradient) -> Moving:
        """The chain rule: each control point's share of the mean loss's gradient."""
        assert look.shares is not None
        return look.shares.T @ gradient.gradients / len(gradient.gradients)

    def step(self, before: Thetas, after: Moving, moving: Sequence[int], seen: Gradient) -> Moving:
        """Where the optimizer went."""
        return after

    def place(self, before: Thetas, after: Moving, moving: Sequence[int]) -> Moving:
        """Where they are."""
        return after

    def probes(self, thetas: Thetas) -> Tensor:
        """The beads that the curve is inscribed with, the ends left out."""
        ts = torch.linspace(0, 1, self.points + 2, dtype=torch.float64)[1:-1]
        return self.weights(len(thetas), ts).to(thetas) @ thetas

    def weights(self, controls: int, ts: Tensor) -> Tensor:
        """What each control point contributes to the curve at ``ts``: (T, controls), rows of sum 1."""
        degree = controls - 1
        if not self.bezier:
            return (1 - (ts[:, None] * degree - torch.arange(controls)).abs()).clamp(min=0)
        binomials = torch.tensor([math.comb(degree, k) for k in range(controls)], dtype=ts.dtype)
        powers = torch.arange(controls)
        return binomials * ts[:, None] ** powers * (1 - ts[:, None]) ** (degree - powers)


@dataclass(frozen=True)
class CurveState:
    """A curve that is being fitted.

    Args:
        task: what is asked.
        controls: the control points, the ends included; just the ends before the straight segment was measured.
        chain: the string that is measured.
        best: the one with the lowest maximum so far.
        maxima: the largest sample after each round of fitting, the straight segment's first.
        opened: how many segments were over the threshold then.
        pruned: the finished string while it loses its superfluous beads.
    """

    task: Task
    controls: tuple[Tensor, ...]
    chain: Chain
    best: Chain | None = None
    maxima: tuple[float, ...] = ()
    opened: tuple[int, ...] = ()
    pruned: Pruning | None = None


@dataclass(frozen=True)
class PolyChain:
    """A polygonal chain with trained bends.

    Args:
        bends: control points between the ends.
        samples: points of the curve at which each step takes gradients.
        steps: of one round, after which the string is measured; the optimizer starts afresh then.
        patience: rounds over which the string's maximum must fall by
        fall: this share, or the curve is stalled.
        rounds: at most; then it counts as stalled too.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> PolyChain(bends=3).steps
    400
    """

    bends: int = 1
    samples: int = 1
    steps: int = 400
    patience: int = 4
    fall: float = 0.01
    rounds: int = 50

    def __post_init__(self) -> None:
        require_numbers(self, ("bends", "samples", "steps", "patience", "rounds", "fall"))
        if self.bends > MOST:
            raise InvalidSetting(f"{type(self).__name__}(bends={self.bends}): at most {MOST}")
        for name in ("bends", "samples", "steps", "patience", "rounds"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{type(self).__name__}({name}={getattr(self, name)}): must be at least 1")
        if not 0 < self.fall < 1:
            raise InvalidSetting(f"{type(self).__name__}(fall={self.fall}): give a share in (0, 1)")

    def _motion(self, state: CurveState) -> Motion:
        return Fitted(0, self.samples, bezier=False)

    def start(self, task: Task) -> CurveState:
        """The straight segment."""
        return CurveState(task, tuple(end.theta for end in task.ends), (Link(*task.ends),))

    def propose(self, state: CurveState) -> tuple[Job, ...]:
        """Measure the string, or fit the curve."""
        if self.failure(state):
            return ()
        if state.pruned is not None:
            return pruning.propose(state.pruned)
        unmeasured = [link for link in state.chain if link.measured is None]
        if unmeasured:
            return tuple(link.measure(state.task.threshold) for link in unmeasured)
        controls = torch.stack(self._controls(state))
        moving = tuple(range(1, len(controls) - 1))
        limit = state.task.threshold
        evolution = Evolution(self._name(state), controls, moving, self._motion(state), -math.inf, limit, self.steps)
        return (Evolve(evolution),)

    def absorb(self, state: CurveState, results: Mapping[str, Result]) -> CurveState:
        """The curve after a round of fitting, or what its string measures."""
        if state.pruned is not None:
            return replace(state, pruned=pruning.absorb(state.pruned, results))
        fitted = results.get(self._name(state))
        if isinstance(fitted, Evolved):
            return self._fitted(state, fitted)
        links = []
        for link in state.chain:
            result = results.get(link.name)
            links.append(replace(link, measured=result) if isinstance(result, Measured) else link)
        chain, top = tuple(links), max(link.height for link in links)
        opened = (*state.opened, sum(link.open for link in links))
        best = chain if state.best is None or top < min(state.maxima) else state.best
        state = replace(state, chain=chain, best=best, maxima=(*state.maxima, top), opened=opened)
        return replace(state, pruned=Pruning(chain, state.task.threshold, {})) if is_string(chain) else state

    def failure(self, state: CurveState) -> Reason | None:
        """``stalled`` once the string's maximum has stopped falling."""
        if state.pruned is not None or any(link.measured is None for link in state.chain):
            return None
        fitted = state.maxima[1:]  # the straight segment says nothing about how fitting gets on
        if len(fitted) >= self.rounds:
            return "stalled"
        if len(fitted) <= self.patience:
            return None
        then, now = min(fitted[: -self.patience]), min(fitted)
        return "stalled" if now > then - self.fall * abs(then) else None

    def level(self, state: CurveState) -> float:
        """The threshold."""
        return state.task.threshold

    def chain(self, state: CurveState) -> Chain:
        """The string as it stands."""
        return state.chain if state.pruned is None else state.pruned.chain

    def best(self, state: CurveState) -> Chain:
        """The string with the lowest maximum there was."""
        return self.chain(state) if state.pruned is not None or state.best is None else state.best

    def evidence(self, state: CurveState) -> Evidence:
        """The highest segment of the best string, and the string's maximum round by round."""
        chain = self.best(state)
        worst = max(range(len(chain)), key=lambda i: (chain[i].open, not chain[i].measured, chain[i].height))
        return Evidence(
            segment=(worst, worst + 1),
            end_losses=(chain[worst].left.value, chain[worst].right.value),
            max_per_depth=tuple(map(finite_or_none, state.maxima)),
            open_per_depth=state.opened,
            retries=0,
            lowest_loss=None,
        )

    def _name(self, state: CurveState) -> str:
        return f"fit/{len(state.maxima)}"

    def _controls(self, state: CurveState) -> list[Tensor]:
        """The control points; at first equally spaced on the straight segment."""
        if len(state.controls) > 2:
            return list(state.controls)
        segment = Segment(*state.controls)
        return [segment.point(k / (self.bends + 1)) for k in range(self.bends + 2)]

    def _fitted(self, state: CurveState, fitted: Evolved) -> CurveState:
        """The new control points, and the string through the curve's beads."""
        first, last = state.task.ends
        moved = len(fitted.statuses)
        controls = (first.theta, *fitted.thetas[:moved], last.theta)
        skipped = moved if len(fitted.thetas) > moved else 0  # what comes after them are the curve's own points
        inner = [
            Bead(f"{len(state.maxima)}.{k}", theta, value)
            for k, (theta, value) in enumerate(zip(fitted.thetas[skipped:], fitted.values[skipped:], strict=True))
        ]
        depth = len(state.maxima)  # rounds of fitting: each makes the string anew
        links = tuple(Link(left, right, depth) for left, right in pairwise([first, *inner, last]))
        return replace(state, controls=controls, chain=links)


@dataclass(frozen=True)
class Bezier(PolyChain):
    """A Bézier curve with trained control points, inscribed with a string.

    Args:
        points: inner beads of the string, equally spaced in t.

    The other settings are those of :class:`PolyChain`; ``bends`` = 1 is a quadratic curve.

    Raises:
        InvalidSetting: a setting is out of range.

    >>> Bezier().points
    9
    """

    points: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, ("points",))
        if not 1 <= self.points <= MOST:
            raise InvalidSetting(f"Bezier(points={self.points}): must be at least 1, and at most {MOST}")

    def _motion(self, state: CurveState) -> Motion:
        return Fitted(self.points, self.samples, bezier=True)
