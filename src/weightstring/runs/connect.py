"""``connect``: from two models to a measured string, or many pairs at once, in memory or in run directories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.codec import finite_or_none
from weightstring.errors import InvalidSetting
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.certify_step import CERTIFY_TOL, require_certifiable
from weightstring.runs.listening import aside, listening
from weightstring.runs.result import Result
from weightstring.runs.settings import DEFAULT_STRATEGY, Pair, Settings, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_all
from weightstring.runs.told import tell_end
from weightstring.runs.tracking import trackers
from weightstring.search import StopRule, Strategy
from weightstring.store import StoreLike, opened
from weightstring.store.provenance import Provenance
from weightstring.store.records import AsSaved, CertifyRecord, TaskRef
from weightstring.symmetry.spec import Symmetry
from weightstring.trackers import Tracker


@undisturbed
def connect(
    problem: LossProblem,
    a: Theta,
    b: Theta,
    threshold: float | None = None,
    *,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule | None = None,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    store: StoreLike | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    tracker: str | Tracker | None = None,
    task: TaskRef | None = None,
    certify: bool = False,
    certify_seconds: float = math.inf,
    certify_tolerance: float = CERTIFY_TOL,
    disprove: bool = True,
    sampling: str = "auto",
    align: bool | str = False,
    symmetry: Symmetry | None = None,
    as_saved: AsSaved = (None, None),
    through: Sequence[Theta] = (),
    provenance: Provenance | None = None,
) -> Result:
    """Search for a path from ``a`` to ``b`` on which the loss does not exceed ``threshold``.

    Args:
        problem: the loss.
        a: one end θ (P,), such as ``problem.flatten(net_a)``.
        b: the other end.
        threshold: L0; by default the larger of the ends' own values.
        strategy: how to search.
        stop: when to stop without a string; rules compose with ``|``. By default at 64 beads;
            :class:`~weightstring.AsInThePaper` at as many as its depth allows.
        bind: what the threshold binds: ``"evaluate"`` (the evaluation loss), ``"train"``, ``"both"``, or a
            metric such as ``"error"``. The curves record everything in any case.
        recipe: how beads descend; the problem's own by default.
        executor: what runs the jobs: None for all of a round side by side in this process,
            :class:`weightstring.Processes`, or any ``concurrent.futures.Executor``. A :class:`weightstring.Dask`, or
            a dask ``Client``, runs whole searches: each where a worker is, into ``store``, which all must reach.
        store: a run directory, a URL such as ``s3://bucket/run``, any mapping of names to bytes, or a
            :class:`weightstring.store.Store`. If it holds this very search, that is resumed; if it is finished, it is
            read back.
        seed: of the minibatches and everything else drawn at random.
        progress: True or False; by default only on a terminal or in a notebook. Or a display of your own.
        tracker: where to send how it gets on and what it finds: ``"tensorboard:FOLDER"``, ``"mlflow:URI"``,
            ``"wandb:PROJECT"``, or an object, see :mod:`weightstring.trackers`. One that fails ends no search.
        task: recorded in the manifest, for the command line to resume by.
        certify: prove that the loss is at most the threshold on the whole string that was found, see
            :func:`weightstring.certify`. Where the proof fails by a little the string is refined, until it holds; where
            it meets a sample over the threshold that no refinement brings down, the outcome is
            ``Unresolved("higher_sample", ...)``.
            Leave a margin between the ends and the threshold: an end exactly at it cannot be certified.
        certify_seconds: when to stop proving, and searching again where the proof fails.
        certify_tolerance: how near to the largest sample, relative to it, where the threshold cannot be held.
        disprove: look for a proof that no such path exists (:mod:`weightstring.proof.disconnect`) before searching.
        sampling: how densely segments are sampled. ``"adaptive"``: on 8 intervals, and more only where the curve may
            exceed the threshold if it bends no more than twice as sharply as three neighbouring samples show; these
            samples are the string's curve. ``"dense"``: on 32 intervals and around peaks. ``"auto"``: adaptively, or
            as the run in ``store`` began.
        align: bring ``b`` to a symmetric copy with a lower line from ``a`` first, see :func:`weightstring.align`: the
            string then ends in that copy, whose function is ``b``'s. ``"both"`` searches between the models as they
            are too, for ``result.plain``. A run in ``store`` that has been aligned is not aligned again. A threshold
            that the copy's loss exceeds by rounding is raised to it.
        symmetry: which units may move; found from the module unless given.
        as_saved: the ends' losses with the running statistics saved with them (``problem.as_saved(net)["loss"]``), for
            the result and the page to say how far re-estimating those moves the ends. They decide nothing.
        through: waypoints: models in order from ``a`` to ``b``, such as checkpoints of a training. The first string
            leads straight from each to the next instead of from ``a`` to ``b``; the search then does with them as with
            beads of its own: one that is not needed is dropped, and one over the threshold is replaced by what a
            descent from it finds, or left out. For curves they are the first control points. With ``align`` each is
            aligned with ``a``.
        provenance: where the models come from, for the manifest and the page, such as
            ``weightstring.store.origins.provenance(a="a.pt", b="b.pt")``. It decides nothing.

    Returns:
        The outcome, the string and the search's history; ``Disconnected(proof)`` where a proof bounds every path from
        below by more than the threshold. Ctrl-C ends a search with the outcome
        ``Unresolved("interrupted", ...)``; while the finished string is measured it is raised. With a
        ``store`` the same call goes on from there.

    Raises:
        EndAboveThreshold: an end's value is larger than ``threshold``, or not finite.
        InvalidCheckpoint: an end is not a θ of the problem.
        InvalidSetting: a setting is unknown or out of range, or the strategy cannot begin with waypoints.
        InvalidRun: ``store`` holds another search, or a damaged one.
        RunLocked: another process is writing to ``store``.
        StoreFailed: the disk refuses; what was written is kept.
        WorkerFailed: the workers of ``executor`` die again and again.
        Unsupported: an operation of the module has no rule for certificates, or for alignment; before any search.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> result = connect(ring, *ring.ends, threshold=0.1)
    >>> result.connected, len(result.string) > 2
    (True, True)
    """
    request = None
    if certify:
        require_certifiable(problem, bind, certify_tolerance, certify_seconds)
        request = CertifyRecord(tolerance=certify_tolerance, seconds=finite_or_none(certify_seconds))
    settings = Settings(
        strategy=strategy,
        stop=stop,
        bind=bind,
        recipe=recipe,
        executor=executor,
        seed=seed,
        task=task,
        disprove=disprove,
        sampling=sampling,
        certify=request,
    )
    directory = None if store is None else opened(store)
    pair = Pair(
        a=a,
        b=b,
        threshold=threshold,
        directory=directory,
        align=align,
        symmetry=symmetry,
        as_saved=as_saved,
        through=tuple(through),
        provenance=provenance,
    )
    with listening(progress, *trackers(tracker)) as told:
        pairs = [pair, pair.as_given] if align == "both" else [pair]
        result, *plain = connect_all(problem, pairs, replace(settings, progress=told))
        result = replace(result, plain=plain[0]) if plain else result
        tell_end(told, result, directory)
        return result


@undisturbed
def connect_many(
    problem: LossProblem,
    pairs: Sequence[tuple[Theta, Theta]],
    threshold: float | Sequence[float | None] | None = None,
    *,
    strategy: Strategy[Any] = DEFAULT_STRATEGY,
    stop: StopRule | None = None,
    bind: str = "evaluate",
    recipe: Recipe | None = None,
    executor: Workers = None,
    store: StoreLike | None = None,
    seed: int = 0,
    progress: bool | Display | None = None,
    task: TaskRef | None = None,
    disprove: bool = True,
    sampling: str = "auto",
    through: Sequence[Sequence[Theta]] | None = None,
) -> list[Result]:
    """:func:`connect` for many pairs of one problem at once: their jobs share batches.

    Small networks are all overhead, so that hundreds of pairs take little longer than a few. Each
    result is the one that ``connect`` alone finds, up to rounding.

    Args:
        problem: the loss.
        pairs: the ends of each path.
        threshold: L0, one for all or one a pair; None: the larger of a pair's own ends.
        strategy: see :func:`connect`, as for all that follows.
        stop: holds for each pair by itself; seconds count from when a pair's round begins.
        bind: what the threshold binds.
        recipe: how beads descend.
        executor: what runs the jobs.
        store: a directory or another store, where each pair gets a run of its own, ``pair-0000`` and so on.
        seed: of everything drawn at random; the same for all pairs.
        progress: see :func:`connect`.
        task: recorded in the manifests.
        disprove: look for proofs of disconnection first.
        sampling: how densely segments are sampled.
        through: waypoints of each pair, none or some.

    Raises:
        EndAboveThreshold, InvalidCheckpoint, InvalidSetting, InvalidRun, RunLocked: see :func:`connect`; a
            message names the pair.

    >>> from weightstring.problem.surfaces import Ring
    >>> ring = Ring()
    >>> [result.connected for result in connect_many(ring, [ring.ends, ring.ends[::-1]], 0.1)]
    [True, True]
    """
    settings = Settings(
        strategy=strategy,
        stop=stop,
        bind=bind,
        recipe=recipe,
        executor=executor,
        seed=seed,
        progress=aside(progress),
        task=task,
        disprove=disprove,
        sampling=sampling,
    )
    thresholds = [threshold] * len(pairs) if threshold is None or isinstance(threshold, float | int) else threshold
    if len(thresholds) != len(pairs):
        raise InvalidSetting(f"threshold: {len(thresholds)} for {len(pairs)} pairs; give one, or one a pair")
    waypoints = [()] * len(pairs) if through is None else [tuple(models) for models in through]
    if len(waypoints) != len(pairs):
        raise InvalidSetting(
            f"through: waypoints of {len(waypoints)} for {len(pairs)} pairs; give () where one has none"
        )
    numbered = [numbered_pair(number, pair, store) for number, pair in enumerate(pairs)]
    each = zip(numbered, thresholds, waypoints, strict=True)
    return connect_all(
        problem, [replace(pair, threshold=level, through=models) for pair, level, models in each], settings
    )


def numbered_pair(number: int, ends: tuple[Theta, Theta], store: StoreLike | None) -> Pair:
    """One of many pairs, in a run directory of its number.

    Raises:
        InvalidSetting: there are not two ends.
    """
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise InvalidSetting(
            f"pair {number}: a {type(ends).__name__}: give two ends, each problem.flatten(...) of a model"
        )
    a, b = ends
    directory = None if store is None else opened(store).inside(f"pair-{number:04d}")
    return Pair(a=a, b=b, directory=directory, name=f"pair {number}: ")
