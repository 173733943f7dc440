"""What is kept of a run that is over, read once for its page and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun, InvalidSetting, UserCodeFailed
from weightstring.path import BARRIERS
from weightstring.path.quantities import quantity_label
from weightstring.proof.certificate import Certificate
from weightstring.report.draw.evolution import Evolution
from weightstring.report.run.replay import read_evolution
from weightstring.runs.recording import certificate_in, result_of
from weightstring.runs.result import Result
from weightstring.search.strategies import STRATEGIES
from weightstring.store import RunDirectory, Store, StoreLike, opened
from weightstring.store.alignment_record import AlignmentRecord
from weightstring.store.measured import MeasuredRecord
from weightstring.store.origins import shortened
from weightstring.store.plane_record import PlaneRecord
from weightstring.store.records import LineRecord, Manifest, ResultRecord, StringRecord


class Shown(Protocol):
    """A string in numbers, and the models themselves: what sections show of a run, or of a string that no run made."""

    @property
    def string(self) -> StringRecord:
        """The string."""

    @property
    def line(self) -> LineRecord | None:
        """The straight line between its ends, which it is itself where it has two beads; None: not measured."""

    @property
    def beads(self) -> Sequence[Theta] | Thetas:
        """Its models, the ends included, in order."""

    @property
    def ends(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Every quantity at the two ends."""

    @property
    def threshold(self) -> float | None:
        """What it was held to; None: nothing."""

    @property
    def bound(self) -> tuple[str, ...]:
        """The measured quantities whose largest is the height of a segment."""

    @property
    def measured_on(self) -> str:
        """What to call the data set of the quantities without a prefix."""

    @property
    def certificate(self) -> Certificate | None:
        """The proof of a bound over it, if there is one."""


class RunData(NamedTuple):
    """A run that is over.

    Args:
        manifest: what determined it.
        result: its verdict and numbers.
        beads: the models of its string (B, P), the ends included, in order.
        certificate: the proof of a bound over this string, if there is one.
        alignment: how the second end was aligned with the first, if it was.
        unaligned: the result of the same search without alignment, where it was made.
        evolution: the string after each round, where the journal tells.
        plane: the loss on a plane through the string, where it was measured.
        measured: its curves on other data, which had no part in the verdict.
        place: where it is kept, as commands are told.
        not_replayed: why the journal does not tell how the string came about; empty where it does.
    """

    manifest: Manifest
    result: ResultRecord
    beads: Sequence[Theta] | Thetas
    certificate: Certificate | None = None
    alignment: AlignmentRecord | None = None
    unaligned: ResultRecord | None = None
    evolution: Evolution | None = None
    plane: PlaneRecord | None = None
    not_replayed: str = ""
    measured: tuple[MeasuredRecord, ...] = ()
    place: str = "RUN"

    @property
    def found(self) -> Result:
        """What the run found, as :func:`weightstring.load` gives it."""
        result = result_of(self.result, self.manifest, self.beads)
        evaluation = result.evaluation if self.manifest.parameters else ""  # a surface is measured on no data
        return replace(result, certificate=self.certificate, alignment=self.alignment, evaluation=evaluation)

    @property
    def string(self) -> StringRecord:
        """Its string in numbers."""
        return self.result.string

    @property
    def line(self) -> LineRecord | None:
        """The straight line between its ends."""
        return self.result.line

    @property
    def ends(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Every quantity at the two ends."""
        return self.result.ends

    @property
    def threshold(self) -> float:
        """L0."""
        return self.result.threshold

    @property
    def bound(self) -> tuple[str, ...]:
        """:func:`bound_quantities`."""
        return bound_quantities(self.result)

    @property
    def bound_labels(self) -> list[str]:
        """What the threshold binds, quantity by quantity, in words."""
        return [self.labels[name] for name in self.bound]

    @property
    def samples(self) -> int:
        """How many points of the string were measured."""
        return len(self.result.string.curve.s)

    @property
    def measured_on(self) -> str:
        """What to call the data set of the quantities without a prefix."""
        if not self.manifest.parameters:
            return ""  # an analytic surface is measured on no data
        return "evaluation" if self.result.evaluation == "evaluate" else "training"

    @property
    def labels(self) -> dict[str, str]:
        """The measured quantities in words."""
        known = self.result.string.curve.values
        return {name: quantity_label(name, known, self.measured_on) for name in known}

    @property
    def held(self) -> str:
        """What the threshold binds, in words."""
        return "larger of " * (len(self.bound) > 1) + " and ".join(self.bound_labels)


def read_run(run: StoreLike) -> RunData:
    """Read a finished run from its directory, or from another store of it.

    Raises:
        InvalidRun: there is none, or it is damaged.
    """
    store = opened(run)
    manifest, beads, alignment = store.manifest(), store.string(), store.alignment()
    unaligned = _unaligned(store.plain, manifest, alignment)
    result = store.result()
    evolution, not_replayed = None, ""
    try:
        evolution = read_evolution(store, manifest, result, beads)
    except (InvalidRun, InvalidSetting, UserCodeFailed) as refusal:  # a page needs no journal
        name = str(manifest.strategy.get("name"))
        not_replayed = str(refusal) if name in STRATEGIES else f"its strategy {name!r} is not registered here"
    return RunData(
        manifest,
        result,
        beads,
        certificate_in(store, beads),
        alignment,
        unaligned,
        evolution,
        store.plane_record(),
        not_replayed,
        tuple(store.measured()),
        as_given(store),
    )


def as_given(store: Store) -> str:
    """Where a run is kept, for commands: as it was given, but no folders above the working directory.

    >>> as_given(opened("runs/first")), as_given(opened("/somewhere/else/first")), as_given(opened({}))
    ('runs/first', 'first', 'RUN')
    """
    if isinstance(store, RunDirectory):
        return shortened(str(store)) if store.path.is_absolute() else str(store)
    return str(store) if "://" in str(store) else "RUN"


def bound_quantities(result: ResultRecord) -> tuple[str, ...]:
    """Names of the measured quantities that the threshold binds, as they are called in the curve.

    Raises:
        InvalidRun: the curve does not hold what the threshold binds.
    """
    known = result.string.curve.values
    if not known.keys() >= set(result.names):
        raise InvalidRun(
            f"the threshold binds {result.bind!r}, but the curve holds {', '.join(known)}; measure the string again"
        )
    return result.names


def check(run: RunData) -> None:
    """Refuse a run whose parts do not belong together."""
    result = run.result
    expected = (result.string.beads, run.manifest.size)
    found = (len(run.beads), *run.beads[0].shape) if len(run.beads) else (0,)
    if found != expected:
        raise InvalidRun(
            f"the string has {expected[0]} beads of {expected[1]} parameters, but the beads given have shape "
            f"{found}; pass the beads of the same run"
        )
    if "loss" not in result.string.curve.values:
        raise InvalidRun("the curve holds no loss; measure the string again")
    missing = set(BARRIERS) - result.string.barriers.keys()
    if missing:
        raise InvalidRun(f"barriers {', '.join(sorted(missing))} are missing from the result; measure the string again")
    unaligned = run.unaligned if run.alignment is not None else None
    if unaligned is not None and unaligned.names != result.names:
        raise InvalidRun(
            f"the search without alignment binds {unaligned.bind!r}, the run binds {result.bind!r}; "
            "pass the two results of one run"
        )


def _unaligned(store: Store, manifest: Manifest, alignment: AlignmentRecord | None) -> ResultRecord | None:
    """The result of the search without alignment, if there is one.

    Raises:
        InvalidRun: it is damaged, or lies between other models than those that were given.
    """
    if alignment is None or not store.finished:
        return None
    if store.manifest().ends != (manifest.ends[0], alignment.original):
        raise InvalidRun(f"{store}: not a run between the models that were aligned; move it elsewhere")
    return store.result()
