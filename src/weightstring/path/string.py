"""The string of beads (Section II.B) and what is measured on it: lengths, barriers, Γ̃ (4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from weightstring.arrays import Theta, Thetas, Values
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path.maximum import GRID, MAX_PEAKS, Maximum, Samples, locate
from weightstring.path.objective import Objective, check_theta
from weightstring.path.segment import Segment, clearly_over, grid, rows_at_once
from weightstring.protocol import Along, LossProblem

BARRIERS = ("max", "over_ends", "over_mean", "over_linear")


@dataclass(frozen=True)
class StringCurve:
    """Every quantity along a string, sampled: S points in order, each bead once.

    Args:
        s: arc length from the first end, as a share of the whole, S values.
        segment: which segment each point lies on.
        t: its position there.
        values: S values of each quantity, by name.
    """

    s: tuple[float, ...]
    segment: tuple[int, ...]
    t: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]


Heights = Mapping[float, float]
"""The heights known on one segment, by t."""


@dataclass(frozen=True)
class SearchSamples:
    """What a search, a proof or anything else saw of a string, so that the string's curve cannot contradict it.

    Args:
        names: the quantities whose largest the heights are.
        heights: for each segment, the heights at its ends and peaks, by t.
        threshold: what the string was held to; None: nothing.
    """

    names: tuple[str, ...]
    heights: tuple[Heights, ...]
    threshold: float | None = None


class WeightString:
    """A path of straight segments through beads θ_1 … θ_n, its ends included.

    Args:
        problem: the loss that is measured on it; None for a string read from disk without one, which
            then answers from its recorded curve.
        beads: the models in order, (n, P) or n tensors (P,), n ≥ 2.
        curve: the recorded curve, where there is one.
        seen: what a search saw of it, where one found it.

    Raises:
        InvalidCheckpoint: fewer than two beads, or beads that are not the problem's.

    A string is not a proof: ``max_loss`` and the barriers are *sampled*, lower bounds of the true ones.
    """

    evidence = "sampled"

    def __init__(
        self,
        problem: LossProblem | None,
        beads: Thetas | Sequence[Theta],
        curve: StringCurve | None = None,
        seen: SearchSamples | None = None,
    ) -> None:
        if not isinstance(beads, torch.Tensor | list | tuple):
            raise InvalidCheckpoint(f"beads are a {type(beads).__name__}: pass torch.stack([...]) of shape (n, P)")
        if len(beads) < 2 or (isinstance(beads, torch.Tensor) and beads.ndim != 2):
            shape = tuple(beads.shape) if isinstance(beads, torch.Tensor) else f"{len(beads)} of them"
            raise InvalidCheckpoint(f"a string needs beads of shape (n, P) with n >= 2, not {shape}")
        if problem is not None:
            for i, theta in enumerate(beads):
                check_theta(problem, theta, f"bead {i}")
        self.problem = problem
        self._beads = beads
        self._curve = curve
        self._seen = seen

    @property
    def beads(self) -> Thetas:
        """The models in order (n, P)."""
        return self._beads if isinstance(self._beads, torch.Tensor) else torch.stack(list(self._beads))

    def __len__(self) -> int:
        return len(self._beads)

    def __getitem__(self, index: int) -> Theta:
        return self._beads[index]

    def __iter__(self) -> Iterator[Theta]:
        return iter(self._beads)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The n − 1 segments between neighbours."""
        return tuple(Segment(a, b) for a, b in zip(self._beads[:-1], self._beads[1:], strict=True))

    @property
    def length(self) -> float:
        """Σ‖θ_{i+1} − θ_i‖ over all parameters."""
        return math.fsum(segment.length for segment in self.segments)

    @property
    def distance(self) -> float:
        """‖θ_n − θ_1‖, the length of the straight line between the ends."""
        return Segment(self._beads[0], self._beads[-1]).length

    @property
    def normalized_length(self) -> float:
        """Length over distance: 1 for a straight string, also when both are 0."""
        if len(self) == 2 or self.length == 0:
            return 1.0
        return self.length / self.distance if self.distance > 0 else math.inf

    def at(self, s: float) -> Theta:
        """The model (P,) at share ``s`` ∈ [0, 1] of the arc length.

        Raises:
            InvalidSetting: ``s`` outside [0, 1].
        """
        index, t = self.place(s)
        return self.segments[index].point(t)

    def place(self, s: float) -> tuple[int, float]:
        """The segment and the t on it at share ``s`` ∈ [0, 1] of the arc length.

        Raises:
            InvalidSetting: ``s`` outside [0, 1].

        >>> WeightString(None, torch.tensor([[0.0], [1.0], [4.0]])).place(0.5)
        (1, 0.3333333333333333)
        """
        if not 0 <= s <= 1:
            raise InvalidSetting(f"s={s} is not on the string: it runs from 0 to 1")
        remaining = s * self.length
        for index, segment in enumerate(self.segments if s < 1 else ()):
            if remaining <= segment.length and segment.length > 0:
                return index, remaining / segment.length
            remaining -= segment.length
        return (0, 0.0) if s < 1 and self.length == 0 else (len(self) - 2, 1.0)

    @property
    def curve(self) -> StringCurve:
        """All quantities along the string, measured when first asked for."""
        return self._curve or self.measure()

    def measure(self, on_chunk: Callable[[], None] = lambda: None) -> StringCurve:
        """Measure every quantity along the string: on a grid on each segment and at its peaks.

        The peaks are those that a search saw; without one, those of the evaluation loss are located. A problem
        with ``curve_quantities`` has only those measured, and what the search held the string to.

        Args:
            on_chunk: called after every batch of measurements; it may raise.

        Raises:
            InvalidSetting: the string was read from disk without a problem.
        """
        problem = self._required_problem()
        known = self._points
        wanted = [{*grid(GRID), *heights} for heights in self._looked_at(problem, on_chunk)]
        for segment, t in known:
            wanted[segment].add(t)
        points = [(i, t) for i, ts in enumerate(wanted) for t in sorted(ts) if t > 0 or i == 0]
        self._curve = self._measure_all(points, known, on_chunk)
        return self._curve

    def heights(self, names: Sequence[str]) -> tuple[dict[float, float], ...]:
        """What is known so far of the larger of the named quantities on each segment, by t; nothing is measured."""
        found: list[dict[float, float]] = [{} for _ in range(len(self) - 1)]
        for (segment, t), values in self._points.items():
            if all(name in values for name in names):
                height = max(_finite([values[name] for name in names]))
                found[segment][t] = height
                if t == 1 and segment + 1 < len(found):
                    found[segment + 1][0.0] = height
        if self._seen is not None and set(self._seen.names) == set(names):
            for known, seen in zip(found, self._seen.heights, strict=True):
                known |= seen
        return tuple(found)

    def also_seen(self, seen: SearchSamples) -> WeightString:
        """The same string with more known of it, at which its curve will be measured too."""
        assert self._seen is None or set(self._seen.names) == set(seen.names)
        heights = zip(self.heights(seen.names), seen.heights, strict=True)
        merged = SearchSamples(seen.names, tuple({**more, **known} for known, more in heights), seen.threshold)
        again = WeightString(None, self._beads, self._curve, merged)
        again.problem = self.problem
        return again

    @property
    def _points(self) -> dict[tuple[int, float], dict[str, float]]:
        """The points of the curve that was measured, with all that was measured there."""
        curve = self._curve
        if curve is None:
            return {}
        columns = zip(*curve.values.values(), strict=True)
        rows = zip(curve.segment, curve.t, columns, strict=True)
        return {(segment, t): dict(zip(curve.values, row, strict=True)) for segment, t, row in rows}

    def _looked_at(self, problem: LossProblem, on_chunk: Callable[[], None]) -> Sequence[Heights]:
        if self._seen is not None:
            return self._seen.heights
        return [{} for _ in range(len(self) - 1)] if self._curve is not None else self._locate(problem, on_chunk)

    def _locate(self, problem: LossProblem, on_chunk: Callable[[], None]) -> list[Mapping[float, float]]:
        samples = [Samples(segment) for segment in self.segments]
        locate(Objective(problem), samples, on_chunk)
        return [dict(s.peaks()[:MAX_PEAKS]) for s in samples]

    def _required_problem(self) -> LossProblem:
        if self.problem is None:
            raise InvalidSetting("this string has no problem to measure: give one, ws.load(run, problem=problem)")
        return self.problem

    def _measure_all(
        self,
        points: list[tuple[int, float]],
        known: Mapping[tuple[int, float], Mapping[str, float]],
        on_chunk: Callable[[], None],
    ) -> StringCurve:
        problem, segments = self._required_problem(), self.segments
        held = () if self._seen is None else self._seen.names
        shown: Sequence[str] = getattr(problem, "curve_quantities", problem.quantities)
        names = [name for name in problem.quantities if name in shown or name in held]
        found = {at: row for at, row in known.items() if row.keys() >= set(names)}
        for chunk in self._chunks([at for at in points if at not in found]):
            columns = {name: measured.tolist() for name, measured in self._measure_chunk(chunk, names).items()}
            found |= {at: {name: columns[name][row] for name in names} for row, at in enumerate(chunk)}
            on_chunk()
        values = {name: [found[at][name] for at in points] for name in names}
        if self._seen is not None:
            self._reconcile(points, values, self._seen)
        lengths = [segment.length for segment in segments]
        total = math.fsum(lengths)
        before = [math.fsum(lengths[:i]) for i in range(len(lengths))]
        # Identical ends have no arc length: let the points run from 0 to 1 by segment instead.
        share = [(before[i] + t * lengths[i]) / total if total > 0 else (i + t) / len(lengths) for i, t in points]
        return StringCurve(
            tuple(share),
            tuple(i for i, _ in points),
            tuple(t for _, t in points),
            {name: tuple(v) for name, v in values.items()},
        )

    def _reconcile(
        self, points: Sequence[tuple[int, float]], values: dict[str, list[float]], seen: SearchSamples
    ) -> None:
        """The same models, but other batches: rounding must not put one over the threshold that it was held to."""
        if len(seen.names) == 1:
            (name,) = seen.names
            values[name] = [seen.heights[i].get(t, value) for (i, t), value in zip(points, values[name], strict=True)]
        level, dtype = seen.threshold, self[0].dtype
        for name in seen.names if level is not None else ():
            assert level is not None
            values[name] = [
                level if value > level and not clearly_over(value, level, dtype) else value for value in values[name]
            ]

    def _chunks(self, points: Sequence[tuple[int, float]]) -> Iterator[Sequence[tuple[int, float]]]:
        """Points that are measured together: beads, or inner points of one segment, or as many as memory holds."""
        shared = isinstance(self.problem, Along) and self.problem.shares_along
        kinds = groupby(points, key=lambda point: (point[0], point[1] in (0, 1)) if shared else None)
        rows = rows_at_once(self._beads[0])
        for _, group in kinds:
            whole = list(group)
            yield from (whole[start : start + rows] for start in range(0, len(whole), rows))

    def _measure_chunk(self, points: Sequence[tuple[int, float]], names: Sequence[str]) -> dict[str, Values]:
        problem, segment = self._required_problem(), Segment(*self._beads[points[0][0] : points[0][0] + 2])
        ts = [t for _, t in points]
        if isinstance(problem, Along) and problem.shares_along and not {0, 1} & set(ts):
            return problem.measure_along(segment.a, segment.b, torch.tensor(ts, dtype=torch.float64), names)
        thetas = torch.stack([Segment(*self._beads[i : i + 2]).point(t) for i, t in points])
        return problem.measure(thetas, names)

    @property
    def max_loss(self) -> float:
        """The largest *sampled* evaluation loss: Γ̃ of equation (4), as far as samples can tell."""
        return max(_finite(self.curve.values["loss"]))

    def barrier(self, name: str, quantity: str = "loss") -> float:
        """One of the four barriers in use, of the sampled evaluation loss (or another quantity).

        ``max``: the highest loss. ``over_ends``: max − max(end losses). ``over_mean``: max − mean(end
        losses) (Frankle 2020, Ainsworth 2022). ``over_linear``: the largest excess over the linear
        interpolation of the end losses along the arc length (Entezari 2021).

        Raises:
            InvalidSetting: an unknown name or quantity.
        """
        if name not in BARRIERS or quantity not in self.curve.values:
            known = f"{', '.join(BARRIERS)} of {', '.join(self.curve.values)}"
            raise InvalidSetting(f"no barrier {name!r} of {quantity!r}: choose {known}")
        values = _finite(self.curve.values[quantity])
        first, last, top = values[0], values[-1], max(values)
        if name == "max":
            return top
        if name == "over_ends":
            return top - max(first, last)
        if name == "over_mean":
            return top - (first + last) / 2
        return max(v - ((1 - s) * first + s * last) for s, v in zip(self.curve.s, values, strict=True))

    def segment_maximum(self, index: int, names: tuple[str, ...] = ("loss",)) -> Maximum:
        """The largest sample on one segment of the larger of the named quantities, and its t."""
        curve = self.curve
        samples = []
        for at, (segment, t) in enumerate(zip(curve.segment, curve.t, strict=True)):
            if segment == index or (segment == index - 1 and t == 1):
                value = max(_finite([curve.values[name][at] for name in names]))
                samples.append(Maximum(t if segment == index else 0.0, value))
        return max(samples, key=lambda sample: sample.value)


def _finite(values: tuple[float, ...] | list[float]) -> list[float]:
    """NaN counts as +inf: a loss that is not a number is under no threshold."""
    return [v if math.isfinite(v) else math.inf for v in values]
