"""What many models are called: by the names that a mapping gives them, or by their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

Model = TypeVar("Model")


def by_name(models: Mapping[str, Model] | Sequence[Model]) -> dict[str, Model]:
    """Models by their names, in order; those of a sequence are called by their numbers.

    >>> by_name(["x", "y"]), by_name({"a": "x"})
    ({'0': 'x', '1': 'y'}, {'a': 'x'})
    """
    return dict(models) if isinstance(models, Mapping) else {str(number): each for number, each in enumerate(models)}
