"""Randomness from (seed, place), never from time, thread or ``hash()``.

A draw depends only on the user's seed and on where in the computation it is made, so it is the
same in any process, in any batch and after any interruption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

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


LISTED = 2**24
"""Numbers up to which a random order is held as a list, of 8 bytes each."""

ROUNDS = 8
"""Rounds of a Feistel network; four make a random order hard to tell from a true one (Luby & Rackoff 1988)."""


@dataclass(frozen=True)
class Order:
    """A random order of 0 … count − 1, of which only what is asked for is computed, however many there are.

    A Feistel network permutes the numbers of an even number of bits; what it makes of a number too large is
    permuted again until it is not (cycle walking: Black & Rogaway 2002).

    Args:
        count: how many numbers.
        keys: one a round.

    >>> order = Order.drawn(10, generator(0))
    >>> sorted(order.at(torch.arange(10)).tolist()) == list(range(10))
    True
    """

    count: int
    keys: tuple[int, ...]

    @classmethod
    def drawn(cls, count: int, draw: torch.Generator) -> Order:
        """An order whose keys a generator draws."""
        return cls(count, tuple(torch.randint(2**62, (ROUNDS,), generator=draw, device="cpu").tolist()))

    def at(self, places: Tensor) -> Tensor:
        """The numbers at some places (n,), int64."""
        found = self._permuted(places)
        while bool((beyond := found >= self.count).any()):
            found = torch.where(beyond, self._permuted(found), found)
        return found

    def _permuted(self, numbers: Tensor) -> Tensor:
        half = max(1, ((self.count - 1).bit_length() + 1) // 2)
        mask = 2**half - 1
        left, right = numbers >> half, numbers & mask
        for key in self.keys:  # products wrap around, as of any 64 bits
            mixed = (right ^ key) * 0x2545F4914F6CDD1D
            mixed = (mixed ^ (mixed >> 29)) * 0x1B03738712FAD5C9
            left, right = right, left ^ ((mixed >> 33) & mask)
        permuted: Tensor = (left << half) | right
        return permuted


def some_of(count: int, most: int, draw: torch.Generator) -> Tensor:
    """At most ``most`` of the numbers 0 … count − 1, in random order without replacement, int64.

    >>> some_of(5, 9, generator(0)).sort().values
    tensor([0, 1, 2, 3, 4])
    """
    if count <= LISTED:
        return torch.randperm(count, generator=draw, device="cpu")[:most]
    return Order.drawn(count, draw).at(torch.arange(min(most, count), device="cpu"))


def check_seed(seed: object) -> None:
    """Refuse what generators and manifests cannot hold.

    Raises:
        InvalidSetting: it is no whole number of 64 bits, signed.

    >>> check_seed(7)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise InvalidSetting(f"seed={seed!r:.80}: give a whole number of 64 bits, signed")
