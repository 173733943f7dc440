"""What a module takes or returns, as the tensors in it: tuples, dicts, dataclasses, or objects that hold tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from weightstring.problem.flat import HALF

DEEPEST = 8
"""Objects within objects that are looked into."""


def leaves_of(output: object, depth: int = DEEPEST) -> list[object]:
    """Everything in an output, in order.

    >>> from types import SimpleNamespace
    >>> leaves_of((SimpleNamespace(logits=torch.ones(1), name="a"), [2]))
    [tensor([1.]), 'a', 2]
    """
    leaves: list[object] = []
    for leaf in trees.tree_flatten(output)[0]:
        fields = _fields(leaf) if depth else None
        leaves += [leaf] if fields is None else [x for field in fields.values() for x in leaves_of(field, depth - 1)]
    return leaves


def paths_of(output: object, depth: int = DEEPEST) -> list[tuple[str, object]]:
    """Every leaf of :func:`leaves_of`, and how to get there.

    >>> paths_of({"x": (torch.ones(1), 3)})
    [("['x'][0]", tensor([1.])), ("['x'][1]", 3)]
    """
    found: list[tuple[str, object]] = []
    for path, leaf in trees.tree_flatten_with_path(output)[0]:
        fields = _fields(leaf) if depth else None
        here = trees.keystr(path)
        if fields is None:
            found.append((here, leaf))
            continue
        for name, field in fields.items():
            step = f"[{name!r}]" if isinstance(leaf, MutableMapping) else f".{name}"
            found += [(here + step + rest, inner) for rest, inner in paths_of(field, depth - 1)]
    return found


def rebuilt(output: object, leaves: Iterable[object]) -> object:
    """An output of the same form with other leaves.

    >>> rebuilt({"logits": torch.ones(1), "loss": None}, [3, 4])
    {'logits': 3, 'loss': 4}
    """
    return _rebuilt(output, iter(leaves), DEEPEST)


def _rebuilt(output: object, leaves: Iterator[object], depth: int) -> object:
    flat, spec = trees.tree_flatten(output)

    def renewed(leaf: object) -> object:
        fields = _fields(leaf) if depth else None
        if fields is None:
            return next(leaves)
        other = copy.copy(leaf)
        for name, field in fields.items():
            inside = _rebuilt(field, leaves, depth - 1)
            if isinstance(other, MutableMapping):
                other[name] = inside
            else:
                object.__setattr__(other, name, inside)
        return other

    return trees.tree_unflatten([renewed(leaf) for leaf in flat], spec)


def _fields(leaf: object) -> Mapping[str, object] | None:
    """The attributes of an object that holds tensors, or a mapping's items; None for anything else."""
    if isinstance(leaf, Tensor | nn.Module | type):
        return None
    if isinstance(leaf, MutableMapping):  # of a kind that torch does not know, such as a tokenizer's encoding
        return leaf
    fields = getattr(leaf, "__dict__", None)
    return fields if isinstance(fields, dict) and any(map(_holds_tensors, fields.values())) else None


def _holds_tensors(value: object) -> bool:
    """Whether an attribute is a tensor, or a mapping with tensors."""
    within = value.values() if isinstance(value, MutableMapping) else (value,)
    return any(isinstance(each, Tensor) for each in within)


def tensors_of(output: object) -> list[Tensor]:
    """The tensors in an output, in order."""
    return [leaf for leaf in leaves_of(output) if isinstance(leaf, Tensor)]


def form_of(output: object) -> list[str]:
    """The types, dtypes and ranks of an output's leaves."""
    return [
        f"{leaf.dtype} {leaf.ndim}" if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves_of(output)
    ]


def gathered(outputs: Iterable[object], rows: Iterable[int], axis: int = 0) -> object:
    """Outputs of consecutive parts as one output.

    Args:
        outputs: all of one form.
        rows: how many rows each tensor has for one example; 0: it is constant.
        axis: of the examples.

    >>> gathered([(torch.ones(2, 1), 7), (torch.zeros(1, 1), 7)], (1, 0))[0].flatten()
    tensor([1., 1., 0.])
    """
    parts = list(outputs)
    columns = zip(*(leaves_of(part) for part in parts), strict=True)
    whole = [torch.cat(column, axis) if count else column[0] for column, count in zip(columns, rows, strict=True)]
    return rebuilt(parts[0], whole)


def widened(output: object, dtype: torch.dtype) -> object:
    """An output with its numbers in half precision as ``dtype``, so that its loss is not rounded once more.

    >>> widened({"logits": torch.ones(1, dtype=torch.bfloat16)}, torch.float32)
    {'logits': tensor([1.])}
    """
    if isinstance(output, Tensor):
        return output.to(dtype) if output.dtype in HALF else output
    leaves = leaves_of(output)
    if not any(isinstance(leaf, Tensor) and leaf.dtype in HALF for leaf in leaves):
        return output
    return rebuilt(output, [widened(leaf, dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves])
