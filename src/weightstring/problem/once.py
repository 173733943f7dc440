"""What is computed once for each problem: a problem never changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

Problem = TypeVar("Problem")
Result = TypeVar("Result")
Settings = TypeVarTuple("Settings")


def once(function: Callable[[Problem, *Settings], Result]) -> Callable[[Problem, *Settings], Result]:
    """Decorate a function of a problem and hashable settings: each result is kept for as long as its problem lives.

    >>> class Problem: ...
    >>> @once
    ... def answer(problem: Problem) -> int:
    ...     print("computed")
    ...     return 42
    >>> problem = Problem()
    >>> answer(problem), answer(problem)
    computed
    (42, 42)
    """
    known: WeakKeyDictionary[Problem, dict[tuple[object, ...], Result]] = WeakKeyDictionary()

    @wraps(function)
    def kept(problem: Problem, *settings: *Settings) -> Result:
        results = known.setdefault(problem, {})
        if settings not in results:
            results[settings] = function(problem, *settings)
        return results[settings]

    return kept
