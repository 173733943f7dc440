"""What makes two problems the same, as one digest."""

from __future__ import annotations

from dataclasses import replace

from weightstring.problem.digest import callable_name, tensors_digest, text_digest, without_addresses
from weightstring.problem.flat import named_tensors
from weightstring.problem.parts import Parts


def fingerprint_of(parts: Parts) -> str:
    """SHA-256 of all that determines a result; functions count by their names, not by what they do.

    Neither the parameters' numbers count nor buffers that belong to each θ.
    """
    tensors = named_tensors(parts.net)
    constants = {name: tensors[name] for name in tensors if name not in parts.layout.names | parts.derived}
    recipe, step = parts.recipe, parts.training_step
    return text_digest(
        without_addresses(str(parts.net)),
        repr(parts.layout),
        tensors_digest(constants),
        *(f"{name} {examples.digest()}" for name, examples in parts.data.items()),
        *(f"{name} {callable_name(criterion)}" for name, criterion in parts.criteria.items()),
        f"{parts.buffers} {parts.batch_size} {parts.computation.chunk}",
        "" if step is None else callable_name(step),
        f"{replace(recipe, options={})} {sorted(recipe.options.items())}",
    )
