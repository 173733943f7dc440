"""One rule for each kind of operation: how it ties the axes of what it takes and what it returns."""

from weightstring.symmetry.rules import (  # noqa: F401 - they register their rules
    indices,
    layers,
    order,
    parts,
    pointwise,
    products,
    recurrent,
    reductions,
    shapes,
)
from weightstring.symmetry.rules.base import RULES, Call, Labels, Rule

__all__ = ["RULES", "Call", "Labels", "Rule"]
