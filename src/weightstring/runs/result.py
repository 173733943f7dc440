"""What a search returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from weightstring.descent import Step
from weightstring.notebook import Viewable
from weightstring.path import Connected, Maximum, Outcome, StringCurve, Unresolved, WeightString
from weightstring.path.adaptive import Between, between
from weightstring.path.outcome import ADVICE
from weightstring.path.quantities import bound_words
from weightstring.path.string_curve import OVER
from weightstring.proof.certificate import Certificate
from weightstring.store import RoundRecord
from weightstring.store.alignment_record import AlignmentRecord
from weightstring.store.attempts import Attempt, attempts, told
from weightstring.store.records import AsSaved, by_depth, step_found


@dataclass(frozen=True, repr=False)
class Result(Viewable):
    """A string between two models and what was found out about it.

    Args:
        outcome: :class:`Connected`, :class:`Unresolved` with its reason and evidence, or :class:`Disconnected` with its
            proof.
        string: the string found; where unresolved, the best one so far; where disconnected, the straight line.
        threshold: L0.
        history: the search, round by round.
        bind: which quantity the threshold binds, and
        names: the measured quantities whose largest that is.
        evaluation: ``"evaluate"``, or ``"train"`` where no evaluation set was given.
        beads_before_pruning: beads, ends counted, before superfluous ones were dropped: those of
        unpruned: the first string under the threshold that the search had, before beads were dropped, moved or put in
            by anything else; where it had none, the string itself. With :class:`~weightstring.AsInThePaper` it is
            S(θ1, θ2, α, d). None where a run was written by a version that did not keep it.
        length_before: the string's length before it was shortened; None where it was not.
        line: the straight line between the string's ends, sampled more coarsely than the string: ``line.max_loss`` is
            how high the loss climbs on it, ``line.barrier("over_linear")`` its barrier. The string itself where that
            has two beads. None where a run was read without its problem that a version wrote which did not measure it.
        certificate: the proof of a bound over the whole string; None where none was asked for.
        alignment: how the second model was aligned before the search; None where it was not.
        plain: the same search between the models as they were given, where it was made for comparison.
        as_saved: the ends' losses with the running statistics saved with them, where they are known.
        measured: the string's curves on other data, by name, where :func:`weightstring.measure` has kept some. Nothing
            else here is about these data.

    A maximum here is *sampled*: only ``certificate`` proves that the loss is no higher between the samples.
    """

    outcome: Outcome
    string: WeightString
    threshold: float
    history: tuple[RoundRecord, ...]
    bind: str
    evaluation: str
    names: tuple[str, ...]
    beads_before_pruning: int
    unpruned: WeightString | None = None
    length_before: float | None = None
    line: WeightString | None = None
    certificate: Certificate | None = None
    alignment: AlignmentRecord | None = None
    plain: Result | None = None
    as_saved: AsSaved = (None, None)
    measured: Mapping[str, StringCurve] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether a string was found on which every sample is at most the threshold."""
        return isinstance(self.outcome, Connected)

    @property
    def ends(self) -> tuple[dict[str, float], dict[str, float]]:
        """Every quantity at the two ends."""
        values = self.string.curve.values
        return {name: v[0] for name, v in values.items()}, {name: v[-1] for name, v in values.items()}

    @property
    def segments(self) -> tuple[Maximum, ...]:
        """The largest sample of the bound quantity on each segment of the string, and its t."""
        return self.string.maxima(self.names)

    @property
    def between(self) -> tuple[Between, ...]:
        """How many samples of the bound quantity are known of each segment, and what they say of it between them."""
        return tuple(map(between, self.string.curve.heights(self.names)))

    @property
    def bound(self) -> str:
        """What the threshold binds, in words."""
        return bound_words(self.names, self.evaluation)

    @property
    def largest(self) -> float:
        """The largest *sampled* value of what the threshold binds."""
        return max(top.value for top in self.segments)

    @property
    def by_depth(self) -> tuple[float, ...]:
        """Γ̃(θ1, θ2, d, α) (4) for d = 0, 1, …: see :func:`weightstring.store.records.by_depth`; *sampled*."""
        return by_depth(self.history)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was tried in turn, the last of which found the string where there is one; see ``ws.Persistent``."""
        return attempts(self.history)

    @property
    def steps(self) -> int:
        """Gradient steps, summed over all beads, those of a round that a limit on them ended included."""
        return sum(r.steps for r in self.history)

    @property
    def step(self) -> Step | None:
        """The step that the search found last, where its recipe has beads find theirs."""
        return step_found(self.history)

    @property
    def evaluations(self) -> int:
        """Models measured by the finished rounds of the search."""
        return sum(r.evaluations for r in self.history)

    @property
    def seconds(self) -> float:
        """Time that its rounds took by the clock, over all sessions of the run, rounds that were given up included.

        Of searches in one call, as of ``connect_many``, rounds go on side by side: their seconds overlap.
        """
        return math.fsum(r.seconds for r in self.history)

    @property
    def remedy(self) -> str | None:
        """What to try where the search ended without a string; None where there is a verdict."""
        if not isinstance(self.outcome, Unresolved):
            return None
        return ADVICE[self.outcome.reason].words(aligned=self.alignment is not None)

    def __str__(self) -> str:
        string = self.string
        remedy = f"\nwhat to try: {self.remedy}" if self.remedy else ""
        proved = f"\n{self.certificate}" if self.certificate else ""
        tried = told(self.attempts, self.connected)
        line = " (the straight line itself)" if len(string) == 2 else ""
        if self.line is not None and len(string) > 2:
            barrier = f"a barrier of {self.line.barrier('over_linear'):.4g} over {OVER['over_linear']}"
            line = f"\non the straight line the loss climbs to {self.line.max_loss:.6g}, {barrier}, sampled"
        return (
            f"{self.outcome}\n{f'{tried}{chr(10)}' if tried else ''}"
            f"threshold {self.threshold:.6g} on the {self.bound}, its largest sample {self.largest:.6g}; "
            f"{len(string)} beads with the ends; normalized length {string.normalized_length:.4f}{line}{proved}{remedy}"
        )
