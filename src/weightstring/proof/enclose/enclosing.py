"""From a problem and a string to upper bounds of the loss over whole intervals, in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import Thetas
from weightstring.errors import Unsupported
from weightstring.problem.capabilities import Traceable, certified_inputs
from weightstring.problem.datasets.data import Examples
from weightstring.problem.flat import Layout
from weightstring.proof.enclose.calibrating import Calibrating, Place, place_of
from weightstring.proof.enclose.derived import FromData
from weightstring.proof.enclose.enclosable import enclosable, require_estimable, require_numbers
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.products import Kept, Products
from weightstring.proof.enclose.rules import GROUPED, SMOOTH
from weightstring.proof.enclose.values import Bounds, Logits, Population, Rows, highest
from weightstring.proof.enclose.walking import Stretch, Walk
from weightstring.tracing.program import TRACED, Program
from weightstring.tracing.steps import Step

BLOCK = 2**19
"""Numbers in the largest array of one pass: what stays in a processor's cache."""

ARRAYS = 24
"""Arrays of that size that are alive at once, at most, a pass's temporaries counted."""

LOSSES = 8
"""Numbers kept of each example and interval: what it has in the bounds, and copies of that."""


@dataclass(frozen=True, eq=False)
class Enclosing:
    """The loss of a string, enclosed.

    Args:
        program: what is computed.
        beads: (n, P) the string's beads, float64.
        layout: of θ.
        examples: of the set that is measured.
        blocks: the parts in which the problem takes its mean.
        degree: of the enclosures.
        max_bytes: what one pass may use.
        training: of which running statistics that are functions of θ are taken, and the bounds of its chunks.
    """

    program: Program
    beads: Thetas
    layout: Layout
    examples: Examples
    blocks: Sequence[int]
    degree: int
    max_bytes: int
    training: tuple[Examples, Sequence[int]] | None = None

    @cached_property
    def population(self) -> Population:
        """All examples, as the problem takes its mean of them."""
        return Population(self.examples.targets, self.blocks)

    @cached_property
    def walk(self) -> Walk:
        """The program on enclosures."""
        return Walk(self.program, self.examples, FromData(self.program, self.examples, self.blocks), self.degree)

    @cached_property
    def calibrating(self) -> Calibrating | None:
        """What encloses running statistics; None: they are constants."""
        if self.training is None:
            return None
        examples, chunks = self.training
        walk = Walk(self.program, examples, FromData(self.program, examples, chunks), self.degree)
        return Calibrating(walk, Population(examples.targets, chunks), Kept(self.max_bytes // 6))

    @cached_property
    def order(self) -> Int64[Tensor, " N"]:
        """The examples class by class, so that those of one class lie side by side."""
        targets = self.examples.targets
        if targets.ndim == 1 and not targets.is_floating_point():
            return targets.argsort(stable=True)
        return torch.arange(len(targets), device=targets.device)

    @cached_property
    def kept(self) -> Kept:
        """Products of the inputs with first layers, within a third of the memory."""
        return Kept(self.max_bytes // 3)

    @cached_property
    def width(self) -> int:
        """The size of the largest activation of one example."""
        return self._largest(self.program.per_example)

    def _largest(self, names: Iterable[str]) -> int:
        steps = (step for step in self.program.steps if step.name in names)
        return max((prod(step.shape[1:]) * max(1, step.shape[0] // TRACED) for step in steps), default=1)

    def bounds(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """An upper bound of the loss over each interval."""
        return torch.cat([highest(bounds.nodes) for _, bounds in self.examined(intervals, self.order)])

    def examined(self, intervals: Intervals, order: Int64[Tensor, " n"]) -> Iterator[tuple[Intervals, Bounds]]:
        """What some examples, in a part of :attr:`order`, have in the bounds: intervals that fit into memory."""
        for part in self.parts(intervals.to(self.beads.device), len(order)):
            yield part, Bounds.joined([_bounded(result) for result in self._results(part, order)])

    def parts(self, intervals: Intervals, examples: int) -> list[Intervals]:
        """Intervals few enough for memory: their weights, one example's activations each, and all examples' losses."""
        weights = 8 * self.layout.size * (self.degree + 6)
        each = 4 * (weights + 8 * ARRAYS * self.width + 8 * LOSSES * examples)
        if self.calibrating is not None:
            each = max(each, 8 * ARRAYS * self.width * self.calibrating.largest)
        size = max(1, min(64, self.max_bytes // each))
        return [intervals.take(slice(at, at + size)) for at in range(0, len(intervals), size)]

    def outputs(self, intervals: Intervals) -> Enclosure:
        """What a program that takes no mean returns, of every example (I, N, ...): intervals that fit into memory."""
        parts = [part.settled() if isinstance(part, Logits) else part for part in self._results(intervals, self.order)]
        assert all(isinstance(part, Enclosure) for part in parts), parts
        nodes = tuple(torch.cat([part.nodes[k] for part in parts], 1) for k in range(self.degree + 1))
        radius, size = torch.cat([part.radius for part in parts], 1), torch.stack([part.size for part in parts]).amax(0)
        back = self.order.argsort()
        return Enclosure(nodes, radius, size).each(lambda values: values[:, back])

    def slack(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """How far above the bounds the module's own value in float64 may be printed."""
        return torch.cat([bounds.slack.amax(0) for _, bounds in self.examined(intervals, self.order)])

    def rehearse(self) -> None:
        """Enclose one example on one interval: what has a rule may yet be called in a way that the rule refuses.

        Raises:
            Unsupported: it is.
        """
        zero = torch.zeros(1, dtype=torch.float64, device=self.beads.device)
        interval, rows = Intervals(zero.long(), zero, zero + 1), Rows(self.population, self.order[:1])
        over = self._stretch(interval, self.weights(self.beads[:2]), Products(Kept(0), [0, 1]))
        _bounded(self.walk.result(over, rows))

    def _results(self, intervals: Intervals, order: Tensor) -> Iterator[Any]:
        """What the program returns, for one block of examples after another."""
        # The beads in play, each once and in order; between two of them there may be beads that are not.
        used, local = torch.unique(torch.cat([intervals.segments, intervals.segments + 1]), return_inverse=True)
        inner = Intervals(local[: len(intervals)], intervals.low, intervals.high)
        products = Products(self.kept, used.tolist())
        over = self._stretch(inner, self.weights(self.beads[used]), products, place_of(intervals))
        for rows in self._rows(len(intervals), order):
            yield self.walk.result(over, rows)

    def _stretch(
        self, inner: Intervals, weights: dict[str, Weights], products: Products, place: Place | None = None
    ) -> Stretch:
        """Intervals with running statistics, where these are functions of θ."""
        over = Stretch(inner, weights, products, {})
        if (calibrating := self.calibrating) is None:
            return over
        training = replace(over, products=Products(calibrating.kept, products.beads))
        return replace(over, statistics=calibrating.statistics(place or place_of(inner), training))

    def _rows(self, intervals: int, order: Tensor) -> list[Rows]:
        moving = self._largest(set(self.program.per_example) - set(self.program.of_data))
        by_cache = BLOCK // (moving * intervals)
        by_memory = self.max_bytes // (2 * 8 * ARRAYS * self.width * intervals)
        size = max(1, min(max(by_cache, 32), by_memory))
        return [Rows(self.population, part) for part in torch.split(order, size)]

    def weights(self, beads: Thetas) -> dict[str, Weights]:
        """The parameters at beads (K, P), by the name of the program's input."""
        pieces = torch.split(beads, [entry.size for entry in self.layout.entries], dim=1)
        named = {
            name: Weights(piece.reshape(len(beads), *entry.shape))
            for entry, piece in zip(self.layout.entries, pieces, strict=True)
            for name in entry.names
        }
        return {name: named[full] for name, full in self.program.parameters.items() if full in named}

    def walked(self, intervals: Intervals) -> Iterator[tuple[Step, object]]:
        """Each step and what it makes of the enclosures of all examples, which must fit into memory."""
        products = Products(self.kept, list(range(len(self.beads))))
        over = self._stretch(intervals, self.weights(self.beads), products)
        yield from self.walk.steps(over, Rows(self.population, self.order))


def _bounded(result: object) -> Bounds:
    if not isinstance(result, Bounds):
        raise Unsupported("the loss does not return a mean over examples that certificates know how to bound")
    return result


def enclosing(problem: Traceable, beads: Thetas, quantity: str, max_bytes: int) -> Enclosing:
    """Trace a quantity of a problem, and rehearse it on one example and one interval.

    Raises:
        Unsupported: an operation has no rule, or its rule does not cover how it is called; the message names where it
            stands. Or data are no numbers.
    """
    program = enclosable(problem, quantity)
    (_, _, examples, block), estimated = certified_inputs(problem, quantity)
    training = None
    for data in (examples, *(() if estimated is None else (estimated.examples,))):
        require_numbers(data)
    if estimated is not None and program.statistics:
        chunks = [0, *accumulate(len(part) for part in estimated.examples.chunks(estimated.chunk))]
        training = estimated.examples, chunks
        require_estimable(program)
    degree = 2 if any(step.op in SMOOTH | GROUPED for step in program.steps) else 1
    blocks = [0, *accumulate(len(part) for part in examples.chunks(block))]
    if program.exponential and len(blocks) > 2:
        raise Unsupported(
            f"{quantity} is a mean of e to several means, for which certificates have no rule: only e to the mean over "
            "all examples"
        )
    enclosed = Enclosing(program, beads.double(), problem.layout, examples, blocks, degree, max_bytes, training)
    _require_room(enclosed)
    enclosed.rehearse()
    return enclosed


def _require_room(enclosed: Enclosing) -> None:
    """Refuse chunks of training inputs that are too large to be enclosed as wholes."""
    if enclosed.calibrating is None:
        return
    size = enclosed.calibrating.largest
    needed = 8 * ARRAYS * enclosed.width * size
    if needed > enclosed.max_bytes:
        raise Unsupported(
            f"running statistics are estimated on {size} training inputs at a time, which are enclosed together, in "
            f"about {needed / 1e9:.3g} GB where max_bytes allows {enclosed.max_bytes / 1e9:.3g} GB: pass a larger "
            "max_bytes=, or the problem a smaller chunk="
        )
