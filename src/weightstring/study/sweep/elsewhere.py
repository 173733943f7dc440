"""A sweep's blocks on a dask cluster: each is a task, in whichever worker, and is skipped where its result stands."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from weightstring.errors import RunLocked
from weightstring.runs.progress import display
from weightstring.runs.spread import patiently
from weightstring.search import Dask
from weightstring.search.running.tasks import Tasks
from weightstring.search.running.worker import in_sight
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.part import Block, Part

LOOK_AGAIN = 1.0
"""Seconds until blocks that other processes are at are looked at again."""
AHEAD = 2
"""Blocks a worker that are sent: one is done while the next one's data come."""

Place = tuple[int, Block]
"""Which part, and which of its blocks."""


def do_on(cluster: Dask, parts: Sequence[Part], directory: SweepDirectory) -> None:
    """Do all blocks on a cluster, and wait for those that other processes are at.

    Raises:
        WorkerFailed: a block's workers died again and again, or do not see the directory, or the scheduler is gone.
    """
    there = [replace(part, executor=None, progress=False, on_rows=None) for part in parts]
    with ExitStack() as stack:
        show = stack.enter_context(display(parts[0].progress))
        sight = stack.enter_context(in_sight(directory.path))
        tasks = stack.enter_context(Tasks[list[Block]](cluster, do_block, there, sight))
        waiting, done = deque[Place](), 0
        while True:
            if not waiting:
                fresh = [(number, block) for number, part in enumerate(parts) for block in part.open()]
                waiting.extend(place for place in fresh if place not in tasks)
            if not waiting and not tasks:
                return
            workers = cluster.workers
            while waiting and len(tasks) < AHEAD * max(1, workers):
                tasks.send(place := waiting.popleft(), place)
            left = f"{len(tasks)} under way, {len(waiting)} waiting"
            show.stage(f"on dask: {done} blocks done, {left}; {workers} workers, {cluster.dashboard}")
            for (number, block), taken in tasks.done():
                done += len(taken)
                if (tell := parts[number].on_rows) is not None and block.kind == "pairs":
                    tell(directory.block(parts[number].form.name, block.number))
                if not taken:  # another process is at it
                    time.sleep(LOOK_AGAIN)


def do_block(parts: Sequence[Part], place: Place) -> list[Block]:
    """Do a block in a worker, unless another process is at it; what was done."""
    number, block = place
    part = replace(parts[number])  # which looks anew at what other workers have trained since
    for last in patiently():
        try:
            return part.take([block])
        except RunLocked:  # a run of it, by a worker that died just now
            if last:
                raise
    return []
