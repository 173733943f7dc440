"""Alignment as the first step of a search, and its form on disk (Section IV)."""

from __future__ import annotations

from dataclasses import replace

import torch

from weightstring.arrays import Theta
from weightstring.codec import finite_or_none
from weightstring.errors import InvalidSetting
from weightstring.path import Objective
from weightstring.problem import Modular
from weightstring.problem.capabilities import units_of
from weightstring.problem.precision import named
from weightstring.protocol import LossProblem, lacking
from weightstring.runs.settings import Pair, Settings
from weightstring.store import digest
from weightstring.store.alignment_record import AlignedGroup, AlignmentRecord, CandidateRecord
from weightstring.symmetry.alignment import Aligned, align
from weightstring.symmetry.equivalence import rounding
from weightstring.symmetry.lines import POINTS

ROUNDING = 1e-5
"""Relative difference of losses that the same function may have with its units in another order."""


def align_pair(problem: LossProblem, pair: Pair, settings: Settings) -> Pair:
    """The pair, all its models aligned with the first end where that is asked for, or as its run has them.

    The threshold is raised by no more than rounding where the copy measures above it.

    Raises:
        InvalidSetting: the problem has no module to align.
        Unsupported: the symmetry of its module cannot be found.
    """
    if not pair.align:
        return pair
    if not isinstance(problem, Modular):
        raise InvalidSetting(
            f"align=True: no module to align: {lacking(problem, Modular)}; leave align out to search all the same"
        )
    directory, threshold = pair.directory, pair.threshold
    if directory is not None and directory.exists and (record := directory.alignment()) is not None:
        first, last = directory.ends()
        begun_with = [waypoint.original for waypoint in directory.manifest().through]
        same = digest(first) == digest(pair.a) and record.original == digest(pair.b)
        if same and begun_with == list(map(digest, pair.through)):
            begun = directory.manifest().threshold
            level = begun if _rounded(threshold, begun) else threshold
            through = tuple(theta.to(problem.device) for theta in directory.through())
            kept = replace(pair, b=last.to(problem.device), threshold=level, alignment=record, align=False)
            return replace(kept, through=through, originals=tuple(map(digest, pair.through)))
    aligned = align(problem, pair.a, pair.b, seed=settings.seed, symmetry=pair.symmetry)
    if threshold is not None:
        before, after = Objective(problem, settings.bind)(torch.stack([pair.b, aligned.theta])).tolist()
        if before <= threshold < after and _rounded(threshold, after):
            threshold = after
    record = alignment_record(problem, aligned, pair.b, "barrier")
    seed, symmetry = settings.seed, pair.symmetry
    waypoints = (align(problem, pair.a, each, seed=seed, symmetry=symmetry).theta for each in pair.through)
    return replace(
        pair,
        b=aligned.theta,
        threshold=threshold,
        alignment=record,
        align=False,
        through=tuple(waypoints),
        originals=tuple(map(digest, pair.through)),
    )


def _rounded(threshold: float | None, raised: float) -> bool:
    """Whether a threshold is another one but for what rounding raised it by."""
    return threshold is not None and threshold <= raised <= threshold + ROUNDING * abs(threshold)


def alignment_record(problem: Modular, aligned: Aligned, b: Theta, by: str) -> AlignmentRecord:
    """An alignment's form on disk."""
    return AlignmentRecord(
        method=aligned.chosen.method,
        by=by,
        rescaled=aligned.chosen.rescaled,
        mapped=aligned.chosen.mapped,
        distance_before=aligned.distance_before,
        distance=aligned.distance,
        barrier_before=finite_or_none(aligned.barrier_before),
        barrier=finite_or_none(aligned.barrier_after),
        difference=aligned.difference,
        examples=aligned.examples,
        units="batches" if units_of(problem) == "batches" else "inputs",
        log10_permutations=aligned.log10_permutations,
        seconds=aligned.seconds,
        candidates=tuple(
            CandidateRecord(
                method=each.method,
                rescaled=each.rescaled,
                mapped=each.mapped,
                distance=each.distance,
                barrier=finite_or_none(each.barrier),
            )
            for each in aligned.candidates
        ),
        groups=groups_of(aligned),
        factors={name: tuple(scales.reshape(-1).tolist()) for name, scales in aligned.move.factors.items()},
        original=digest(b),
        evaluations=aligned.evaluations,
        gradients=aligned.gradients,
        points=POINTS,
        rounding=named(rounding(problem)),
    )


def groups_of(aligned: Aligned) -> tuple[AlignedGroup, ...]:
    """What became of each group of units that may move."""
    groups = aligned.move.symmetry.permutations.groups
    return tuple(_group(aligned, name) for name, group in groups.items() if not group.fixed)


def _group(aligned: Aligned, name: str) -> AlignedGroup:
    group = aligned.move.symmetry.permutations.groups[name]
    copies = aligned.move.symmetry.permutations.copies(name)
    stay = torch.arange(group.size).expand(*copies, group.size)
    permutation = aligned.permutation.get(name, stay)
    correlations = aligned.correlations.get(name, (torch.empty(0), torch.empty(0)))
    before, after = (torch.nan_to_num(values, nan=0.0) for values in correlations)  # activations may overflow
    return AlignedGroup(
        name=name,
        size=group.size,
        over=group.over,
        permutation=tuple(permutation.reshape(-1).tolist()),
        moved=int((permutation != stay).sum()),
        correlation_before=tuple(before.tolist()),
        correlation=tuple(after.tolist()),
    )
