"""Before the search: every pair is checked, then each run begins, or goes on where an earlier session left it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from msgspec.structs import replace as replace_fields

from weightstring.arrays import Theta
from weightstring.codec import none_as_infinity
from weightstring.descent import Optimizers
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.failures import users_part
from weightstring.path import Objective, Unresolved, check_theta, measure_models, no_worse
from weightstring.path.objective import Noted
from weightstring.protocol import LossProblem
from weightstring.runs.computing import Stopwatch, computing, first_of
from weightstring.runs.manifest import earlier, manifest_of, names_of, require_same
from weightstring.runs.recording import from_run
from weightstring.runs.result import Result
from weightstring.runs.run import Run
from weightstring.runs.settings import Pair, Settings
from weightstring.search import Bead
from weightstring.search.chain import beads_of
from weightstring.store import Manifest

STUCK = ("depth", "descent_failed", "stalled")
"""Reasons after which the curvature across the string is computed where the search is stuck."""


def check(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> None:
    """Refuse what could not be searched, before anything is computed or written.

    Raises:
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: the problem does not measure what is bound, or torch.optim refuses the recipe.
    """
    Objective(problem, settings.bind)
    for pair in pairs:
        check_theta(problem, pair.a, f"{pair.name}the first end")
        check_theta(problem, pair.b, f"{pair.name}the second end")
        for number, theta in enumerate(pair.through, 1):
            check_theta(problem, theta, f"{pair.name}waypoint {number}")
    Optimizers(settings.recipe or problem.recipe)


def prepare(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> list[Run]:
    """The runs of all pairs, with the heights of their ends and their thresholds.

    Raises:
        EndAboveThreshold: an end is higher than its threshold.
        InvalidSetting: a threshold is not finite, or the strategy takes no waypoints where there are some.
    """
    objective, manifests = Objective(problem, settings.bind), [earlier(problem, pair) for pair in pairs]
    watch = Stopwatch(problem.device)
    measured = _measured(objective, pairs)
    seconds = watch.seconds / sum(map(len, measured)) if pairs else 0.0
    computed = computing(problem, settings, first_of(manifests), len(pairs), seconds)
    runs = [
        Run(
            pair=pair,
            settings=settings,
            objective=objective,
            computing=computed,
            manifest=manifest,
            ends=(first, last),
            threshold=_threshold(pair, (first, last), manifest, settings),
            through=tuple(through),
        )
        for pair, (first, *through, last), manifest in zip(pairs, measured, manifests, strict=True)
    ]
    for run in runs:
        _require_through(run)
    return runs


def begin(runs: Sequence[Run], locks: ExitStack) -> list[Run]:
    """The runs with their directories written; of an earlier session's, its ends and its result where that is final.

    Raises:
        InvalidRun: a directory holds another run.
        RunLocked: another process writes to one.
        StoreFailed: the disk refuses.
    """
    # The first one last: a run that holds another has begun when all of it has.
    return [_begun(run, locks) for run in reversed(runs)][::-1]


def _begun(run: Run, locks: ExitStack) -> Run:
    directory, begun = run.directory, run.manifest
    if directory is None:
        return _with_models(run, [bead.theta.clone() for bead in (*run.ends, *run.through)])  # the caller's may change
    locks.enter_context(directory.locked())
    wanted = manifest_of(run)
    if begun is None:
        through = [bead.theta for bead in run.through]
        directory.begin(wanted, [end.theta for end in run.ends], run.pair.alignment, through)
    else:
        require_same(directory, begun, wanted)
        certify = wanted.certify or begun.certify
        amended = replace_fields(begun, command=wanted.command, certify=certify, disprove=wanted.disprove)
        if amended != begun:
            directory.amend(amended)
        # The heights that the run began with, bit for bit.
        first, last = (replace(end, value=value) for end, value in zip(run.ends, begun.end_losses, strict=True))
        recorded = [none_as_infinity(waypoint.loss) for waypoint in begun.through]
        waypoints = (replace(bead, value=value) for bead, value in zip(run.through, recorded, strict=True))
        run = replace(run, ends=(first, last), through=tuple(waypoints))
    kept = [theta.to(run.problem.device) for theta in (*directory.ends(), *directory.through())]
    run = _with_models(run, kept)
    if not directory.finished:
        return run
    result = from_run(directory, run.problem)
    return run.with_result(result, read_back=True) if _is_final(result) else replace(run, line=result.line)


def _with_models(run: Run, models: Sequence[Theta]) -> Run:
    """The run with these in place of its ends and waypoints: large ones that lie on disk are mapped."""
    first, last, *through = (
        replace(bead, theta=theta) for bead, theta in zip((*run.ends, *run.through), models, strict=True)
    )
    return replace(run, ends=(first, last), through=tuple(through))


def _is_final(result: Result) -> bool:
    """Whether going on could change nothing; where a limit ended the search, a higher one could."""
    outcome = result.outcome
    if isinstance(outcome, Unresolved) and outcome.reason in STUCK:
        evidence = outcome.evidence  # without either, the session ended while the curvature was computed
        return evidence.curvature is not None or evidence.no_curvature is not None
    return not isinstance(outcome, Unresolved) or outcome.reason == "higher_sample"


def _measured(objective: Objective, pairs: Sequence[Pair]) -> list[list[Bead]]:
    """The models of all pairs, waypoints between ends, with their heights, measured together."""
    models = [(pair.a, *pair.through, pair.b) for pair in pairs]
    noted = Noted(objective)
    heights = measure_models(noted, [theta for given in models for theta in given])
    known = iter(zip(heights, noted.rows, strict=True))
    return [
        [Bead(name, theta.detach(), *next(known)) for name, theta in zip(names_of(len(given) - 2), given, strict=True)]
        for given in models
    ]


def _require_through(run: Run) -> None:
    """Refuse a strategy whose first string does not pass through the waypoints."""
    if not run.through:
        return
    with users_part(lambda: "the strategy before round 1"):
        state = run.settings.strategy.start(run.query)
    passed = [bead.theta for bead in beads_of(state.string.chain)]
    if not all(any(theta is bead.theta for theta in passed) for bead in run.through):
        raise InvalidSetting(
            f"{run.pair.name}through: {type(run.settings.strategy).__name__} begins with the segment between the ends; "
            "choose a strategy that begins with any string, such as ws.Greedy()"
        )


def _threshold(pair: Pair, ends: tuple[Bead, Bead], manifest: Manifest | None, settings: Settings) -> float:
    """L0 of a pair: as asked, as its run began, or the higher end's."""
    heights = (ends[0].value, ends[1].value)
    given = manifest.threshold if manifest and pair.threshold is None else pair.threshold
    threshold = max(heights) if given is None else float(given)
    if given is not None and not math.isfinite(threshold):
        raise InvalidSetting(
            f"{pair.name}threshold={given}: must be finite; leave it out for the larger end's own value"
        )
    if not settings.strategy.frees_ends and not all(no_worse(height, threshold) for height in heights):
        digits = 6 if float(f"{max(heights):.6g}") > threshold else 17  # rounded, it must still be seen to lie above
        raise EndAboveThreshold(
            f"{pair.name}threshold {threshold!r} on {settings.bind}: the ends lie at A {heights[0]:.{digits}g}, "
            f"B {heights[1]:.{digits}g}, so no path can stay under it; raise it, leave it out for the larger end's "
            "own value, or train the higher end further",
            heights,
            threshold,
        )
    return threshold
