"""``sweep``: train the ends, connect all pairs in one batch, keep a table (Section V)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import Objective
from weightstring.protocol import Recipe
from weightstring.runs.align_step import align_pair
from weightstring.runs.computing import by_engine
from weightstring.runs.progress import Display
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Pair, Settings, Workers
from weightstring.runs.stages import connect_all
from weightstring.search import Greedy, MaxBeads, StopRule, Strategy
from weightstring.store import RunDirectory
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.ends import Given, Nursery, Trained
from weightstring.study.sweep.forms import Form, Sweepable, forms_of
from weightstring.study.sweep.plan import MAX_BEADS, PAIRS, Ends, Plan, Variant, shown
from weightstring.study.sweep.rows import line_barriers, row_of, stands
from weightstring.study.sweep.summary import Summary, summarised
from weightstring.study.sweep.table import Row
from weightstring.study.sweep.trivial import trivial_levels

DEFAULT_STRATEGY = Greedy()
DEFAULT_STOP = MaxBeads(MAX_BEADS)


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Args:
        plan: what was asked.
        rows: one a pair.
        failed: for each variant and threshold, seeds of networks that never reached it.
    """

    plan: Plan
    rows: tuple[Row, ...]
    failed: Mapping[tuple[str, float], tuple[int, ...]]

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
        align: bring the second end of each pair to its symmetric copy nearest the first, see
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
    plan = Plan(_numbers(thresholds), count, bind, how, seed, tries, strategy, stop, align)
    forms = forms_of(problem, variants, recipe, checkpoints)
    made = max(len(form.checkpoints or ()) // 2 for form in forms)
    if made and (pairs is None or made < plan.pairs):
        plan = replace(plan, pairs=made)
    plan = replace(plan, bind=_quantity({form.name: form.problem for form in forms}, plan.bind))
    if store is None:
        return _swept(forms, plan, executor, None, progress)
    directory = SweepDirectory(Path(store))
    with directory.locked():
        directory.begin(plan, forms)
        return _swept(forms, plan, executor, directory, progress)


def _numbers(thresholds: Any) -> tuple[float, ...]:
    try:
        if isinstance(thresholds, str | bytes):  # which have parts too
            raise TypeError
        return tuple(map(float, thresholds))
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(
            f"sweep(thresholds={shown(thresholds)}): give positive numbers, such as [0.1, 0.01]"
        ) from None


def _quantity(problems: Mapping[str, Sweepable], bind: str) -> str:
    """What the threshold binds, by the one name that all problems measure it by."""
    needed = "networks of a sweep are trained to"
    names = {name: Objective(own, bind).quantity(needed) for name, own in problems.items()}
    if len(set(names.values())) > 1:
        told = ", ".join(f"{quantity} of {name}" for name, quantity in names.items())
        raise InvalidSetting(f"sweep(bind={bind!r}): binds {told:.200}; give the name of a quantity that all measure")
    return next(iter(names.values()))


def _swept(
    forms: Sequence[Form],
    plan: Plan,
    executor: Workers,
    directory: SweepDirectory | None,
    progress: bool | Display | None,
) -> Sweep:
    """All problems, one after the other; what each gives is kept before the next begins."""
    known = {} if directory is None else {_place(row): row for row in directory.known()}
    failed = {} if directory is None else directory.failed()
    trivial = {} if directory is None else directory.trivial()
    for form in forms:
        name, own = form.name, form.problem
        engine, threads = ("", None) if directory is None else directory.arithmetic(name)
        with by_engine(own, engine or None, threads):
            found, without, stopped = _of_form(form, plan, executor, directory, progress, known)
            if directory is not None:
                trivial[name] = trivial_levels(own, plan.quantity)
        known |= {_place(row): row for row in found}
        failed |= {(name, level): seeds for level, seeds in without.items()}
        if directory is not None:
            directory.write_trivial(trivial)
            directory.write_failed(failed)
            directory.write_table(_in_order(known))
        if stopped:
            raise KeyboardInterrupt
    return Sweep(plan, tuple(_in_order(known)), failed)


def _in_order(known: Mapping[tuple[str, float, int], Row]) -> list[Row]:
    """Rows by variant as these came, thresholds falling, pairs rising."""
    order = {name: i for i, name in enumerate(dict.fromkeys(variant for variant, _, _ in known))}
    return [known[place] for place in sorted(known, key=lambda own: (order[own[0]], -own[1], own[2]))]


def _place(row: Row) -> tuple[str, float, int]:
    return row.variant, row.threshold, row.pair


def _of_form(
    form: Form,
    plan: Plan,
    executor: Workers,
    directory: SweepDirectory | None,
    progress: bool | Display | None,
    known: Mapping[tuple[str, float, int], Row],
) -> tuple[list[Row], dict[float, tuple[int, ...]], bool]:
    """All pairs of one problem, at all thresholds, in one batch; those whose rows stand are left out."""
    problem, name = form.problem, form.name
    settings = Settings(
        strategy=plan.strategy,
        stop=plan.stop,
        bind=plan.bind,
        recipe=form.recipe,
        executor=executor,
        seed=plan.seed,
        progress=progress,
        task=form.variant.task,
    )
    trained = dict(_ends(form, plan, directory))
    asked: list[Pair] = []
    places: list[tuple[float, int, Trained]] = []
    for level, own in trained.items():
        for number in range(len(own.seeds) // 2):
            run = None if directory is None else RunDirectory(directory.run(name, level, number))
            if stands(known.get((name, level, number)), run):
                continue
            a, b = own.thetas[2 * number], own.thetas[2 * number + 1]
            told = f"{name}, threshold {level:g}, pair {number}: "
            pair = Pair(a=a, b=b, threshold=level, directory=run, name=told, align=plan.align)
            asked.append(align_pair(problem, pair, settings))
            places.append((level, number, own))
    results = connect_all(problem, asked, settings) if asked else []
    whole = [index for index, result in enumerate(results) if not interrupted(result)]
    lines = line_barriers(problem, [asked[index] for index in whole])
    rows = [
        row_of(problem, form.variant, plan, results[index], line, *places[index], directory)
        for index, line in zip(whole, lines, strict=True)
    ]
    return rows, {level: own.failed for level, own in trained.items()}, len(whole) < len(results)


def _ends(form: Form, plan: Plan, directory: SweepDirectory | None) -> Iterator[tuple[float, Trained]]:
    """The networks at each threshold: those given, or trained ones."""
    source: Given | Nursery
    if form.checkpoints is not None:
        source = Given(form.problem, plan, form.checkpoints)
    else:
        source = Nursery(form.problem, plan, None if directory is None else directory.ends(form.name))
    for level in plan.levels:
        yield level, source.at(level, 2 * plan.pairs)
