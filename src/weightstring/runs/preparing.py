"""Before the search: every pair is checked, then each run begins, or goes on where an earlier session left it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from msgspec.structs import replace as replace_fields

from weightstring.descent import Optimizers
from weightstring.errors import EndAboveThreshold, InvalidSetting
from weightstring.path import Objective, Unresolved, check_theta, measure_models, no_worse
from weightstring.path.objective import Noted
from weightstring.protocol import LossProblem
from weightstring.runs.computing import Stopwatch, computing, first_of
from weightstring.runs.manifest import earlier, manifest_of, require_same
from weightstring.runs.recording import from_run
from weightstring.runs.result import Result
from weightstring.runs.run import Run
from weightstring.runs.settings import Pair, Settings
from weightstring.search import Bead
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
    Optimizers(settings.recipe or problem.recipe)


def prepare(problem: LossProblem, pairs: Sequence[Pair], settings: Settings) -> list[Run]:
    """The runs of all pairs, with the heights of their ends and their thresholds.

    Raises:
        EndAboveThreshold: an end is higher than its threshold.
        InvalidSetting: a threshold is not finite.
    """
    objective, manifests = Objective(problem, settings.bind), [earlier(problem, pair) for pair in pairs]
    watch = Stopwatch(problem.device)
    measured = _measured(objective, pairs)
    seconds = watch.seconds / (2 * len(pairs)) if pairs else 0.0
    computed = computing(problem, settings, first_of(manifests), len(pairs), seconds)
    return [
        Run(
            pair=pair,
            settings=settings,
            objective=objective,
            computing=computed,
            manifest=manifest,
            ends=ends,
            threshold=_threshold(pair, ends, manifest, settings),
        )
        for pair, ends, manifest in zip(pairs, measured, manifests, strict=True)
    ]


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
        return run
    locks.enter_context(directory.locked())
    wanted = manifest_of(run)
    if begun is None:
        directory.begin(wanted, [end.theta for end in run.ends], run.pair.alignment)
    else:
        require_same(directory, begun, wanted)
        certify = wanted.certify or begun.certify
        amended = replace_fields(begun, command=wanted.command, certify=certify, disprove=wanted.disprove)
        if amended != begun:
            directory.amend(amended)
        # The heights that the run began with, bit for bit.
        first, last = (replace(end, value=value) for end, value in zip(run.ends, begun.end_losses, strict=True))
        run = replace(run, ends=(first, last))
    if directory.finished and _is_final(result := from_run(directory, run.problem)):
        return run.with_result(result, read_back=True)
    return run


def _is_final(result: Result) -> bool:
    """Whether going on could change nothing; where a limit ended the search, a higher one could."""
    outcome = result.outcome
    if isinstance(outcome, Unresolved) and outcome.reason in STUCK:
        evidence = outcome.evidence  # without either, the session ended while the curvature was computed
        return evidence.curvature is not None or evidence.no_curvature is not None
    return not isinstance(outcome, Unresolved) or outcome.reason == "higher_sample"


def _measured(objective: Objective, pairs: Sequence[Pair]) -> list[tuple[Bead, Bead]]:
    """The ends of all pairs with their heights, measured together."""
    noted = Noted(objective)
    heights = measure_models(noted, [end for pair in pairs for end in (pair.a, pair.b)])
    known = iter(zip(heights, noted.rows, strict=True))
    return [
        (Bead("a", pair.a.detach().clone(), *next(known)), Bead("b", pair.b.detach().clone(), *next(known)))
        for pair in pairs
    ]


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
        raise EndAboveThreshold(
            f"{pair.name}threshold {threshold!r} on {settings.bind}: the ends lie at {heights[0]!r} and "
            f"{heights[1]!r}, so no path can stay under it; raise it, leave it out for the larger end's own value, or "
            "train the higher end further",
            heights,
            threshold,
        )
    return threshold
