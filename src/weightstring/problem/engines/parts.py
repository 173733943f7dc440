"""How many models go into one call: as many as memory holds, fewer where it turns out to hold less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from weightstring.errors import InvalidSetting
from weightstring.memory import DoesNotFit, is_out_of_memory

CALL_ELEMENTS = 2**24
"""Models × examples × numbers per example that one call may hold."""

BLOCK_ELEMENTS = 2**21
"""Numbers in the widest activation of one measured block: what a CPU's last-level cache holds several of."""

Part = TypeVar("Part")


def width(examples: int, elements: int, budget: int = CALL_ELEMENTS) -> int:
    """Models in one call: as many as keep it within ``budget`` numbers.

    Args:
        examples: in one forward pass of one model.
        elements: numbers of one example.
        budget: numbers in a call.

    >>> width(2048, 784), width(2048, 3 * 224 * 224)
    (10, 1)
    """
    return max(1, budget // (examples * elements))


def in_parts(count: int, at_once: int, compute: Callable[[slice], Part]) -> list[Part]:
    """Compute ``count`` models in equal parts of at most ``at_once``.

    A part that does not fit into memory is computed again in halves: a smaller batch gives the same
    results, up to rounding.

    Raises:
        InvalidSetting: not even one model fits.

    >>> in_parts(5, 2, lambda part: (part.start, part.stop))
    [(0, 1), (1, 3), (3, 5)]
    """
    results: list[Part] = []
    for part in _parts(0, count, at_once):
        results.extend(_halving(part, compute))
    return results


def _halving(part: slice, compute: Callable[[slice], Part]) -> list[Part]:
    try:
        return [compute(part)]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if part.stop - part.start == 1:
            if isinstance(error, DoesNotFit):
                raise InvalidSetting(str(error)) from None
            raise InvalidSetting(
                "one model does not fit into memory beside what is there: pass a smaller chunk= or batch_size= to the "
                "problem, or use a larger machine"
            ) from None
    # Only here is what the failed call held free again.
    middle = (part.start + part.stop) // 2
    return _halving(slice(part.start, middle), compute) + _halving(slice(middle, part.stop), compute)


def _parts(start: int, stop: int, at_once: int) -> Iterator[slice]:
    count = stop - start
    parts = -(-count // at_once)
    for part in range(parts):
        yield slice(start + part * count // parts, start + (part + 1) * count // parts)
