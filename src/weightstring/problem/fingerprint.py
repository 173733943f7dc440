"""What makes two problems the same, as one digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from weightstring.problem.assemble import TrainingStep
from weightstring.problem.data import Examples
from weightstring.problem.digest import callable_name, tensors_digest, text_digest, without_addresses
from weightstring.problem.flat import Layout, named_tensors
from weightstring.problem.means import Given
from weightstring.protocol import Recipe


def fingerprint_of(
    net: nn.Module,
    layout: Layout,
    estimated: frozenset[str],
    data: Mapping[str, Examples],
    criteria: Mapping[str, Given],
    step: TrainingStep | None,
    settings: str,
    recipe: Recipe,
) -> str:
    """SHA-256 of all that determines a result; functions count by their names, not by what they do.

    Args:
        net: the module.
        layout: of its trainable parameters, whose numbers do not count.
        estimated: running statistics that belong to each θ and do not count either.
        data: the sets by name.
        criteria: the loss and the metrics by name.
        step: the user's own training step.
        settings: in text.
        recipe: how beads descend.
    """
    tensors = named_tensors(net)
    constants = {name: tensors[name] for name in tensors if name not in layout.names | estimated}
    return text_digest(
        without_addresses(str(net)),
        repr(layout),
        tensors_digest(constants),
        *(f"{name} {examples.digest()}" for name, examples in data.items()),
        *(f"{name} {callable_name(criterion)}" for name, criterion in criteria.items()),
        settings,
        "" if step is None else callable_name(step),
        f"{replace(recipe, options={})} {sorted(recipe.options.items())}",
    )
