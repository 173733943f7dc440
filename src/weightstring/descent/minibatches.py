"""Which training examples a model sees at which step."""

from __future__ import annotations

import torch
from torch import Tensor

from weightstring.protocol import LossProblem
from weightstring.randomness import LISTED, Order, generator


class Minibatches:
    """Endless minibatches without replacement within an epoch, determined by (seed, place).

    Every model draws its own, so what it sees does not depend on who is trained beside it. An
    epoch's last incomplete minibatch is left out: all have the same size n.

    >>> rows = Minibatches(size=10, batch_size=4, seed=0, place="bead 3")
    >>> len(rows.draw()), len(rows.draw())
    (4, 4)
    """

    def __init__(self, size: int, batch_size: int, seed: int, place: str) -> None:
        self._size = size
        self._batch_size = min(batch_size, size)
        self._generator = generator(seed, "minibatches", place)
        self._order: Tensor | Order | None = None
        self._next = 0

    def draw(self) -> Tensor:
        """Row numbers (n,) of the next minibatch, int64."""
        return self._some(1)[0]

    def draws(self, count: int) -> Tensor:
        """Row numbers (count, n) of the next minibatches."""
        parts: list[Tensor] = []
        while count:
            parts.append(self._some(count))
            count -= parts[-1].shape[0]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _some(self, most: int) -> Tensor:
        """The next minibatches of an epoch, at least one."""
        if self._order is None or self._next + self._batch_size > self._size:
            listed = self._size <= LISTED
            new = torch.randperm(self._size, generator=self._generator, device="cpu") if listed else None
            self._order, self._next = Order.drawn(self._size, self._generator) if new is None else new, 0
        count = min(most, (self._size - self._next) // self._batch_size)
        start, self._next = self._next, self._next + count * self._batch_size
        if isinstance(self._order, Order):
            return self._order.at(torch.arange(start, self._next, device="cpu")).view(count, -1)
        return self._order[start : self._next].view(count, -1)


def minibatches(problem: LossProblem, seed: int, place: str) -> Minibatches | None:
    """The minibatches of one model on ``problem``; None where each would be the whole training set."""
    if problem.batch_size is None or problem.batch_size >= problem.train_size:
        return None
    return Minibatches(problem.train_size, problem.batch_size, seed, place)
