"""Randomness from (seed, place), never from time, thread or ``hash()``.

A draw depends only on the user's seed and on where in the computation it is made, so it is the
same in any process, in any batch and after any interruption.
"""

from __future__ import annotations

import hashlib

import torch

from weightstring.errors import InvalidSetting


def derive_seed(seed: int, *place: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and every part of ``place``.

    >>> derive_seed(0, "bead", 3) == derive_seed(0, "bead", 3)
    True
    >>> derive_seed(0, "bead", 3) == derive_seed(0, "bead", 4)
    False
    """
    text = "\x1f".join([str(seed), *map(str, place)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator seeded by (seed, place)."""
    return torch.Generator().manual_seed(derive_seed(seed, *place))


def check_seed(seed: object) -> None:
    """Refuse what generators and manifests cannot hold.

    Raises:
        InvalidSetting: it is no whole number of 64 bits, signed.

    >>> check_seed(7)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise InvalidSetting(f"seed={seed!r:.80}: give a whole number of 64 bits, signed")
