"""Many points of one segment: a first linear layer is linear in t, so two products serve every t.

With θ_t = (1 − t) θ_1 + t θ_2 the pre-activations of the first layer are W_t x + b_t =
(1 − t)(W_1 x + b_1) + t (W_2 x + b_2): exact up to rounding, and most of the work where the inputs are wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.arrays import Positions, Stretch, Theta, Thetas, aligned
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.stack import Affine, Stack, flat
from weightstring.problem.losses.means import Mean, Wanted
from weightstring.problem.losses.tally import Tally

BLOCK_ELEMENTS = 2**21
"""Numbers in the widest layer of one block of examples."""

SHARE = 2 / 5
"""Share of the network's products that the first layer must have, or sharing it gains little; with .43, that of
784-3 × 512-10, a line takes .63 of the time."""

KEPT_BYTES = 2**27
"""Memory for the products of small networks, of which many segments are measured side by side."""
MARKS = 16
"""Numbers of a θ by which what was kept of it is found."""


class _Kept(NamedTuple):
    """The first layer's pre-activations of a θ on a data set."""

    theta: Theta
    examples: DataSet
    products: Float[Tensor, "N h"]


class SharedFirstLayer:
    """Measures the models of a segment, which share the products of their first layer.

    The products of the latest models are kept, in no more memory than the inputs take or :data:`KEPT_BYTES`, since
    neighbouring segments have an end in common and a bead is mostly measured before its segments.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._kept: dict[int, dict[bytes, _Kept]] = {}  # of each data set, the latest last

    @cached_property
    def pays(self) -> bool:
        """Whether the first layer is trainable and most of the work."""
        first = self._stack.layers[0]
        if not isinstance(first, Affine) or self._stack.shape is not None:
            return False
        sizes = [layer.inputs * layer.outputs for layer in self._stack.affine]
        return isinstance(first.weight, int) and sizes[0] >= SHARE * sum(sizes)

    def measure(self, a: Theta, b: Theta, ts: Positions, wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """Means over whole data sets of the models at positions ``ts``, in the order wanted.

        Each is computed by itself: what is found at t does not depend on what else is asked for.
        """
        pairs = self.pairs(a, b)
        rest = [[piece.lerp(other, float(t)) for piece, other in pairs] for t in ts]
        with torch.no_grad():
            return torch.cat([self._means(a, b, ts, rest, examples, means) for examples, means in wanted], dim=1)

    def measure_segments(self, stretches: Sequence[Stretch], wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """The same of several segments, one after the other."""
        return torch.cat([self.measure(aligned(a[None])[0], aligned(b[None])[0], ts, wanted) for a, b, ts in stretches])

    def at_once(self, examples: int) -> int:
        """Of how many segments, on sets of so many examples, it gains something to be measured together."""
        return 1

    def measure_models(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """The same of models (B, P), one after the other: the numbers that segments from or to them begin with."""
        start = torch.zeros(1, dtype=torch.float64, device="cpu")
        return torch.cat([self.measure(theta, theta, start, wanted) for theta in thetas])

    def pairs(self, a: Theta, b: Theta) -> list[tuple[Tensor, Tensor]]:
        """Both ends' parameters, but for the first layer's weights, which its products stand for."""
        first = self._stack.affine[0]
        layout = self._stack.layout
        used_again = {layer.weight for layer in self._stack.affine[1:] if isinstance(layer.weight, int)}
        skipped = first.weight if first.weight not in used_again else None
        pairs = zip(layout.pieces(a), layout.pieces(b), strict=True)
        return [(one[:0], other[:0]) if i == skipped else (one, other) for i, (one, other) in enumerate(pairs)]

    def _means(
        self,
        a: Theta,
        b: Theta,
        ts: Positions,
        rest: Sequence[Sequence[Tensor]],
        examples: DataSet,
        means: Sequence[Mean],
    ) -> Float64[Tensor, "T Q"]:
        if len(ts) > 1 and not all(mean.adds for mean in means):  # keeps outputs: of one model at a time
            parts = (self._means(a, b, ts[i : i + 1], rest[i : i + 1], examples, means) for i in range(len(ts)))
            return torch.cat(list(parts))
        tallies = [Tally(means, len(examples), a) for _ in ts]
        for block in self._blocks(examples):
            part = examples.take(block)
            start, end = self._of_block(a, examples, block, part), self._of_block(b, examples, block, part)
            for t, pieces, tally in zip(ts, rest, tallies, strict=True):
                tally.add(self._stack.alone(pieces, torch.lerp(start, end, float(t)), 1), part.targets)
        return torch.stack([tally.values() for tally in tallies])

    def _blocks(self, examples: DataSet) -> Iterator[slice]:
        count, size = len(examples), max(1, BLOCK_ELEMENTS // self._stack.affine[0].outputs)
        return (slice(first, min(first + size, count)) for first in range(0, count, size))

    def _of_block(self, theta: Theta, examples: DataSet, block: slice, part: DataSet) -> Float[Tensor, "n h"]:
        """The first layer's pre-activations on some examples; of what stays on disk they are not kept."""
        if examples.in_memory:
            return self.products(theta, examples)[block]
        return self._first(theta, part)

    def _first(self, theta: Theta, examples: DataSet) -> Float[Tensor, "n h"]:
        first = self._stack.layers[0]
        assert isinstance(first, Affine)
        pieces = list(self._stack.layout.pieces(theta))
        return Stack(self._stack.layout, (first,)).alone(pieces, flat(examples))

    def products(self, theta: Theta, examples: DataSet) -> Float[Tensor, "N h"]:
        """The first layer's pre-activations on a data set."""
        # By its numbers: whoever holds a θ may change it.
        marks = theta[:: max(1, len(theta) // MARKS)].cpu().numpy().tobytes()
        of_set = self._kept.setdefault(id(examples), {})
        kept = of_set.pop(marks, None)
        if kept is None or not torch.equal(kept.theta, theta):
            kept = _Kept(theta.clone(), examples, self.made(theta, examples))
        of_set[marks] = kept
        most = max(flat(examples).nbytes, KEPT_BYTES) // max(1, kept.products.nbytes)
        while len(of_set) > max(2, most):  # a segment needs two
            del of_set[next(iter(of_set))]
        return kept.products

    def made(self, theta: Theta, examples: DataSet) -> Float[Tensor, "N h"]:
        """These products, computed."""
        return torch.cat([self._first(theta, examples.take(block)) for block in self._blocks(examples)])
