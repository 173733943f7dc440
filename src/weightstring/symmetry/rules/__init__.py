"""One rule for each kind of operation: how it ties the axes of what it takes and what it returns."""

from weightstring.symmetry.rules import layers, pointwise, products, recurrent, reductions, shapes
from weightstring.symmetry.rules.base import Call, Labels, Rule

RULES: dict[str, Rule] = {
    **pointwise.RULES,
    **layers.RULES,
    **shapes.RULES,
    **reductions.RULES,
    **products.RULES,
    **recurrent.RULES,
}

__all__ = ["RULES", "Call", "Labels", "Rule"]
