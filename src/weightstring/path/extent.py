"""How long a string is, in numbers: what its models need not be read for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from weightstring.arrays import Theta, Thetas
from weightstring.path.segment import Segment


@dataclass(frozen=True)
class Extent:
    """The lengths of a string's segments, and how far its ends lie apart.

    Args:
        segments: ‖θ_{i+1} − θ_i‖ of each, over all parameters.
        distance: ‖θ_n − θ_1‖.

    >>> Extent((3.0, 4.0), 5.0).normalized
    1.4
    """

    segments: tuple[float, ...]
    distance: float

    @classmethod
    def of(cls, beads: Thetas | Sequence[Theta]) -> Extent:
        """That of models in order (n, P), which are read for it.

        >>> import torch
        >>> Extent.of(torch.tensor([[0.0], [3.0], [1.0]]))
        Extent(segments=(3.0, 2.0), distance=1.0)
        """
        segments = tuple(Segment(a, b).length for a, b in pairwise(beads))
        return cls(segments, segments[0] if len(segments) == 1 else Segment(beads[0], beads[-1]).length)

    @property
    def length(self) -> float:
        """Σ‖θ_{i+1} − θ_i‖."""
        return math.fsum(self.segments)

    @property
    def normalized(self) -> float:
        """Length over distance: 1 for a straight string, also when both are 0."""
        if len(self.segments) == 1 or self.length == 0:
            return 1.0
        return self.length / self.distance if self.distance > 0 else math.inf
