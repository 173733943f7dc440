"""Several processes become the ranks of one loss: one leads, the others compute for it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import torch

from weightstring.errors import InvalidSetting, Unsupported, WeightstringError, WorkerFailed
from weightstring.launched import launched
from weightstring.problem.ranks.group import Ranks
from weightstring.problem.ranks.requests import Request, added
from weightstring.problem.ranks.sharded import Shardable, Sharded
from weightstring.protocol import LossProblem, lacking


class _Has(NamedTuple):
    """What a rank says of its problem."""

    fingerprint: str | None
    why: str
    host: str


def serve(problem: Shardable, ranks: Ranks) -> None:
    """Compute one rank's part of all that rank 0 asks for, until it is done.

    Raises:
        Unsupported: values of the problem are no sums over parts of its data.
        WorkerFailed: rank 0 is gone.
    """
    shard = problem.shard(ranks.place.rank, ranks.place.of)
    places = [torch.empty(problem.size, dtype=problem.dtype, device=problem.device)]
    del problem
    while isinstance(request := ranks.told(), Request):
        while len(places) < request.models:
            places.append(torch.empty_like(places[0]))
        models = [ranks.sent(place) for place in places[: request.models]]
        try:
            added(ranks, shard, request, models)
        except WorkerFailed:
            raise
        except WeightstringError:
            continue  # rank 0 tells it


def agree(ranks: Ranks, problem: Shardable | None, why: str = "") -> None:
    """Compare what problem each rank has; every rank calls it.

    Args:
        ranks: all processes.
        problem: this rank's; None: it cannot be built, and
        why: the reason.

    Raises:
        InvalidSetting: a rank has none, or another than rank 0.
    """
    own = _Has(None if problem is None else problem.fingerprint(), why, socket.gethostname())
    said = [each for each in ranks.gathered(own) if isinstance(each, _Has)]
    for number, rank in enumerate(said):
        if rank.fingerprint is None:
            raise InvalidSetting(f"rank {number} on {rank.host} cannot build the problem: {rank.why}")
        if rank.fingerprint != said[0].fingerprint:
            raise InvalidSetting(
                f"rank {number} on {rank.host} has another problem: its data, its code or its version of Python differ "
                "from those of rank 0"
            )


@contextmanager
def led(problem: Shardable, ranks: Ranks) -> Iterator[Sharded]:
    """Within the context of rank 0 a problem's loss is computed by all ranks, which :func:`serve`.

    Raises:
        InvalidSetting: a rank has another problem.
        Unsupported: its data cannot be divided.
        WorkerFailed: at the end, a rank is gone.
    """
    agree(ranks, problem)
    shared = Sharded(problem, ranks)
    del problem
    try:
        yield shared
    except BaseException:
        with suppress(WorkerFailed):  # what has happened already is told
            shared.close()
        raise
    shared.close()


@contextmanager
def sharded(problem: LossProblem) -> Iterator[LossProblem]:
    """Within the context a loss is computed by all processes that ``torchrun`` has started, each with its part of data.

    Rank 0 goes on with what it is given, as one process would: it searches and writes. All others compute for it here,
    and leave the program when it leaves the context. In a process that was started alone it is the problem itself.

    Args:
        problem: built alike by all ranks. Each keeps its part of the data; let the problem itself go to free the rest.

    Raises:
        InvalidSetting: a rank has another problem.
        Unsupported: a quantity is no sum over parts of the data, or running statistics are re-estimated on all.
        WorkerFailed: another rank is gone.

    >>> from weightstring.problem.surfaces import Ring
    >>> with sharded(Ring()) as problem:  # a single process
    ...     type(problem).__name__
    'Ring'
    """
    place = launched()
    if place is None:
        yield problem
        return
    if not isinstance(problem, Shardable):
        raise Unsupported(lacking(problem, Shardable))
    ranks = Ranks(place)
    try:
        if ranks.leads:
            with led(problem, ranks) as shared:
                del problem
                yield shared
            return
        agree(ranks, problem)
        serve(problem, ranks)
    finally:
        ranks.leave()
    sys.exit(0)
