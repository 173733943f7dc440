"""Why a checkpoint does not fit a module, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from weightstring.problem.datasets.data import form
from weightstring.text import first_line

NAMED = 3
"""How many keys a message names."""


class Misfit(NamedTuple):
    """Why a reading does not fit.

    Args:
        missing: the module's keys that it lacks.
        unknown: its keys that the module lacks.
        reason: what torch refused besides, and why.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    reason: str | None


def reason(state: Mapping[str, object], expected: Mapping[str, object], error: Exception) -> str:
    """Why torch refuses a checkpoint, in one line."""
    both = [
        (name, state[name], wanted) for name, wanted in expected.items() if name in state and isinstance(wanted, Tensor)
    ]
    for name, given, _ in both:
        if not isinstance(given, Tensor):
            return f"{name!r} is a {type(given).__name__}: a checkpoint must map names to tensors"
    other = [
        (name, given, wanted)
        for name, given, wanted in both
        if isinstance(given, Tensor) and given.shape != wanted.shape
    ]
    if other:
        name, given, wanted = other[0]
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        return f"{name!r} is {form(given)} but the module's is {form(wanted)}{more}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[1] if len(lines) > 1 and lines[0].startswith("Error(s) in loading") else first_line(error)
    return f"torch cannot load it ({''.join(c if c.isprintable() else repr(c)[1:-1] for c in said)})"


def named(names: Sequence[str]) -> str:
    """The first few names and how many more.

    >>> named(["a", "b"]), named(["a", "b", "c", "d", "e"])
    ("'a', 'b'", "'a', 'b', 'c' and 2 more")
    """
    shown = ", ".join(repr(name) for name in names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def are(names: Sequence[str]) -> str:
    """The verb that goes with so many names."""
    return "is" if len(names) == 1 else "are"
