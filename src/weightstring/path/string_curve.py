"""What is measured along a whole string: every quantity at points in order, its barriers and its maxima."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import torch

from weightstring.arrays import Theta, Values, together
from weightstring.errors import InvalidSetting
from weightstring.path.maximum import Maximum
from weightstring.path.segment import Segment, clearly_over, rows_at_once
from weightstring.protocol import Along, LossProblem

BARRIERS = ("max", "over_ends", "over_mean", "over_linear")
OVER = {
    "over_linear": "the interpolated ends",
    "over_ends": "the higher end",
    "over_mean": "the mean of the ends",
}
"""What a barrier is over, in words; the first is the one that is meant where no other is named."""

Point: TypeAlias = tuple[int, float]
"""A place on a string: the segment, and t on it."""

Heights: TypeAlias = Mapping[float, float]
"""The heights known on one segment, by t."""


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        """What was sampled, and between which values: all numbers would fill screens."""
        spans = [f"{name} {min(column):.4g} to {max(column):.4g}" for name, column in self.values.items()]
        segments = f"{1 + max(self.segment, default=-1)} segment{'s' * (max(self.segment, default=-1) != 0)}"
        return f"<StringCurve: {len(self.s)} samples on {segments}: {', '.join(spans)}>"

    @property
    def points(self) -> dict[Point, dict[str, float]]:
        """All that was measured, by place and quantity."""
        rows = zip(self.segment, self.t, zip(*self.values.values(), strict=True), strict=True)
        return {(segment, t): dict(zip(self.values, row, strict=True)) for segment, t, row in rows}

    def heights(self, names: Sequence[str]) -> list[dict[float, float]]:
        """The larger of the named quantities at all samples of each segment, by t; none where one was not measured."""
        heights: list[dict[float, float]] = [{} for _ in range(max(self.segment) + 1)]
        for (segment, t), values in self.points.items() if set(names) <= self.values.keys() else ():
            heights[segment][t] = larger(values, names)
            if t == 1 and segment + 1 < len(heights):
                heights[segment + 1][0.0] = heights[segment][t]
        return heights

    def barrier(self, name: str, quantity: str = "loss") -> float:
        """One of the four barriers in use, of what was sampled.

        ``max``: the highest loss. ``over_ends``: max − max(end losses). ``over_mean``: max − mean(end losses)
        (Frankle 2020, Ainsworth 2022). ``over_linear``: the largest excess over the linear interpolation of the end
        losses along the arc length (Entezari 2021).

        Raises:
            InvalidSetting: an unknown name or quantity.

        >>> curve = StringCurve((0.0, 0.5, 1.0), (0, 0, 0), (0.0, 0.5, 1.0), {"loss": (1.0, 4.0, 2.0)})
        >>> [curve.barrier(name) for name in BARRIERS]
        [4.0, 2.0, 2.5, 2.5]
        """
        if name not in BARRIERS or quantity not in self.values:
            known = f"{', '.join(BARRIERS)} of {', '.join(self.values)}"
            raise InvalidSetting(f"no barrier {name!r} of {quantity!r}: choose {known}")
        values = [_finite(value) for value in self.values[quantity]]
        first, last, top = values[0], values[-1], max(values)
        if name == "max":
            return top
        if name == "over_ends":
            return top - max(first, last)
        if name == "over_mean":
            return top - (first + last) / 2
        return max(v - ((1 - s) * first + s * last) for s, v in zip(self.s, values, strict=True))

    def segment_maximum(self, index: int, names: Sequence[str] = ("loss",)) -> Maximum:
        """The largest sample on one segment of the larger of the named quantities, and its t."""
        samples = []
        for at, (segment, t) in enumerate(zip(self.segment, self.t, strict=True)):
            if segment == index or (segment == index - 1 and t == 1):
                value = max(_finite(self.values[name][at]) for name in names)
                samples.append(Maximum(t if segment == index else 0.0, value))
        return max(samples, key=lambda sample: sample.value)


@dataclass(frozen=True)
class SearchSamples:
    """What a search, a proof or anything else saw of a string, so that the string's curve cannot contradict it.

    Args:
        names: the quantities whose largest the heights are.
        heights: for each segment, the heights at its ends and peaks, by t.
        threshold: what the string was held to; None: nothing.
        told: for each segment, every quantity that is known on it, by t, where segments were sampled adaptively: its
            samples are the curve's. Empty: the curve has a grid of its own.
    """

    names: tuple[str, ...]
    heights: tuple[Heights, ...]
    threshold: float | None = None
    told: tuple[Mapping[float, Mapping[str, float]], ...] = ()

    @property
    def rows(self) -> dict[Point, Mapping[str, float]]:
        """What is told, by place; a bead has one."""
        places = ((i, t, row) for i, rows in enumerate(self.told) for t, row in rows.items())
        return {(i - 1, 1.0) if t == 0 and i else (i, t): row for i, t, row in places}

    def covers(self, names: Sequence[str], least: int) -> bool:
        """Whether every segment has more samples of the named quantities than so many: then they are the curve's."""
        places = [{0.0, 1.0, *rows} for rows in self.told]  # a bead may be told of on the other side of it
        return bool(places) and set(self.names) == set(names) and all(len(ts) > least for ts in places)


def shown(problem: LossProblem) -> Sequence[str]:
    """The quantities that a finished string's curve has: the problem's ``curve_quantities``, or else all.

    >>> from weightstring.problem.surfaces import Ring
    >>> shown(Ring())
    ('loss',)
    """
    names: Sequence[str] = getattr(problem, "curve_quantities", problem.quantities)
    return names


def measure_curve(
    problem: LossProblem,
    segments: Sequence[Segment],
    lengths: Sequence[float],
    points: Sequence[Point],
    known: Mapping[Point, Mapping[str, float]],
    seen: SearchSamples | None,
    on_chunk: Callable[[], None],
    without: Sequence[str] = (),
) -> StringCurve:
    """Measure a string's curve.

    Args:
        problem: the loss; one with ``curve_quantities`` has only those measured, and what the search held it to.
        segments: of the string.
        lengths: of these.
        points: where, in order.
        known: what was measured before, by place and quantity: that is not measured again.
        seen: what the curve must not contradict.
        on_chunk: called after every batch of measurements; it may raise.
        without: quantities left out, unless the search held the string to them.
    """
    held = () if seen is None else seen.names
    in_curve = shown(problem)
    names = [name for name in problem.quantities if (name in in_curve and name not in without) or name in held]
    rows = {at: dict(known.get(at, {})) for at in points}
    lacking = {at: tuple(name for name in names if name not in row) for at, row in rows.items()}
    for wanted in sorted({*lacking.values()} - {()}):
        places = [at for at in points if lacking[at] == wanted]
        for chunk, measured_there in measured_in_parts(problem, segments, places, wanted):
            for name, measured in measured_there.items():
                for at, value in zip(chunk, measured.tolist(), strict=True):
                    rows[at][name] = value
            on_chunk()
    values = {name: [rows[at][name] for at in points] for name in names}
    if seen is not None:
        _reconcile(points, values, seen, segments[0].a.dtype)
    return StringCurve(
        tuple(_shares(lengths, points)),
        tuple(i for i, _ in points),
        tuple(t for _, t in points),
        {name: tuple(v) for name, v in values.items()},
    )


def measured_in_parts(
    problem: LossProblem, segments: Sequence[Segment], points: Sequence[Point], names: Sequence[str]
) -> Iterator[tuple[Sequence[Point], dict[str, Values]]]:
    """Quantities at points of a string, as many at a time as are measured together."""
    for chunk in _chunks(problem, segments, points):
        yield chunk, _measure(problem, segments, chunk, names)


def _chunks(problem: LossProblem, segments: Sequence[Segment], points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """Points that are measured together: beads, or inner points of one segment, or as many as memory holds."""
    shared = isinstance(problem, Along) and problem.shares_along
    kinds = groupby(points, key=lambda point: (point[0], point[1] in (0, 1)) if shared else None)
    rows = rows_at_once(segments[0].a)
    for _, group in kinds:
        whole = list(group)
        yield from (whole[start : start + rows] for start in range(0, len(whole), rows))


def _measure(
    problem: LossProblem, segments: Sequence[Segment], points: Sequence[Point], names: Sequence[str]
) -> dict[str, Values]:
    segment, ts = segments[points[0][0]], [t for _, t in points]
    if isinstance(problem, Along) and problem.shares_along and not {0, 1} & set(ts):
        return problem.measure_along(segment.a, segment.b, torch.tensor(ts, dtype=torch.float64), names)
    return problem.measure(together([_model(segments[i], t)[None] for i, t in points]), names)


def _model(segment: Segment, t: float) -> Theta:
    """The model at a position; of an end no copy is made."""
    return segment.a if t == 0 else segment.b if t == 1 else segment.point(t)


def _reconcile(
    points: Sequence[Point], values: dict[str, list[float]], seen: SearchSamples, dtype: torch.dtype
) -> None:
    """The same models, but other batches: rounding must not put one over the threshold that it was held to."""
    if len(seen.names) == 1:
        (name,) = seen.names
        values[name] = [seen.heights[i].get(t, value) for (i, t), value in zip(points, values[name], strict=True)]
    for name in seen.names:
        values[name] = [held(value, seen.threshold, dtype) for value in values[name]]


def held(value: float, level: float | None, dtype: torch.dtype) -> float:
    """What a height counts as on a string that was held to a level: that level, where only rounding is over it."""
    return value if level is None or value <= level or clearly_over(value, level, dtype) else level


def _shares(lengths: Sequence[float], points: Sequence[Point]) -> Iterator[float]:
    """Arc length before each point as a share of the whole; by segment where identical ends leave none."""
    total = math.fsum(lengths)
    before = [math.fsum(lengths[:i]) for i in range(len(lengths))]
    for i, t in points:
        yield (before[i] + t * lengths[i]) / total if total > 0 else (i + t) / len(lengths)


def larger(values: Mapping[str, float], names: Sequence[str]) -> float:
    """The largest of the named quantities; +inf where one is not finite."""
    return max(_finite(values[name]) for name in names)


def _finite(value: float) -> float:
    """NaN counts as +inf: a loss that is not a number is under no threshold."""
    return value if math.isfinite(value) else math.inf
