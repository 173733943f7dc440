"""The string of beads (Section II.B) and what is measured on it: lengths, barriers, Γ̃ (4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from operator import itemgetter

import torch

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.notebook import Viewable
from weightstring.path.adaptive import FIRST
from weightstring.path.extent import Extent
from weightstring.path.maximum import GRID, MAX_PEAKS, Maximum, Samples, locate
from weightstring.path.objective import Objective, check_theta
from weightstring.path.segment import Segment, grid
from weightstring.path.string_curve import Heights, Point, SearchSamples, StringCurve, held, measure_curve
from weightstring.problem import Entry, Laid
from weightstring.protocol import LossProblem


class WeightString(Viewable):
    """A path of straight segments through beads θ_1 … θ_n, its ends included.

    Args:
        problem: the loss that is measured on it; None for a string read from disk without one, which
            then answers from its recorded curve.
        beads: the models in order, (n, P) or n tensors (P,), n ≥ 2.
        curve: the recorded curve, where there is one.
        seen: what a search saw of it, where one found it.
        parameters: where each parameter lies in θ, where there is no problem to ask.
        extent: its lengths, where they are known.

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
        parameters: Sequence[Entry] = (),
        extent: Extent | None = None,
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
        self._extent = extent
        self._parameters = problem.layout.entries if isinstance(problem, Laid) else tuple(parameters)

    def __str__(self) -> str:
        beads, size = len(self), self[0].numel()
        return f"a string of {beads} beads of {size} parameters, normalized length {self.normalized_length:.4f}"

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

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The n − 1 segments between neighbours."""
        return tuple(Segment(a, b) for a, b in zip(self._beads[:-1], self._beads[1:], strict=True))

    @cached_property
    def extent(self) -> Extent:
        """The lengths of its segments, and the distance of its ends; its models are read where they are not known."""
        return self._extent or Extent.of(self._beads)

    @property
    def length(self) -> float:
        """Σ‖θ_{i+1} − θ_i‖ over all parameters."""
        return self.extent.length

    @property
    def distance(self) -> float:
        """‖θ_n − θ_1‖, the length of the straight line between the ends."""
        return self.extent.distance

    @property
    def normalized_length(self) -> float:
        """Length over distance: 1 for a straight string, also when both are 0."""
        return self.extent.normalized

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
        for index, length in enumerate(self.extent.segments if s < 1 else ()):
            if remaining <= length and length > 0:
                return index, remaining / length
            remaining -= length
        return (0, 0.0) if s < 1 and self.length == 0 else (len(self) - 2, 1.0)

    @property
    def curve(self) -> StringCurve:
        """All quantities along the string, measured when first asked for."""
        return self._curve or self.measure()

    @property
    def measured(self) -> bool:
        """Whether its curve was measured."""
        return self._curve is not None

    def measure(self, on_chunk: Callable[[], None] = lambda: None, *, without: Sequence[str] = ()) -> StringCurve:
        """Measure every quantity along the string: on a grid on each segment and at its peaks.

        The peaks are those that a search saw; without one, those of the evaluation loss are located. Where a search
        sampled adaptively, its samples serve instead of a grid, and nothing that it saw is measured again. A problem
        with ``curve_quantities`` has only those measured, and what the search held the string to.

        Args:
            on_chunk: called after every batch of measurements; it may raise.
            without: quantities to be left out; measured later, they are added.

        Raises:
            InvalidSetting: the string was read from disk without a problem.
        """
        problem = self._required_problem()
        places = self.places(self._looked_at(problem, on_chunk))
        self._curve = measure_curve(
            problem, self.segments, self.extent.segments, places, self.known, self._seen, on_chunk, without
        )
        return self._curve

    @undisturbed
    def measure_on(self, problem: LossProblem, on_chunk: Callable[[], None] = lambda: None) -> StringCurve:
        """What another problem measures at the points of this string's curve, which stays as it is.

        For new data, metrics or losses, on a string found by any problem with the same parameters: what a search held
        the string to, it was held to on the data of its own problem only.

        Args:
            problem: the other problem. A string without a problem and a curve is measured where ``problem`` would.
            on_chunk: called after every batch of measurements; it may raise.

        Raises:
            InvalidCheckpoint: the other problem's θ has another size or dtype, or other parameters.

        >>> from weightstring.problem.surfaces import Ring, shifted
        >>> ring = Ring()
        >>> string = WeightString(ring, torch.stack(list(ring.ends)))
        >>> curve = string.measure_on(shifted(ring, torch.zeros(2, dtype=torch.float64), lift=1.0))
        >>> curve.t == string.curve.t, round(curve.barrier("max") - string.max_loss, 9)
        (True, 1.0)
        """
        check_same_parameters(self._parameters, problem)
        moved = [theta.to(problem.device) for theta in self._beads]
        other = WeightString(problem, moved, extent=self._extent)
        if self.problem is None and self._curve is None:
            return other.measure(on_chunk)
        points = list(zip(self.curve.segment, self.curve.t, strict=True))
        return measure_curve(problem, other.segments, other.extent.segments, points, {}, None, on_chunk)

    def places(self, looked_at: Sequence[Heights]) -> list[Point]:
        """Where its curve is measured, in order: where it was looked at, and on a grid where little is known of it."""
        known = self.known
        few = bool(known) or (self._seen is not None and bool(self._seen.told))
        wanted = [{0.0, 1.0, *heights} for heights in looked_at]
        for segment, t in known:
            wanted[segment].add(t)
        for ts in wanted:
            if not few or len(ts) <= FIRST:  # of a segment that a look at a part of the data rejected
                ts.update(grid(FIRST if few else GRID))
        return [(i, t) for i, ts in enumerate(wanted) for t in sorted(ts) if t > 0 or i == 0]

    @property
    def known(self) -> dict[Point, Mapping[str, float]]:
        """What is known of it so far, by place and quantity; nothing is measured."""
        told = {} if self._seen is None else self._seen.rows
        return {**told, **(self._curve.points if self._curve is not None else {})}

    def heights(self, names: Sequence[str]) -> tuple[dict[float, float], ...]:
        """What is known so far of the larger of the named quantities on each segment, by t; nothing is measured."""
        heights = [{} for _ in range(len(self) - 1)] if self._curve is None else self._curve.heights(names)
        if self._seen is not None and set(self._seen.names) == set(names):
            for known, seen in zip(heights, self._seen.heights, strict=True):
                known |= seen
        return tuple(heights)

    def maxima(self, names: Sequence[str] = ("loss",)) -> tuple[Maximum, ...]:
        """The largest sample of the larger of the named quantities on each segment, and its t.

        Where a search has sampled these well, its samples are the curve's, and nothing is measured.

        >>> from weightstring.problem.surfaces import Ring
        >>> ring = Ring()
        >>> WeightString(ring, torch.stack(list(ring.ends))).maxima()[0].t
        0.5
        """
        seen = self._seen
        if self._curve is None and seen is not None and seen.covers(names, FIRST):
            held_to = partial(held, level=seen.threshold, dtype=self[0].dtype)
            tops = (max(known.items(), key=itemgetter(1)) for known in self.heights(names))
            return tuple(Maximum(t, held_to(height)) for t, height in tops)
        return tuple(self.curve.segment_maximum(i, names) for i in range(len(self) - 1))

    def also_seen(self, seen: SearchSamples) -> WeightString:
        """The same string with more known of it, at which its curve will be measured too."""
        assert self._seen is None or set(self._seen.names) == set(seen.names)
        heights = zip(self.heights(seen.names), seen.heights, strict=True)
        told = () if self._seen is None else self._seen.told
        merged = SearchSamples(seen.names, tuple({**more, **known} for known, more in heights), seen.threshold, told)
        again = WeightString(None, self._beads, self._curve, merged, self._parameters, self._extent)
        again.problem = self.problem
        return again

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

    @property
    def max_loss(self) -> float:
        """The largest *sampled* evaluation loss: Γ̃ of equation (4), as far as samples can tell."""
        return self.barrier("max")

    def barrier(self, name: str, quantity: str = "loss") -> float:
        """One of the four barriers in use, of the sampled evaluation loss or another quantity.

        See :meth:`weightstring.path.string_curve.StringCurve.barrier`.

        Raises:
            InvalidSetting: an unknown name or quantity.
        """
        return self.curve.barrier(name, quantity)


def check_same_parameters(parameters: Sequence[Entry], problem: LossProblem) -> None:
    """Refuse a problem whose θ holds other parameters, in as far as both are known; a surface's have no names.

    Raises:
        InvalidCheckpoint: the first that differs.

    >>> from weightstring.problem.surfaces import Ring
    >>> check_same_parameters((Entry("weight", (2,), 0),), Ring())  # a formula has no parameters by name
    """
    others = problem.layout.entries if isinstance(problem, Laid) else ()
    if not parameters or not others:
        return
    for number in range(max(len(parameters), len(others))):
        one, other = (_parameter(entries, number) for entries in (parameters, others))
        if one != other:
            raise InvalidCheckpoint(
                f"the string's parameter {number} is {one}, the problem's {other}: "
                "it is measured by problems with the same parameters only"
            )


def _parameter(entries: Sequence[Entry], number: int) -> str:
    return f"{entries[number].name} {tuple(entries[number].shape)}" if number < len(entries) else "missing"
