"""How many CPU threads compute a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ONE_THREAD_FLOPS = 10**8
"""Operations in one call below which one thread computes it: some milliseconds' worth."""

BACKWARD = 3
"""Operations of a gradient over those of a forward pass."""


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Compute with ``count`` CPU threads for a while; None changes nothing."""
    before = torch.get_num_threads()
    if count in (None, before):
        yield
        return
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(flops: float, most: int | None) -> int | None:
    """One thread for a small call, ``most`` for a large one.

    Several gain little on small calls, and on a busy machine wait for each other. Decided by counting,
    so that two runs of one search compute alike.

    >>> threads_for(1e6, 8), threads_for(1e9, 8)
    (1, 8)
    """
    return most if is_large(flops) else 1


def is_large(flops: float) -> bool:
    """Whether a call of so many operations keeps several threads busy."""
    return flops >= ONE_THREAD_FLOPS
