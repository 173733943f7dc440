"""Where the time of one connect goes, in percent: from building the problem to the page, of a real run.

    python -m benchmarks breakdown [digits|mnist-mlp|small-cnn]

The run is a user's: a new problem, a run directory, all defaults, and the page at the end. Functions of the package are
wrapped for the time of the run, and CPU seconds belong to the outermost phase: gradients of the trial are the trial's.
What no phase claims between the first and the last is the search's own bookkeeping.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import weightstring as ws
from benchmarks.measuring import asked, keep, kept, parser, timed
from benchmarks.pairs import OTHERS, TASKS, Task

PHASES: dict[str, tuple[str, ...]] = {
    "building": (),
    "fingerprint": (
        "weightstring.problem.module:ModuleProblem.fingerprint",
        "weightstring.problem.parts:Parts.digests",
    ),
    "trial": (
        "weightstring.problem.engines.trial:Trial.choose",
        "weightstring.problem.engines.selection:EngineSelection.independent",
    ),
    "disproving": ("weightstring.runs.stages:disprove",),
    # A stride is many steps in one call of native code: gradients and the optimizer's part of them.
    "gradients": (
        "weightstring.problem.dispatcher:Dispatcher.gradient",
        "weightstring.problem.dispatcher:Dispatcher.stride",
    ),
    "optimizer": ("weightstring.descent.optimizers:Optimizers.step",),
    "measurements": (
        "weightstring.problem.dispatcher:Dispatcher.measure",
        "weightstring.problem.dispatcher:Dispatcher.measure_segments",
    ),
    "final curve": ("weightstring.path.string:WeightString.measure",),
    "store": (
        "weightstring.store.directory:RunDirectory.begin",
        "weightstring.store.directory:RunDirectory.append",
        "weightstring.runs.searching:write_result",
        "weightstring.runs.searching:from_run",
    ),
    "page": (),
}
REST = "search overhead"


class Profile:
    """CPU seconds and calls of each phase while functions are wrapped; the outermost phase claims all beneath it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.calls = dict.fromkeys(PHASES, 0)
        self._within = False

    def wrapped(self, phase: str, function: Callable[..., object]) -> Callable[..., object]:
        """The function, timed where no other phase is under way."""

        @functools.wraps(function)
        def run(*arguments: object, **named: object) -> object:
            if self._within:
                return function(*arguments, **named)
            self._within, started = True, time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self._within = False
                self.seconds[phase] += time.process_time() - started
                self.calls[phase] += 1

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Functions of the phases are wrapped within the context.

        Raises:
            AttributeError: the package has no function of that name any more: PHASES says what is meant.
        """
        replaced = []
        try:
            for phase, places in PHASES.items():
                for place in places:
                    module, _, path = place.partition(":")
                    *owners, name = path.split(".")
                    owner = functools.reduce(getattr, owners, importlib.import_module(module))
                    before = vars(owner).get(name, getattr(owner, name))
                    setattr(owner, name, self._like(phase, before))
                    replaced.append((owner, name, before))
            yield
        finally:
            for owner, name, before in replaced:
                setattr(owner, name, before)

    def _like(self, phase: str, before: object) -> object:
        if isinstance(before, property):
            assert before.fget is not None
            return property(self.wrapped(phase, before.fget))
        if isinstance(before, functools.cached_property):
            found = functools.cached_property(self.wrapped(phase, before.func))
            found.attrname = before.attrname
            return found
        return self.wrapped(phase, before)


def main(arguments: Sequence[str]) -> None:
    """Profile the tasks asked for."""
    options = parser(__doc__)
    options.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; by default the first two")
    chosen = asked(options, arguments)
    names = chosen.tasks or ["digits", "mnist-mlp"]
    if unknown := [name for name in names if name not in TASKS]:
        options.error(f"no task {unknown[0]!r}: choose of {', '.join(TASKS)}")
    names = names[:1] if chosen.quick else names
    profiled(TASKS["digits"], OTHERS)  # what is imported at first use belongs to no phase
    found = {name: profiled(TASKS[name], 0) for name in names}
    for name, rows in found.items():
        print(f"\n{name}")
        for row in rows:
            print(f"  {row['phase']:16} {row['percent']:5.1f} %  {row['CPU seconds']:8.3f} CPU s  {row['calls']} calls")
    before = {key: rows for key, rows in kept("breakdown").items() if key in TASKS}
    keep("breakdown", {**before, **found}, chosen.quick, silent=True)


def profiled(task: Task, number: int) -> list[dict[str, object]]:
    """Each phase of a run on one pair, in the order in which they begin; the whole last."""
    other = task.problem()
    way = task.way(other, task.plain(other, "evaluate"), number)
    profile = Profile()

    def run() -> None:
        problem = profile.wrapped("building", task.problem)()
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "run"
            ws.connect(problem, way.a, way.b, way.threshold, store=store, progress=False)
            profile.wrapped("page", ws.write_report)(store)

    with profile.watching():
        _, cost = timed(run)
    seconds = profile.seconds | {REST: cost.cpu - sum(profile.seconds.values()), "whole": cost.cpu}
    return [
        {
            "phase": phase,
            "percent": round(100 * own / cost.cpu, 1),
            "CPU seconds": round(own, 4),
            "calls": profile.calls.get(phase, 1),
        }
        for phase, own in seconds.items()
    ]
