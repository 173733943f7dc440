"""One rule for each operation: what it does to enclosures. The names are those of torch's ATen operators.

``call`` is what a rule knows; ``layers``, ``activations``, ``shapes``, ``arithmetic`` and ``criteria`` hold the rules.
"""

from __future__ import annotations

from inspect import signature

from weightstring.errors import Unsupported
from weightstring.proof.enclose.rules import (  # noqa: F401 - they register their rules
    activations,
    arithmetic,
    attention,
    batch_norm,
    choices,
    criteria,
    embedding,
    layers,
    normalisation,
    products,
    shapes,
)
from weightstring.proof.enclose.rules.batch_norm import NORMS
from weightstring.proof.enclose.rules.call import GROUPED, RULES, SMOOTH, Call, rule
from weightstring.tracing.steps import Step

__all__ = ["GROUPED", "NORMS", "RULES", "SMOOTH", "Call", "require_rule", "rule"]

PAGE = "docs/extending/certificate-rule.md"


def require_rule(step: Step) -> None:
    """Refuse an operation that has no rule, or is called in a way that its rule does not know.

    Raises:
        Unsupported: with the operation and the module that calls it.
    """
    if step.op not in RULES:
        raise Unsupported(
            f"{step.where}: certificates have no rule for this operation: add one ({PAGE}), or leave the string sampled"
        )
    try:
        signature(RULES[step.op]).bind(None, *step.args, **step.kwargs)
    except TypeError as error:
        raise Unsupported(f"{step.where}: its rule does not cover this way of calling it ({error})") from error
