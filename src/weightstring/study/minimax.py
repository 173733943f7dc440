"""Estimate Γ, the maximum interpolated error (3): how high a path between two models must climb.

The string sinks, level by level, until it is at the higher end or its maximum stops falling; from then on greedy
searches look for strings lower and lower. Nobody has to guess a threshold: the lowest maximum that was reached bounds Γ
from above, as far as samples can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.notebook import Viewable
from weightstring.path import Objective
from weightstring.proof.certificate import Certificate
from weightstring.proof.disconnect import prove, stands
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe
from weightstring.runs.certify_step import CERTIFY_TOL, require_certifiable, with_bound
from weightstring.runs.listening import listening
from weightstring.runs.result import Result
from weightstring.runs.run import interrupted
from weightstring.runs.settings import Pair, Settings, Workers
from weightstring.runs.showing import Display
from weightstring.runs.spread import connect_all
from weightstring.runs.told import tell_end
from weightstring.runs.tracking import trackers
from weightstring.search import BreadthFirst, Relay, Sinking, StopRule, Strategy
from weightstring.store import StoreLike, opened
from weightstring.store.provenance import Provenance
from weightstring.store.records import CertifyRecord, TaskRef, by_depth
from weightstring.trackers import Tracker

DEFAULT_STRATEGY = Relay(BreadthFirst(), Sinking())


@dataclass(frozen=True, repr=False)
class Minimax(Viewable):
    """What is known of Γ(a, b).

    Args:
        level: the lowest maximum of a string that was found; *sampled*.
        lower_bound: what no path can stay under: the higher end, or the bound of a proof of disconnection. Proved.
        by_depth: Γ̃ (4): the lowest maximum of the strings on which no segment was split more than d times,
            d = 0, 1, …; *sampled*, and never rising.
        result: the search with its string.
        certificate: how high the loss on that string is at most, *certified*; None where that was not asked for.
    """

    level: float
    lower_bound: float
    by_depth: tuple[float, ...]
    result: Result
    certificate: Certificate | None = None

    @property
    def resolved(self) -> bool:
        """Whether a string was found at the lower bound itself, so that Γ is known as far as samples can tell."""
        return self.result.connected

    def __str__(self) -> str:
        proved = "" if self.certificate is None else f"; Γ <= {self.certificate.upper_bound:.6g} is certified"
        return self._estimate() + proved

    def _estimate(self) -> str:
        bound = self.result.bound
        if self.resolved:
            return f"Γ = {self.level:.6g}, sampled, on the {bound}: a string was found at the level of the higher end"
        return (
            f"{self.lower_bound:.6g} <= Γ <= {self.level:.6g} (the lower bound proved, the upper one sampled) on the "
            f"{bound}: the lowest maximum of a string that was found"
        )


@undisturbed
def minimax(
    problem: LossProblem,
    a: Theta,
    b: Theta,
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
    through: Sequence[Theta] = (),
    provenance: Provenance | None = None,
) -> Minimax:
    """Search for the lowest level at which ``a`` and ``b`` are connected.

    Args:
        problem: the loss.
        a: one end θ (P,).
        b: the other end.
        strategy: how; :class:`~weightstring.BreadthFirst` lowers its string level by level and takes the best one
            up again where a level is not reached; where it has stalled, :class:`~weightstring.search.Sinking` goes on
            from its string by default.
        stop: the budget, such as ``ws.MaxBeads(64) | ws.Budget(seconds=600)``; by default that of
            :func:`weightstring.connect`.
        bind: what is to be low; see :func:`weightstring.connect`, as for all that follows.
        recipe: how beads descend.
        executor: what runs the jobs.
        store: a run directory or another store, which can be resumed by the same call.
        seed: of everything drawn at random.
        progress: True or False; by default only on a terminal or in a notebook.
        tracker: where to send how it gets on and what it finds, see :func:`weightstring.connect`.
        task: recorded in the manifest.
        certify: prove how high the loss on the string is at most, which bounds Γ from above for certain.
        through: waypoints that the first string leads through, see :func:`weightstring.connect`.
        provenance: where the models come from, likewise.

    Raises:
        Unsupported: an operation of the module has no rule for certificates; before any search.
        InvalidCheckpoint, InvalidSetting, InvalidRun, RunLocked, StoreFailed: see :func:`weightstring.connect`.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> wells = TwoWells(saddle=1.0)  # where Γ = 1
    >>> 0.999 < minimax(wells, *wells.ends).level < 1.05
    True
    """
    if certify:
        require_certifiable(problem, bind)
    settings = Settings(
        strategy=strategy,
        stop=stop,
        bind=bind,
        recipe=recipe,
        executor=executor,
        seed=seed,
        task=task,
        disprove=False,  # A proof of disconnection does not end this search: it raises the lower bound.
        certify=CertifyRecord(tolerance=CERTIFY_TOL) if certify else None,
        sampling="dense",  # Γ̃ is what is asked for
        command="minimax",
    )
    directory = None if store is None else opened(store)
    pair = Pair(a=a, b=b, directory=directory, through=tuple(through), provenance=provenance)
    with listening(progress, *trackers(tracker)) as told:
        (result,) = connect_all(problem, [pair], replace(settings, progress=told))
        if certify and not interrupted(result):
            result = with_bound(problem, result, Objective(problem, bind).quantity(), directory)
        tell_end(told, result, directory)
    bound = proved_bound(problem, result, a, b, held=not strategy.frees_ends)
    ends = [max(end[name] for name in result.names) for end in result.ends]
    # What the search saw, what was measured on its string and what the proof met are samples of the same curve.
    lower, level = max(*ends, bound), result.largest
    depths = tuple(max(level, lowest) for lowest in by_depth(result.history))
    return Minimax(level, min(lower, level), depths, result, result.certificate if certify else None)


def proved_bound(problem: LossProblem, result: Result, a: Theta, b: Theta, *, held: bool = True) -> float:
    """What a proof says that every path between two models climbs to; −∞ where there is none.

    Args:
        problem: the loss.
        result: a string between them, beside which a proof must stand.
        a: one model (P,).
        b: the other.
        held: whether that string has these ends.
    """
    proof = prove(problem, a, b) if "loss" in result.names else None
    if proof is None:
        return -math.inf
    if held and not stands(problem, proof, result.string, result.largest, "the string that was found"):
        return -math.inf
    return proof.bound
