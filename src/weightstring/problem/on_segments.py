"""Models on segments, none of which is made before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from weightstring.arrays import Theta


@dataclass(frozen=True, eq=False)
class OnSegments(Sequence[Theta]):
    """Models (1 − t) a + t b, each made when it is asked for.

    Args:
        places: (a, b, t) of each, t as θ's dtype has it.

    >>> list(OnSegments([(torch.zeros(1), torch.ones(1), 0.25)]))
    [tensor([0.2500])]
    """

    places: Sequence[tuple[Theta, Theta, float]]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Theta:  # type: ignore[override]
        return torch.lerp(*self.places[index])
