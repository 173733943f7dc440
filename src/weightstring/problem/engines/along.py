"""Many points of one segment: a first linear layer is linear in t, so two products serve every t.

With θ_t = (1 − t) θ_1 + t θ_2 the pre-activations of the first layer are W_t x + b_t =
(1 − t)(W_1 x + b_1) + t (W_2 x + b_2): exact up to rounding, and most of the work where the inputs are wide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from weightstring.arrays import Positions, Theta
from weightstring.problem.data import Examples
from weightstring.problem.engines.stack import Affine, Stack
from weightstring.problem.engines.stacked import flat, values
from weightstring.problem.functional import Criterion, Wanted

BLOCK_ELEMENTS = 2**19
"""Numbers in the widest layer of one block of examples."""

SHARE = 1 / 2
"""Share of the network's products that the first layer must have, or sharing it gains nothing."""


class _Kept(NamedTuple):
    """A θ and the first layer's products with it."""

    theta: Theta
    version: int
    products: Float[Tensor, "h N"]


class Along:
    """Measures the models of a segment, first-layer products shared.

    The products of the latest ends are kept, in no more memory than the inputs take, since
    neighbouring segments have an end in common.

    Args:
        stack: the network.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()

    @property
    def pays(self) -> bool:
        """Whether the first layer is trainable and most of the work."""
        sizes = [layer.inputs * layer.outputs for layer in self._stack.affine]
        return isinstance(self._stack.affine[0].weight, int) and sizes[0] >= SHARE * sum(sizes)

    def measure(self, a: Theta, b: Theta, ts: Positions, wanted: Wanted) -> Float64[Tensor, "T Q"]:
        """Means over whole data sets of the models at positions ``ts``, in the order wanted.

        Each is computed by itself: what is found at t does not depend on what else is asked for.
        """
        pairs = self._pairs(a, b)
        rest = [[piece.lerp(other, float(t)) for piece, other in pairs] for t in ts]
        with torch.no_grad():
            return torch.cat([self._means(a, b, ts, rest, examples, criteria) for examples, criteria in wanted], dim=1)

    def _pairs(self, a: Theta, b: Theta) -> list[tuple[Tensor, Tensor]]:
        """Both ends' parameters, but for the first layer's weights, which its products stand for."""
        first = self._stack.affine[0]
        pairs = zip(self._stack.pieces(a[None]), self._stack.pieces(b[None]), strict=True)
        used_again = [layer.weight for layer in self._stack.affine[1:]]
        skipped = first.weight if first.weight not in used_again else None
        return [(one[:, :0], other[:, :0]) if i == skipped else (one, other) for i, (one, other) in enumerate(pairs)]

    def _means(
        self,
        a: Theta,
        b: Theta,
        ts: Positions,
        rest: Sequence[Sequence[Tensor]],
        examples: Examples,
        criteria: Sequence[Criterion],
    ) -> Float64[Tensor, "T Q"]:
        start, end = self._products(a, examples), self._products(b, examples)
        totals = torch.zeros(len(ts), len(criteria), dtype=torch.float64, device=a.device)
        size = max(1, BLOCK_ELEMENTS // len(start))
        for first in range(0, len(examples), size):
            block = slice(first, min(first + size, len(examples)))
            outputs = []
            for t, pieces in zip(ts, rest, strict=True):
                hidden = torch.lerp(start[:, block], end[:, block], float(t))
                outputs.append(self._stack.after(1, pieces, hidden.unsqueeze(0)))
            found = values(criteria, torch.cat(outputs).contiguous(), examples.targets[block])
            totals += (block.stop - block.start) * found
        return totals / len(examples)

    def _products(self, theta: Theta, examples: Examples) -> Float[Tensor, "h N"]:
        """The first layer's pre-activations on a data set."""
        first = self._stack.layers[0]
        assert isinstance(first, Affine)
        key = (id(theta), id(examples))
        known = self._kept.get(key)
        # The θ itself is kept beside its products: its id is its own as long as it lives, its version tells of changes.
        if known is None or known.theta is not theta or known.version != theta._version:
            inputs = flat(examples)
            products = Stack(self._stack.layout, (first,))(self._stack.pieces(theta[None]), inputs)[0].mT.contiguous()
            self._kept[key] = _Kept(theta, theta._version, products)
            while len(self._kept) > 2 and sum(kept.products.nbytes for kept in self._kept.values()) > inputs.nbytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key].products
