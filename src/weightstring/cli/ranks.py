"""Commands that ``torchrun`` starts: rank 0 runs the command, the others compute their parts of its loss."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from weightstring.cli.ending import DONE, INTERRUPTED, MISUSE
from weightstring.errors import InvalidSetting, WeightstringError
from weightstring.launched import launched

if TYPE_CHECKING:
    from weightstring.problem import ModuleProblem
    from weightstring.protocol import LossProblem
    from weightstring.store.records import TaskRef

COMMANDS = ("connect", "minimax", "resume")
"""Those that several ranks can run."""

ALONE = {
    "certify": "certify the finished run in one process, `weightstring certify RUN`",
    "align": "align in one process first, `weightstring align`, and connect what it writes",
    "dry_run": "ask in one process what it takes",
    "workers": "the ranks share each step; --workers share a string's segments",
}
"""Options that need one process, and what to do instead."""


def follows() -> bool:
    """Whether this process is a rank that another one leads."""
    place = launched()
    return place is not None and place.rank > 0


def check_ranks(options: Namespace) -> None:
    """Refuse in rank 0 what several ranks cannot do.

    Raises:
        InvalidSetting: that.
    """
    if launched() is None:
        return
    if options.command not in COMMANDS:
        raise InvalidSetting(f"{options.command} under torchrun: it runs {', '.join(COMMANDS)}; run this without it")
    for name, instead in ALONE.items():
        if vars(options).get(name):
            raise InvalidSetting(f"--{name.replace('_', '-')} under torchrun: {instead}")


def launcher() -> str:
    """What a command line begins with that several ranks are to run; nothing for one process."""
    place = launched()
    if place is None:
        return ""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", place.of))
    nodes = f"--nnodes {place.of // here} " if here < place.of else ""
    return f"torchrun {nodes}--nproc-per-node {here} -m "


@contextmanager
def by_ranks(task: TaskRef, problem: ModuleProblem, engine: str | None) -> Iterator[LossProblem]:
    """The problem, or where ``torchrun`` has started this process its loss by all ranks; computed as asked for.

    Raises:
        see :func:`weightstring.sharded`.
    """
    place = launched()
    if place is None:
        if engine is not None:
            problem.use_engine(engine)
        yield problem
        return
    from weightstring.problem.ranks.group import Ranks
    from weightstring.problem.ranks.joining import led

    ranks = Ranks(place)
    try:
        ranks.told(task)
        with led(problem, ranks) as shared:
            shared.use_engine(engine or "auto")
            del problem
            yield shared
    finally:
        ranks.leave()


def follow() -> int:
    """Build the task that rank 0 names, and compute for it until it is done; what goes wrong rank 0 tells."""
    from weightstring.problem.ranks.group import Ranks
    from weightstring.problem.ranks.joining import agree, serve
    from weightstring.store.records import TaskRef
    from weightstring.tasks.registry import load_task

    place = launched()
    assert place is not None
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            ranks = Ranks(place)
            task = ranks.told()
            assert isinstance(task, TaskRef)
            try:
                problem = load_task(task.name, task.options)
            except WeightstringError as failure:
                agree(ranks, None, str(failure))
                return MISUSE
            agree(ranks, problem)
            serve(problem, ranks)
            ranks.leave()
    except KeyboardInterrupt:
        return INTERRUPTED
    except WeightstringError:
        return MISUSE
    return DONE
