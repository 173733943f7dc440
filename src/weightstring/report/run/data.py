"""What a run directory holds of a run that is over, and the figures that show it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import plotly.graph_objects as go

from weightstring.arrays import Thetas
from weightstring.errors import InvalidRun
from weightstring.path import BARRIERS
from weightstring.path.quantities import split_quantity
from weightstring.proof.certificate import Certificate
from weightstring.report.draw.alignment import both_figure, correlation_figure
from weightstring.report.draw.along import (
    draw_certified,
    loss_figure,
    metrics,
    quantity_label,
    string_figure,
)
from weightstring.report.draw.branching import branching_figure
from weightstring.report.draw.depth import depth_figure
from weightstring.report.draw.evolution import Evolution, evolution_figure, read_evolution
from weightstring.report.draw.plane import draw_plane
from weightstring.runs.recording import certificate_in
from weightstring.store import RunDirectory
from weightstring.store.records import AlignmentRecord, Manifest, PlaneRecord, ResultRecord


class Recorded(NamedTuple):
    """A run that is over.

    Args:
        manifest: what determined it.
        result: its verdict and numbers.
        beads: the models of its string (B, P), the ends included, in order.
        certificate: the proof of a bound over this string, if there is one.
        alignment: how the second end was aligned with the first, if it was.
        plain: the result of the same search without alignment, where it was made.
        evolution: the string after each round, where the journal tells.
        plane: the loss on a plane through the string, where it was measured.
    """

    manifest: Manifest
    result: ResultRecord
    beads: Thetas
    certificate: Certificate | None = None
    alignment: AlignmentRecord | None = None
    plain: ResultRecord | None = None
    evolution: Evolution | None = None
    plane: PlaneRecord | None = None

    @property
    def bound(self) -> tuple[str, ...]:
        """:func:`bound_quantities`."""
        return bound_quantities(self.result)

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
        return "larger of " * (len(self.bound) > 1) + " and ".join(self.labels[name] for name in self.bound)


def read_run(run: str | os.PathLike[str]) -> Recorded:
    """Read a finished run.

    Raises:
        InvalidRun: there is none, or it is damaged.
    """
    directory = RunDirectory(run)
    manifest, beads, alignment = directory.manifest(), directory.string(), directory.alignment()
    plain = _plain(directory.plain, manifest, alignment)
    result = directory.result()
    return Recorded(
        manifest,
        result,
        beads,
        certificate_in(directory, beads),
        alignment,
        plain,
        read_evolution(directory, manifest, result, beads),
        directory.plane_record(),
    )


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


def figures_of(run: Recorded) -> dict[str, go.Figure]:
    """All figures of a run by name; of each metric, what is measured along the string is ``along-<metric>``.

    Raises:
        InvalidRun: its parts do not belong to one run.
    """
    _check(run)
    result, curve, held = run.result, run.result.string.curve, run.held
    along = {
        name: loss_figure(curve, name, threshold=result.threshold, bound=run.bound, measured_on=run.measured_on)
        for name in metrics(curve)
    }
    if run.certificate is not None:
        _draw_bound(along, run.certificate, result)
    figures = {f"along-{name}": figure for name, figure in along.items()}
    figures["string"] = string_figure(curve, run.beads)
    figures["depth"] = depth_figure(result.rounds, result.threshold)
    if run.evolution is not None:
        figures["evolution"] = evolution_figure(run.evolution, held)
        if run.evolution.branches:
            figures["branching"] = branching_figure(run.evolution.branches, held)
    if run.plane is not None:
        figures["plane"] = draw_plane(run.plane, result.threshold, held)
    if run.alignment is not None:
        correlation = correlation_figure(run.alignment)
        if correlation is not None:
            figures["correlation"] = correlation
        if run.plain is not None:
            figures["both"] = both_figure(result, run.plain, held)
    return figures


def _check(run: Recorded) -> None:
    result = run.result
    expected = (result.string.beads, run.manifest.size)
    if tuple(run.beads.shape) != expected:
        raise InvalidRun(
            f"the string has {expected[0]} beads of {expected[1]} parameters, but the beads given have shape "
            f"{tuple(run.beads.shape)}; pass the beads of the same run"
        )
    if "loss" not in result.string.curve.values:
        raise InvalidRun("the curve holds no loss; measure the string again")
    missing = set(BARRIERS) - result.string.barriers.keys()
    if missing:
        raise InvalidRun(f"barriers {', '.join(sorted(missing))} are missing from the result; measure the string again")
    plain = run.plain if run.alignment is not None else None
    if plain is not None and plain.names != result.names:
        raise InvalidRun(
            f"the search without alignment binds {plain.bind!r}, the run binds {result.bind!r}; "
            "pass the two results of one run"
        )


def _draw_bound(along: dict[str, go.Figure], certificate: Certificate, result: ResultRecord) -> None:
    curve = result.string.curve
    metric = split_quantity(certificate.quantity, curve.values)[1]
    if metric not in along:
        return
    lengths = [segment.length for segment in result.string.segments]
    whole = sum(lengths) or 1.0
    starts = [before / whole for before in accumulate(lengths, initial=0.0)]
    pieces: Sequence[tuple[float, float, float]] = [
        (
            starts[piece.segment] + piece.low * lengths[piece.segment] / whole,
            starts[piece.segment] + piece.high * lengths[piece.segment] / whole,
            piece.bound,
        )
        for piece in certificate.partition
    ]
    draw_certified(along[metric], pieces, (curve.s, curve.values[certificate.quantity]))


def _plain(directory: RunDirectory, manifest: Manifest, alignment: AlignmentRecord | None) -> ResultRecord | None:
    """The result of the search without alignment, if there is one.

    Raises:
        InvalidRun: it is damaged, or lies between other models than those that were given.
    """
    if alignment is None or not directory.finished:
        return None
    if directory.manifest().ends != (manifest.ends[0], alignment.original):
        raise InvalidRun(f"{directory.path}: not a run between the models that were aligned; move it elsewhere")
    return directory.result()
