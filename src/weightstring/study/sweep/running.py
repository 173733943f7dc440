"""``sweep``: train the ends, connect all pairs in one batch, keep a table (Section V)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.notebook import Viewable
from weightstring.path import Objective
from weightstring.recipe import Recipe
from weightstring.runs.align_step import align_pair
from weightstring.runs.computing import by_engine
from weightstring.runs.progress import Display
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Pair, Workers
from weightstring.runs.stages import connect_all
from weightstring.search import Greedy, MaxBeads, StopRule, Strategy
from weightstring.store import RunDirectory
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import EndTrainer, GivenEnds
from weightstring.study.sweep.forms import Form, Sweepable, forms_of
from weightstring.study.sweep.plan import MAX_BEADS, PAIRS, Ends, Plan, Variant, shown
from weightstring.study.sweep.rows import Place, SweepPair, line_barriers, row_of, stands
from weightstring.study.sweep.summary import Summary, summarised
from weightstring.study.sweep.table import Row
from weightstring.study.sweep.trivial import trivial_levels

DEFAULT_STRATEGY = Greedy()
DEFAULT_STOP = MaxBeads(MAX_BEADS)


@dataclass(frozen=True, repr=False)
class Sweep(Viewable):
    """What a sweep found.

    Args:
        plan: what was asked.
        rows: one a pair.
        failed: for each variant and threshold, seeds of networks that never reached it.
    """

    plan: Plan
    rows: tuple[Row, ...]
    failed: Mapping[tuple[str, float], tuple[int, ...]]

    def __str__(self) -> str:
        connected = sum(row.connected for row in self.rows)
        levels = ", ".join(f"{level:g}" for level in self.plan.levels)
        return f"a sweep over thresholds {levels}: {connected} of {len(self.rows)} pairs connected"

    @property
    def summary(self) -> tuple[Summary, ...]:
        """Means and shares with their intervals, one for each variant and threshold."""
        return summarised(self.rows, self.failed, self.plan.seed)


@undisturbed
def sweep(
    problem: Sweepable | Mapping[str, Sweepable],
    thresholds: Sequence[float],
    *,
    pairs: int | None = None,
    bind: str = "loss",
    ends: Ends = "carried",
    checkpoints: Sequence[Theta] | Mapping[str, Sequence[Theta]] | None = None,
    align: bool = False,
    seed: int = 0,
    tries: int = 20,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    recipe: Recipe | Mapping[str, Recipe | None] | None = None,
    executor: Workers = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool | Display | None = None,
    variants: Sequence[Variant] | None = None,
) -> Sweep:
    """Connect many pairs of networks at several thresholds, all in shared batches.

    Args:
        problem: the loss, or several by name, such as networks of different widths.
        thresholds: L0; at each the ends are networks that reach it.
        pairs: at each threshold, of each problem; 32, or as many as the checkpoints make, unless given.
        bind: what thresholds bind, in the words of :func:`weightstring.connect`, but one quantity: ``"evaluate"`` or
            ``"loss"``, ``"train"``, or a metric such as ``"error"``.
        ends: ``"carried"``: a network for a lower threshold goes on from the same seed's for a higher one;
            ``"afresh"``: each starts from its random model.
        checkpoints: models in place of trained networks, each (P,); of several problems by name. Pair i at a threshold
            has the i-th two of them that reach it, in their order: no model is in two pairs.
        align: bring the second end of each pair to the symmetric copy of the lowest line from the first, see
            :func:`weightstring.align`.
        seed: of the first network; pair i at a threshold has the i-th two networks that reach it.
        tries: networks trained at most for each one needed; those that fail are counted and replaced.
        strategy: how to search.
        stop: when to stop without a string; holds for each pair.
        recipe: how beads descend, of several problems also by name; as a problem has it by default. Networks are
            trained as the problem has it in any case, so that two recipes search between the same ends.
        executor: what runs the jobs; see :func:`weightstring.connect`.
        store: a directory. What is there already is used: a sweep that was interrupted goes on, more thresholds or
            pairs compute what is missing, further checkpoints come after those known, and the row of a run that was
            resumed is made again.
        progress: True or False; by default only on a terminal.
        variants: what the problems are called and how to build them again; by default by their names alone.

    Raises:
        InvalidSetting: a setting is unknown or out of range; nothing was written.
        InvalidCheckpoint: a checkpoint is not its problem's.
        Unsupported: ``align``, and the symmetry of a module cannot be found.
        InvalidRun: ``store`` holds another sweep, or a damaged one.
        RunLocked: another process sweeps there.
        StoreFailed: the disk refuses.

    >>> from weightstring.tasks import load_task
    >>> swept = sweep(load_task("polynomial"), [0.05], pairs=2)
    >>> [row.outcome for row in swept.rows], swept.summary[0].connected.value
    (['connected', 'connected'], 1.0)
    """
    if ends == "given" and checkpoints is None:
        raise InvalidSetting("sweep(ends='given'): give the models, checkpoints=[...]")
    how = ends if checkpoints is None else "given"
    count = PAIRS if pairs is None else pairs
    plan = Plan(_numbers(thresholds), count, how, tries, align, strategy=strategy, stop=stop, bind=bind, seed=seed)
    forms = forms_of(problem, variants, recipe, checkpoints)
    made = max(len(form.checkpoints or ()) // 2 for form in forms)
    if made and (pairs is None or made < plan.pairs):
        plan = replace(plan, pairs=made)
    plan = replace(plan, bind=_quantity(forms, plan.bind))
    directory = None if store is None else SweepDirectory(Path(store))
    with nullcontext() if directory is None else directory.locked():
        if directory is not None:
            directory.begin(plan, forms)
        session = _Session.of(plan, directory, executor, progress)
        for form in forms:
            session.sweep(form)
    return Sweep(plan, session.rows_in_order, session.failed)


def _numbers(thresholds: Any) -> tuple[float, ...]:
    try:
        if isinstance(thresholds, str | bytes):  # which have parts too
            raise TypeError
        return tuple(map(float, thresholds))
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(
            f"sweep(thresholds={shown(thresholds)}): give positive numbers, such as [0.1, 0.01]"
        ) from None


def _quantity(forms: Sequence[Form], bind: str) -> str:
    """What the threshold binds, by the one name that all problems measure it by."""
    purpose = "networks of a sweep are trained to"
    names = {form.name: Objective(form.problem, bind).quantity(purpose) for form in forms}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{quantity} of {name}" for name, quantity in names.items())
        raise InvalidSetting(f"sweep(bind={bind!r}): binds {listed:.200}; give the name of a quantity that all measure")
    return next(iter(names.values()))


@dataclass
class _Session:
    """One call of a sweep: what it works with, and what is known so far."""

    plan: Plan
    directory: SweepDirectory | None
    executor: Workers
    progress: bool | Display | None
    rows: dict[Place, Row]
    failed: dict[tuple[str, float], tuple[int, ...]]
    trivial: dict[str, dict[str, float | None]]

    @classmethod
    def of(
        cls, plan: Plan, directory: SweepDirectory | None, executor: Workers, progress: bool | Display | None
    ) -> _Session:
        """With what earlier sweeps in the directory found."""
        if directory is None:
            return cls(plan, None, executor, progress, {}, {}, {})
        rows = {Place.of(row): row for row in directory.known()}
        return cls(plan, directory, executor, progress, rows, directory.failed(), directory.trivial())

    def sweep(self, form: Form) -> None:
        """Connect all pairs of one problem; what that gives is kept, also where it is interrupted.

        Raises:
            KeyboardInterrupt: Ctrl-C ended a search.
        """
        engine, threads = ("", None) if self.directory is None else self.directory.arithmetic(form.name)
        with by_engine(form.problem, engine or None, threads):
            finished = self._connect(form)
            if self.directory is not None and form.name not in self.trivial:
                self.trivial[form.name] = trivial_levels(form.problem, self.plan.bind)
        if self.directory is not None:
            self.directory.write_trivial(self.trivial)
            self.directory.write_failed(self.failed)
            self.directory.write_table(self.rows_in_order)
        if not finished:
            raise KeyboardInterrupt

    @property
    def rows_in_order(self) -> tuple[Row, ...]:
        """By variant as these came, thresholds falling, pairs rising."""
        order = {name: i for i, name in enumerate(dict.fromkeys(place.variant for place in self.rows))}
        places = sorted(self.rows, key=lambda place: (order[place.variant], -place.threshold, place.pair))
        return tuple(self.rows[place] for place in places)

    def _connect(self, form: Form) -> bool:
        """All pairs at all thresholds in one batch, but those whose rows stand; whether none was interrupted."""
        settings = replace(
            self.plan, recipe=form.recipe, executor=self.executor, progress=self.progress, task=form.variant.task
        )
        pairs = [
            replace(each, pair=align_pair(form.problem, each.pair, settings))
            for each in self._pairs(form)
            if not stands(self.rows.get(each.place), each.pair.directory)
        ]
        results = connect_all(form.problem, [each.pair for each in pairs], settings) if pairs else []
        over = [(each, result) for each, result in zip(pairs, results, strict=True) if not interrupted(result)]
        lines = line_barriers(form.problem, [each.pair for each, _ in over])
        for (each, result), line in zip(over, lines, strict=True):
            self.rows[each.place] = row_of(form.problem, self.plan, each, result, line)
        return len(over) == len(results)

    def _pairs(self, form: Form) -> Iterator[SweepPair]:
        """All pairs of networks of a problem, given or trained."""
        networks: GivenEnds | EndTrainer
        if form.checkpoints is not None:
            networks = GivenEnds(form.problem, self.plan, form.checkpoints)
        else:
            folder = None if self.directory is None else self.directory.ends(form.name)
            networks = EndTrainer(form.problem, self.plan, folder)
        for level in self.plan.levels:
            reached = networks.at(level, 2 * self.plan.pairs)
            self.failed[form.name, level] = reached.failed
            for number in range(len(reached.seeds) // 2):
                first, last = 2 * number, 2 * number + 1
                place = Place(form.name, level, number)
                pair = Pair(
                    a=reached.thetas[first],
                    b=reached.thetas[last],
                    threshold=level,
                    directory=None if self.directory is None else RunDirectory(self.directory.run(*place)),
                    name=f"{form.name}, threshold {level:g}, pair {number}: ",
                    align=self.plan.align,
                )
                yield SweepPair(place, pair, (reached.seeds[first], reached.seeds[last]))
