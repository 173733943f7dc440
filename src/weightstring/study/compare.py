"""All strategies on one pair: what each finds, how long its string is, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import Unresolved
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.computing import arithmetic
from weightstring.runs.result import Result
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Pair, Settings, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_each
from weightstring.search import MaxBeads, Shortened, StopRule, Strategy
from weightstring.search.strategies import compared as registered
from weightstring.store import Store, StoreLike, opened
from weightstring.store.provenance import Provenance
from weightstring.store.records import TaskRef

DEFAULT_STOP = MaxBeads(64)


@dataclass(frozen=True, repr=False)
class Compared:
    """One strategy's string and its price.

    Args:
        name: what the strategy is called here.
        result: the search, shortening included.
        normalized_before: normalized length before shortening; that of the string as it is where there was nothing
            to shorten.
    """

    name: str
    result: Result
    normalized_before: float

    def __repr__(self) -> str:
        length = f"normalized length {self.result.string.normalized_length:.4f}"
        return f"<Compared: {self.name}: {self.verdict}, {length}, {self.result.steps} gradient steps>"

    @property
    def verdict(self) -> str:
        """``connected``, or why not."""
        outcome = self.result.outcome
        return outcome.reason if isinstance(outcome, Unresolved) else outcome.kind

    def row(self) -> dict[str, str | int | float]:
        """Its numbers by name; maxima are *sampled*."""
        string, values = self.result.string, self.result.string.curve.values
        maxima = {name: string.barrier("max", name) for name in ("loss", "train_loss") if name in values}
        return {
            "strategy": self.name,
            "verdict": self.verdict,
            **maxima,
            "beads": len(string),
            "gradients": self.result.steps,
            "evaluations": self.result.evaluations,
            "seconds": self.result.seconds,
            "length_before": self.normalized_before,
            "length": string.normalized_length,
        }


@undisturbed
def compare(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    threshold: float | None = None,
    *,
    strategies: Mapping[str, Strategy[Any]] | None = None,
    shorten: bool = True,
    stop: StopRule = DEFAULT_STOP,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    store: StoreLike | None = None,
    seed: int = 0,
    progress: bool | Display | None = False,
    task: TaskRef | None = None,
    provenance: Provenance | None = None,
) -> list[Compared]:
    """Connect one pair by several strategies, one after the other, or side by side on a dask cluster.

    Args:
        problem: the loss.
        a: one end θ (P,).
        b: the other end.
        threshold: L0; by default the larger of the ends' own values.
        strategies: by name; by default all that are registered, the constrained one under every constraint.
        shorten: whether each string is shortened afterwards, at a price that counts.
        stop: holds for each by itself.
        bind: what the threshold binds; see :func:`weightstring.connect`, as for all that follows.
        recipe: how beads descend.
        executor: what runs the jobs.
        store: a directory or another store, where each strategy gets a run of its own, by its name; the same
            call goes on there.
        seed: of everything drawn at random.
        progress: what is shown of each search, one after the other; see :func:`weightstring.connect`.
        task: recorded in the manifests.
        provenance: where the models come from, recorded likewise.

    Raises:
        EndAboveThreshold, InvalidCheckpoint, InvalidSetting, InvalidRun, RunLocked, StoreFailed: see
            :func:`weightstring.connect`.
        KeyboardInterrupt: Ctrl-C; what was found is in ``store``.

    >>> from weightstring import Greedy
    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> [one.verdict for one in compare(ring, *ring.ends, 0.1, strategies={"greedy": Greedy()})]
    ['connected']
    """
    chosen = registered() if strategies is None else strategies
    runs = {name: None if store is None else _inside(opened(store), name) for name in chosen}
    pairs = {
        name: Pair(a=a, b=b, threshold=threshold, directory=run, provenance=provenance) for name, run in runs.items()
    }
    compared = []
    # All by one engine, and on going on by the same.
    with arithmetic(problem, list(pairs.values())):
        settings = Settings(
            stop=stop, bind=bind, recipe=recipe, executor=executor, seed=seed, progress=progress, task=task
        )
        asked = [
            ([pairs[name]], replace(settings, strategy=Shortened(strategy) if shorten else strategy))
            for name, strategy in chosen.items()
        ]
        for name, (result,) in zip(chosen, connect_each(problem, asked), strict=True):
            if interrupted(result):
                raise KeyboardInterrupt
            string = result.string
            before = string.normalized_length
            if result.length_before is not None and string.distance > 0:
                before = result.length_before / string.distance
            compared.append(Compared(name, result, before))
    return compared


def _inside(store: Store, name: str) -> Store:
    if name in ("", ".", "..") or Path(name).name != name:
        raise InvalidSetting(f"strategies: {name!r:.80} names no folder in {store}: choose a plain name")
    return store.inside(name)
