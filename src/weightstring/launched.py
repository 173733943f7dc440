"""Which of several processes this is, where ``torchrun`` has started them. Nothing here imports PyTorch."""

from __future__ import annotations

import os
from typing import NamedTuple


class Launched(NamedTuple):
    """One of the processes that a launcher has started together.

    Args:
        rank: its number, from 0.
        of: how many there are.
        local: its number among those of this machine.
    """

    rank: int
    of: int
    local: int


def launched() -> Launched | None:
    """What the launcher says in the environment; None for a process that was started alone.

    >>> launched() is None
    True
    """
    try:
        rank, of = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", rank))
    except (KeyError, ValueError):
        return None
    return Launched(rank, of, local) if of > 1 and "MASTER_ADDR" in os.environ else None
