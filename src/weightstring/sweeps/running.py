"""``sweep``: train the ends, connect all pairs in one batch, keep a table (Section V)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.descent import Optimizers
from weightstring.errors import InvalidSetting
from weightstring.pairs import Pair, Settings, by_engine, connect_all
from weightstring.path import Unresolved, bound_names, only_quantity
from weightstring.problem import ModuleProblem
from weightstring.progress import Display
from weightstring.result import Result
from weightstring.search import Greedy, MaxBeads, StopRule, Strategy
from weightstring.store import RunDirectory
from weightstring.sweeps.directory import SweepDirectory
from weightstring.sweeps.ends import Nursery, Trained
from weightstring.sweeps.plan import MAX_BEADS, Ends, Plan, Variant, shown
from weightstring.sweeps.rows import line_barriers, row_of, stands
from weightstring.sweeps.summary import Summary, summarised
from weightstring.sweeps.table import Row
from weightstring.sweeps.trivial import trivial_levels

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
    problem: ModuleProblem | Mapping[str, ModuleProblem],
    thresholds: Sequence[float],
    *,
    pairs: int = 32,
    bind: str = "loss",
    ends: Ends = "carried",
    seed: int = 0,
    tries: int = 20,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule = DEFAULT_STOP,
    store: str | os.PathLike[str] | None = None,
    progress: bool | Display | None = None,
    variants: Sequence[Variant] | None = None,
) -> Sweep:
    """Connect many pairs of networks at several thresholds, all in shared batches.

    Args:
        problem: the loss, or several by name, such as networks of different widths.
        thresholds: L0; at each the ends are networks that reach it.
        pairs: at each threshold, of each problem.
        bind: what thresholds bind, in the words of :func:`weightstring.connect`, but one quantity: ``"evaluate"`` or
            ``"loss"``, ``"train"``, or a metric such as ``"error"``.
        ends: ``"carried"``: a network for a lower threshold goes on from the same seed's for a higher one;
            ``"afresh"``: each starts from its random model.
        seed: of the first network; pair i at a threshold has the i-th two networks that reach it.
        tries: networks trained at most for each one needed; those that fail are counted and replaced.
        strategy: how to search.
        stop: when to stop without a string; holds for each pair.
        store: a directory. What is there already is used: a sweep that was interrupted goes on, more thresholds or
            pairs compute what is missing, and the row of a run that was resumed is made again.
        progress: True or False; by default only on a terminal.
        variants: what the problems are called and how to build them again; by default by their names alone.

    Raises:
        InvalidSetting: a setting is unknown or out of range; nothing was written.
        InvalidRun: ``store`` holds another sweep, or a damaged one.
        RunLocked: another process sweeps there.
        StoreFailed: the disk refuses.

    >>> from weightstring.tasks import load_task
    >>> swept = sweep(load_task("polynomial"), [0.05], pairs=2)
    >>> [row.outcome for row in swept.rows], swept.summary[0].connected.value
    (['connected', 'connected'], 1.0)
    """
    plan = Plan(_numbers(thresholds), pairs, bind, ends, seed, tries, strategy, stop)
    problems = _problems(problem)
    plan = replace(plan, bind=_quantity(problems, plan.bind))
    forms = _forms(problems, variants)
    if store is None:
        return _swept(problems, forms, plan, None, progress)
    directory = SweepDirectory(Path(store))
    with directory.locked():
        directory.begin(plan, problems, list(forms.values()))
        return _swept(problems, forms, plan, directory, progress)


def _numbers(thresholds: Any) -> tuple[float, ...]:
    try:
        if isinstance(thresholds, str | bytes):  # which have parts too
            raise TypeError
        return tuple(map(float, thresholds))
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(
            f"sweep(thresholds={shown(thresholds)}): give positive numbers, such as [0.1, 0.01]"
        ) from None


def _quantity(problems: Mapping[str, ModuleProblem], bind: str) -> str:
    """What the threshold binds, by the one name that all problems measure it by."""
    needed = "networks of a sweep are trained to"
    names = {name: only_quantity(bound_names(bind, own.quantities), needed) for name, own in problems.items()}
    if len(set(names.values())) > 1:
        told = ", ".join(f"{quantity} of {name}" for name, quantity in names.items())
        raise InvalidSetting(f"sweep(bind={bind!r}): binds {told:.200}; give the name of a quantity that all measure")
    return next(iter(names.values()))


def _problems(problem: object) -> dict[str, ModuleProblem]:
    """The problems by name."""
    problems: dict[str, Any] = dict(problem) if isinstance(problem, Mapping) else {"all": problem}
    if not problems:
        raise InvalidSetting("sweep(problem={}): give at least one problem")
    for own in problems.values():
        if not isinstance(own, ModuleProblem):
            raise InvalidSetting(f"sweep(problem={shown(own)}): give a ws.ModuleProblem, or several by name")
        Optimizers(own.recipe)  # What torch.optim refuses, it refuses before anything is written.
    return problems


def _forms(problems: Mapping[str, ModuleProblem], variants: object) -> dict[str, Variant]:
    """What the problems are called, by name and in their order."""
    given = [Variant(name) for name in problems] if variants is None else variants
    if not isinstance(given, Sequence) or not all(isinstance(form, Variant) for form in given):
        raise InvalidSetting(f"sweep(variants={shown(given)}): give a list of Variant, one for each problem")
    forms: dict[str, Variant] = {form.name: form for form in given}
    if forms.keys() != problems.keys():
        raise InvalidSetting(
            f"sweep(variants=...): named {shown(list(forms))}, but the problems are {shown(list(problems))}; "
            "give one for each problem"
        )
    if len({PurePath(name) for name in forms}) < len(forms):
        raise InvalidSetting(f"sweep: variants named {shown(list(forms))}: two have one folder; give other names")
    return forms


def _swept(
    problems: Mapping[str, ModuleProblem],
    forms: Mapping[str, Variant],
    plan: Plan,
    directory: SweepDirectory | None,
    progress: bool | Display | None,
) -> Sweep:
    """All problems, one after the other; what each gives is kept before the next begins."""
    known = {} if directory is None else {_place(row): row for row in directory.known()}
    failed = {} if directory is None else directory.failed()
    trivial = {} if directory is None else directory.trivial()
    for name, own in problems.items():
        engine, threads = ("", None) if directory is None else directory.arithmetic(name)
        with by_engine(own, engine or None, threads):
            found, without, interrupted = _of_variant(own, forms[name], plan, directory, progress, known)
            if directory is not None:
                trivial[name] = trivial_levels(own, plan.quantity)
        known |= {_place(row): row for row in found}
        failed |= {(name, level): seeds for level, seeds in without.items()}
        if directory is not None:
            directory.write_trivial(trivial)
            directory.write_failed(failed)
            directory.write_table(_in_order(known))
        if interrupted:
            raise KeyboardInterrupt
    return Sweep(plan, tuple(_in_order(known)), failed)


def _in_order(known: Mapping[tuple[str, float, int], Row]) -> list[Row]:
    """Rows by variant as these came, thresholds falling, pairs rising."""
    order = {name: i for i, name in enumerate(dict.fromkeys(variant for variant, _, _ in known))}
    return [known[place] for place in sorted(known, key=lambda own: (order[own[0]], -own[1], own[2]))]


def _place(row: Row) -> tuple[str, float, int]:
    return row.variant, row.threshold, row.pair


def _of_variant(
    problem: ModuleProblem,
    variant: Variant,
    plan: Plan,
    directory: SweepDirectory | None,
    progress: bool | Display | None,
    known: Mapping[tuple[str, float, int], Row],
) -> tuple[list[Row], dict[float, tuple[int, ...]], bool]:
    """All pairs of one problem, at all thresholds, in one batch; those whose rows stand are left out."""
    nursery = Nursery(problem, plan, None if directory is None else directory.ends(variant.name))
    trained = {level: nursery.at(level, 2 * plan.pairs) for level in plan.levels}
    asked: list[Pair] = []
    places: list[tuple[float, int, Trained]] = []
    for level, own in trained.items():
        for number in range(len(own.seeds) // 2):
            run = None if directory is None else RunDirectory(directory.run(variant.name, level, number))
            if stands(known.get((variant.name, level, number)), run):
                continue
            a, b = own.thetas[2 * number], own.thetas[2 * number + 1]
            asked.append(Pair(a, b, level, run, f"{variant.name}, threshold {level:g}, pair {number}: "))
            places.append((level, number, own))
    settings = Settings(plan.strategy, plan.stop, plan.bind, None, None, plan.seed, variant.task)
    results = connect_all(problem, asked, settings, progress) if asked else []
    whole = [index for index, result in enumerate(results) if not _interrupted(result)]
    lines = line_barriers(problem, [asked[index] for index in whole])
    rows = [
        row_of(problem, variant, plan, results[index], line, *places[index], directory)
        for index, line in zip(whole, lines, strict=True)
    ]
    return rows, {level: own.failed for level, own in trained.items()}, len(whole) < len(results)


def _interrupted(result: Result) -> bool:
    return isinstance(result.outcome, Unresolved) and result.outcome.reason == "interrupted"
