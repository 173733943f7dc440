"""How the second model of a run was aligned, as it is written down."""

from __future__ import annotations

import msgspec

from weightstring.codec import Record
from weightstring.store.records import Seconds


class AlignedGroup(Record, frozen=True, kw_only=True):
    """What alignment did to one group of interchangeable units; lists run over outer units, then over units."""

    name: str
    size: int
    over: tuple[str, ...] = ()
    permutation: tuple[int, ...]
    """Unit i is what unit ``permutation[i]`` of the second model was."""
    moved: int
    """Units that are not where they were."""
    correlation_before: tuple[float, ...] = ()
    """Of each unit's activations with those of the unit at its place in the first model; empty: not observed."""
    correlation: tuple[float, ...] = ()
    """The same afterwards."""


class CandidateRecord(Record, frozen=True, kw_only=True):
    """One way to align that was tried."""

    method: str
    rescaled: bool
    distance: float
    barrier: float | None
    mapped: bool = False


class AlignmentRecord(Record, frozen=True, kw_only=True):
    """How the second model of a run was brought to its symmetric copy, whose function is the same."""

    method: str
    """By what units were matched: weights, activations, or none where the model stayed as it was."""
    by: str
    """Which candidate was taken: that of the lowest barrier, or of the least distance."""
    rescaled: bool
    distance_before: float
    distance: float
    barrier_before: float | None
    """Of the straight line, over the mean of its ends, of the evaluation loss at :attr:`points` places only."""
    barrier: float | None
    difference: float
    """Largest difference of outputs between the model and its aligned copy, relative to the largest output."""
    examples: int
    """On how many real inputs."""
    log10_permutations: float
    seconds: Seconds
    candidates: tuple[CandidateRecord, ...]
    groups: tuple[AlignedGroup, ...]
    factors: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    """By what units were multiplied where they are produced, by group; left out where by 1."""
    original: str
    """Digest of the second model as it was given."""
    units: str = "inputs"
    """What these are: inputs whose outputs were compared; or batches, outputs of the first and losses of all."""
    evaluations: float | None = None
    """How often one model was computed on the evaluation set or a probe; null in runs that did not count."""

    gradients: int = 0
    """How many gradients, of a minibatch each, a move was learned by; 0 where none was."""

    points: int | None = None
    """At how many places of a line its barrier was measured; null in runs that did not say."""

    mapped: bool = False
    """Whether linear maps mixed units too."""

    rounding: str = ""
    """The dtype whose rounding explains the difference of outputs; empty in runs that did not say."""

    @property
    def measured(self) -> str:
        """Where barriers were measured, in words: between a few points the lines may be higher."""
        return "sampled" if self.points is None else f"at {self.points} points"

    @property
    def tied(self) -> bool:
        """Whether no candidate has a lower barrier than another, so that it did not decide."""
        return self.by == "barrier" and len({each.barrier for each in self.candidates}) == 1 < len(self.candidates)
