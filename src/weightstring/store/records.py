"""What a run directory says: the schema of its JSON files.

Unknown fields are refused when read, so a file of another version or a forged one cannot
pass for a run. JSON has no infinity: a loss that is not finite is stored as null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from weightstring.codec import Record, none_as_infinity
from weightstring.descent import Step
from weightstring.path import Outcome, Reason
from weightstring.store.provenance import Provenance

FORMAT = 2

Command = Literal["connect", "minimax"]
"""What begins a run."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=4096)]
"""OpenMP kills the process that asks it for more than the system can start."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""A sum of them is finite."""


CURVE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$"
CurveName = Annotated[str, msgspec.Meta(pattern=CURVE_NAME)]
"""A name in file names, and on the page."""


class Parameter(Record, frozen=True, kw_only=True):
    """Where one parameter lies in θ."""

    name: str
    shape: tuple[int, ...]
    offset: int
    aliases: tuple[str, ...] = ()
    """Further names under which the module's state_dict holds the same (tied) tensor."""


class TaskRef(Record, frozen=True, kw_only=True):
    """How to build the problem again: a built-in name or ``file.py:function``, and its options."""

    name: str
    options: dict[str, str] = msgspec.field(default_factory=dict)


class WaypointRecord(Record, frozen=True, kw_only=True):
    """A model that a run's first string passes through."""

    sha256: str
    """Of its bytes, after alignment."""
    loss: float | None
    """The bound quantity there; null where it is not finite."""
    original: str | None = None
    """Digest of the model as it was given, where it was aligned with the first end; else null."""


class CertifyRecord(Record, frozen=True, kw_only=True):
    """That a run's string is to be certified, and how."""

    tolerance: Annotated[float, msgspec.Meta(gt=0)]
    """Relative distance from the largest sample, where there is no threshold to hold."""
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """When to stop; null: when it is done."""


class AnyManifest(msgspec.Struct, frozen=True):
    """What a manifest of any format tells."""

    format: int
    versions: dict[str, str]


AsSaved: TypeAlias = tuple[float | None, float | None]
"""The losses of two ends with the running statistics saved with them; None where nothing was re-estimated."""


class Manifest(Record, frozen=True, kw_only=True):
    """Everything that determines a run's result, written once, before its first round."""

    format: int
    versions: dict[str, str]
    task: TaskRef | None
    problem: str
    """Digest of the module's structure, its constant tensors, the data and the recipe."""
    ends: tuple[str, str]
    """SHA-256 of the two ends' bytes."""
    end_losses: tuple[float, float]
    """The bound quantity at the two ends."""
    as_saved: AsSaved = (None, None)
    """It decides nothing."""
    through: tuple[WaypointRecord, ...] = ()
    """What the first string passes through between the ends, in order."""
    threshold: float
    bind: str
    seed: int
    strategy: dict[str, Any]
    engine: str
    threads: Threads
    width: Positive = 16
    """Models descended side by side; 1 where each job runs by itself, as in other processes. Like engine and threads,
    it decides nothing but rounding."""
    sampling: Literal["dense", "adaptive"] = "dense"
    """Whether segments were sampled on a grid, or only where their bends ask for it."""
    evaluation_seconds: Seconds | None = None
    """That measuring one model by what is bound took when the run began: it decided the sampling."""
    stop: tuple[dict[str, Any], ...] = ()
    """Limits of the first session; they do not determine the result, only where it stops."""
    command: Command = "connect"
    """What was asked; like what follows, it is what resuming goes on with, and decides nothing about the search."""
    certify: CertifyRecord | None = None
    """Null: nothing is to be certified."""
    certifiable: bool = True
    """Whether certificates can be about what is bound; not whether each of its operations has a rule."""
    disprove: bool = True
    """Whether a proof of disconnection is looked for before the search."""
    size: Positive
    dtype: str
    parameters: tuple[Parameter, ...]
    """Layout of θ; empty for an analytic surface."""
    digests: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the problem's module and of each of its data sets."""
    provenance: Provenance = Provenance()
    measured: tuple[CurveName, ...] = ()
    """Names of curves on other data, measured since."""


class SegmentRecord(Record, frozen=True, kw_only=True):
    """One segment of the string: its length, its largest sampled bound quantity and where (t)."""

    length: float
    max: float | None
    t: float
    samples: int = 0
    """Of the bound quantity, its ends included; 0 where a run was written by a version that did not count them."""
    second_difference: float | None = None
    """The largest that three neighbouring samples show, of the bound quantity over t."""
    highest: float | None = None
    """How high the curve may be between the samples if it bends no more than twice as sharply: no bound."""


class CurveRecord(Record, frozen=True, kw_only=True):
    """Every quantity along the whole string, sampled: S points in order from the first end to the last.

    ``s`` is the arc length divided by the string's length; ``segment`` and ``t`` say on which
    segment and where on it the point lies. A bead appears once.
    """

    s: tuple[float, ...]
    segment: tuple[int, ...]
    t: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]


class StringRecord(Record, frozen=True, kw_only=True):
    """The string that was found, in numbers."""

    beads: int
    """Beads, the two ends counted."""
    beads_before_pruning: int
    length_before: float | None = None
    """Length before the string was shortened; null where it was not."""
    length: float
    distance: float
    """Euclidean distance between the ends, over all parameters."""
    normalized_length: float | None
    """Length over distance; null where the ends coincide and the string does not."""
    max_loss: float | None
    """Largest sampled evaluation loss."""
    barriers: dict[str, float | None]
    """max, over_ends, over_mean, over_linear of the sampled evaluation loss."""
    segments: tuple[SegmentRecord, ...]
    curve: CurveRecord


class LineRecord(Record, frozen=True, kw_only=True):
    """The straight line between the string's ends, sampled: more coarsely than the string, which may be the line."""

    max_loss: float | None
    """Largest sampled evaluation loss."""
    barriers: dict[str, float | None]
    """As the string's: ``over_linear`` is max over t of L(t) - ((1 - t) L(0) + t L(1))."""
    curve: CurveRecord


class RoundRecord(Record, frozen=True, kw_only=True):
    """One round of the search, for its history."""

    depth: int
    """The largest depth on the string after it."""
    descents: int
    measured: int
    """Segments measured."""
    open: int
    """Segments over the level after it."""
    level: float | None = None
    """What the string is held to after it: the threshold, or a level on the way down to it."""
    values: tuple[float | None, ...] = ()
    """The bound quantity at each bead after it; null where it is not finite, or not known yet."""
    highest: float | None = None
    """The largest sample on the lowest string at hand that is measured whole; null if it is not finite or not known."""
    highest_depth: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    """The largest depth on that string; null where there is none."""
    beads: int
    """Beads on the string after it, ends counted."""
    steps: int
    """Gradient steps, summed over its descents."""
    evaluations: int = 0
    """Models measured."""
    max: float | None
    """Largest sample of the bound quantity on the segments measured; null if none was."""
    seconds: Seconds
    attempt: str | None = None
    """What was tried in it, where the strategy tries several things."""
    step: Step | None = None
    """What its descents found to be a good step, where the recipe has them find it; those after it begin with it."""
    ended: Reason | None = None
    """Why the attempt before ended, in a round in which nothing was done but to begin another."""


def step_found(history: Sequence[RoundRecord]) -> Step | None:
    """The step that the beads of a search found last; None where its recipe has them find none."""
    return next((record.step for record in reversed(history) if record.step is not None), None)


def by_depth(history: tuple[RoundRecord, ...]) -> tuple[float, ...]:
    """Γ̃ (4) for d = 0, 1, …: the lowest maximum known of a whole string of depth at most d; never rising.

    A string has depth d if none of its segments comes of more than d splits; one of a fitted curve, if it comes of d
    rounds of fitting. Its maximum is the largest sample on all its segments. As a split may raise that, the best
    string so far counts: that of S(θ1, θ2, α, d) itself is ``highest`` of the round that measured it.

    >>> by_depth(())
    ()
    """
    seen = [(r.highest_depth, none_as_infinity(r.highest)) for r in history if r.highest_depth is not None]
    lowest = [math.inf] * (1 + max((depth for depth, _ in seen), default=-1))
    for depth, top in seen:
        lowest[depth] = min(lowest[depth], top)
    return tuple(accumulate(lowest, min))


class ResultRecord(Record, frozen=True, kw_only=True):
    """``result.json``: the verdict and every number behind it."""

    outcome: Outcome
    threshold: float
    bind: str
    """Which quantity the threshold binds: evaluate, train, both, or a metric's name."""
    names: tuple[str, ...] = ("loss",)
    """The measured quantities whose largest that is."""
    evidence: str
    """``sampled``: every maximum here is over finitely many points."""
    evaluation: str
    """What the evaluation set is: ``evaluate``, or ``train`` where no evaluation set was given."""
    ends: tuple[dict[str, float | None], dict[str, float | None]]
    string: StringRecord
    line: LineRecord | None = None
    """Null where the run was written by a version that did not measure it."""
    rounds: tuple[RoundRecord, ...]
    steps: int
    """Gradient steps, summed over all beads."""
    evaluations: int
    """Models measured, summed over the whole search."""
    seconds: Seconds
    beads_sha256: str = ""
    """Of the string's bead file; filled in when both are written."""
    unpruned_sha256: str = ""
    """Of that of the first string under the threshold; empty where that is the string, or was not kept."""
    between: tuple[str, ...] = ()
    """Which of ``string`` and ``unpruned`` hold only the beads between the run's ends: those of large models."""
    by_depth: tuple[float | None, ...] = ()
    """Γ̃ (4) for d = 0, 1, …, computed from the rounds; null where it is not finite."""
