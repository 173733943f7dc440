"""The searches of a call, here, or as whole searches on a dask cluster whose results are read from where they lie.

A search's bits depend neither on who is computed beside it nor on an interruption, so that it may be cut into blocks,
and one whose worker died goes on from its journal in another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

from weightstring.errors import InvalidSetting, RunLocked
from weightstring.protocol import Engined, LossProblem
from weightstring.runs.computing import arithmetic, by_engine, first_of
from weightstring.runs.listening import Listeners
from weightstring.runs.manifest import earlier
from weightstring.runs.preparing import check
from weightstring.runs.progress import display
from weightstring.runs.recording import from_run
from weightstring.runs.result import Result
from weightstring.runs.settings import Pair, Settings
from weightstring.runs.stages import connect_here
from weightstring.runs.told import begun_in
from weightstring.search import Dask
from weightstring.search.running.tasks import Tasks
from weightstring.search.running.worker import in_sight
from weightstring.store import Mapped, RunDirectory, Store
from weightstring.store.leases import BEAT, STALE

SIDE_BY_SIDE = 32
"""Pairs at most in a block: small networks are computed side by side."""
BLOCKS_A_WORKER = 4
"""Blocks at least for each worker where there are pairs enough: the last ones end together."""

Asked: TypeAlias = tuple[Sequence[Pair], Settings]
"""Pairs, and how they are to be connected."""
Content: TypeAlias = dict[str, bytes]
"""A run as names and bytes."""


def connect_all(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> list[Result]:
    """Search for the strings of all pairs, wherever the settings say.

    Raises:
        see :func:`weightstring.connect`.
    """
    cluster = settings.executor
    if not isinstance(cluster, Dask):
        return connect_here(problem, pairs, settings)
    asked = [(block, settings) for block in _blocks(pairs, cluster)]
    return [result for results in connect_each(problem, asked) for result in results]


def connect_each(problem: LossProblem, asked: Sequence[Asked]) -> Iterator[list[Result]]:
    """The same for several groups of pairs, each with settings of its own: one after the other, or each as a task.

    On a cluster, Ctrl-C is raised: what has begun there ends unheard, and is kept where there is a store.
    """
    cluster = asked[0][1].executor if asked else None
    if not isinstance(cluster, Dask):
        for pairs, settings in asked:
            yield connect_here(problem, pairs, settings)
        return
    for pairs, settings in asked:
        check(problem, pairs, settings)
        for pair in pairs:
            _require_travels(pair.directory)
    contents = _elsewhere(problem, asked, cluster)
    for (pairs, settings), kept in zip(asked, contents, strict=True):
        stores = [pair.directory or Mapped(content) for pair, content in zip(pairs, kept, strict=True)]
        if isinstance(settings.progress, Listeners):
            _tell(settings.progress, stores[0], pairs[0])
        yield [from_run(store, problem) for store in stores]


def _tell(told: Listeners, store: Store, pair: Pair) -> None:
    """Tell how a search begins that is over: a worker had its run."""
    with store.locked() if pair.directory is not None else nullcontext():
        told.begun(lambda: begun_in(store.manifest(), pair.directory))


def patiently(seconds: float = STALE + 3 * BEAT) -> Iterator[bool]:
    """Attempts at what the process of a worker that died may hold locked still; True: the last."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield False
        time.sleep(1.0)
    yield True


@dataclass(frozen=True)
class _Shared:
    """What all blocks of a call share."""

    problem: LossProblem
    engine: str | None
    threads: int


def _elsewhere(problem: LossProblem, asked: Sequence[Asked], cluster: Dask) -> list[list[Content]]:
    """Run every group as a task; what was found of pairs that are kept nowhere, and nothing of the others."""
    pairs = [pair for group, _ in asked for pair in group]
    directories = [pair.directory for pair in pairs if isinstance(pair.directory, RunDirectory)]
    with ExitStack() as stack:
        stack.enter_context(arithmetic(problem, pairs))
        show = stack.enter_context(display(asked[0][1].progress))
        manifest = first_of([earlier(problem, pair) for pair in pairs])
        engine = problem.engine_choice().name if isinstance(problem, Engined) else None
        shared = _Shared(problem, engine, 1 if manifest is None else manifest.threads)
        sight = stack.enter_context(in_sight(directories[0].path) if directories else nullcontext(None))
        tasks = stack.enter_context(Tasks[list[Content]](cluster, search_block, shared, sight))
        for number, (group, settings) in enumerate(asked):
            own = [replace(each, a=each.a.clone(), b=each.b.clone()) for each in group]  # not what they are views of
            tasks.send(number, (own, replace(settings, executor=None, progress=False)))
        found: dict[int, list[Content]] = {}
        while tasks:
            words = f"{len(found)} of {len(asked)} done by {cluster.workers} workers, {cluster.dashboard}"
            show.stage(f"on dask: {words}")
            found.update(tasks.done())
    return [found[number] for number in range(len(asked))]


def search_block(shared: _Shared, block: Asked) -> list[Content]:
    """Connect some pairs in a worker; what is kept nowhere else is sent back."""
    pairs, settings = block
    contents: list[Content] = [{} for _ in pairs]
    own = [
        replace(pair, directory=pair.directory or Mapped(content))
        for pair, content in zip(pairs, contents, strict=True)
    ]
    with by_engine(shared.problem, shared.engine, shared.threads):
        for last in patiently():
            try:
                connect_here(shared.problem, own, settings)
                return contents
            except RunLocked:
                if last:
                    raise
    return contents


def _blocks(pairs: Sequence[Pair], cluster: Dask) -> list[Sequence[Pair]]:
    """Pairs in blocks, a run that lies within another's beside that."""
    if any(pair.beside for pair in pairs):
        return [pairs]
    size = max(1, min(SIDE_BY_SIDE, -(-len(pairs) // (BLOCKS_A_WORKER * max(1, cluster.workers)))))
    return [pairs[first : first + size] for first in range(0, len(pairs), size)]


def _require_travels(store: Store | None) -> None:
    if store is not None and not store.travels:
        raise InvalidSetting(
            f"{store}: lies in this process's memory, where no worker can write; give a directory or a store that "
            "travels, such as s3://bucket/run, or none"
        )
