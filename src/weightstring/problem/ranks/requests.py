"""What rank 0 asks of all: each computes what its part of the data adds, and the sums of all are the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import UserCodeFailed, WeightstringError
from weightstring.failures import told
from weightstring.memory import is_out_of_memory, tell_lack
from weightstring.problem.engines.threads import on_threads
from weightstring.problem.ranks.group import Ranks
from weightstring.problem.ranks.shard import Shard, Totals


@dataclass(frozen=True)
class Request:
    """What rank 0 asks for: of models, of a segment's models, or a slope.

    Args:
        models: how many follow: one, or the two ends of a segment.
        threads: CPU threads of each rank.
        names: quantities; none where a slope is asked for.
        ts: positions on the segment.
        rows: of the training set (n,), None: all.
    """

    models: int
    threads: int
    names: tuple[str, ...] = ()
    ts: tuple[float, ...] = ()
    rows: Tensor | None = None

    def answered(self, shard: Shard, thetas: Sequence[Theta]) -> tuple[Totals, Theta | None]:
        """What a part of the data adds."""
        if not self.names:
            return shard.slope(thetas[0], self.rows)
        if self.models == 1:
            return shard.measured(thetas[0], self.names), None
        first, last = thetas
        return shard.between(first, last, self.ts, self.names), None

    def nothing(self, theta: Theta) -> tuple[Totals, Theta | None]:
        """What takes its place in a rank that has failed."""
        if not self.names:
            return torch.zeros(2, dtype=torch.float64), theta
        places = (len(self.ts),) if self.models > 1 else ()
        return torch.zeros(*places, len(self.names), 2, dtype=torch.float64), None


def added(ranks: Ranks, shard: Shard, request: Request, thetas: Sequence[Theta]) -> tuple[Totals, Theta | None]:
    """Compute this rank's part of a request, and add up those of all.

    Raises:
        WeightstringError: a rank has failed; every rank raises the same, and all can go on.
        WorkerFailed: a rank is gone.
    """
    failure: WeightstringError | None = None
    try:
        with on_threads(request.threads):
            totals, slope = request.answered(shard, thetas)
    except Exception as error:
        failure, (totals, slope) = _in_words(error), request.nothing(thetas[0])
    sums = ranks.added(torch.cat([totals.reshape(-1), totals.new_tensor([failure is not None])]))
    if sums[-1] != 0:  # NaN is no failure, but a value
        _raise_first(ranks, failure)
    return sums[:-1].reshape(totals.shape), None if slope is None else ranks.added(slope)


def _in_words(error: Exception) -> WeightstringError:
    try:
        if is_out_of_memory(error):
            tell_lack(error, "a rank's part of a call")
    except WeightstringError as lack:
        return lack
    return error if isinstance(error, WeightstringError) else UserCodeFailed(told(error))


def _raise_first(ranks: Ranks, failure: WeightstringError | None) -> NoReturn:
    said = ranks.gathered(None if failure is None else (type(failure), str(failure)))
    for number, each in enumerate(said):
        if isinstance(each, tuple):
            kind, words = each
            raise kind(f"rank {number}: {words}")
    raise AssertionError("no rank has failed")
