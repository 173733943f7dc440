"""A search, rebuilt from its journal: the string after each round, in three fixed axes."""

from __future__ import annotations

from collections.abc import Sequence

from weightstring.arrays import Theta, Thetas
from weightstring.codec import finite_or_none
from weightstring.errors import InvalidRun
from weightstring.path import no_worse
from weightstring.report.draw.along import bead_rows
from weightstring.report.draw.branching import Branch
from weightstring.report.draw.colours import short
from weightstring.report.draw.evolution import Corner, Evolution, Span, Step
from weightstring.report.draw.projection import places
from weightstring.report.run.recursion import Recursion
from weightstring.runs.manifest import query_of
from weightstring.search.chain import Chain, beads_of
from weightstring.search.running.history import strings
from weightstring.search.strategies import from_plain
from weightstring.store import Store
from weightstring.store.records import Manifest, ResultRecord

MOST, BEADS = 60, 1500
"""Steps that are drawn at most, the first and the last among them, and beads in all of them: a page must stay small."""


def read_evolution(
    store: Store, manifest: Manifest, result: ResultRecord, beads: Sequence[Theta] | Thetas
) -> Evolution | None:
    """Rebuild a search from its journal, as resuming does.

    Args:
        store: the run's.
        manifest: its manifest.
        result: its result.
        beads: the models (B, P) of the result's string.

    Returns:
        None where there is nothing to see: no round, or never a bead between the ends.

    Raises:
        InvalidRun: the journal is damaged, or of another version.
        InvalidSetting: the strategy is not known here.
        UserCodeFailed: the strategy, a user's own, does not go through the journal again.
    """
    rounds = store.replay()
    if result.rounds and not rounds:
        raise InvalidRun(f"{store}: its journal holds no round, but the result tells of {len(result.rounds)}")
    strategy = from_plain({name: value for name, value in manifest.strategy.items() if name != "recipe"})
    query = query_of(store, manifest)
    widest = max((finished.beads for finished in result.rounds), default=2)
    shown = _spread(len(rounds) + 1, max(2, min(MOST, BEADS // widest)))
    chains, recursion = [], Recursion(strategy)
    for number, chain in enumerate(strings(strategy, query, rounds)):
        recursion.follow(chain)
        if number in shown:
            chains.append((number, chain))
    if not rounds or (len(beads) == 2 and all(len(chain) == 1 for _, chain in chains)):
        return None
    return _projected(chains, len(rounds), result, beads, recursion.branches)


def _projected(
    chains: Sequence[tuple[int, Chain]],
    rounds: int,
    result: ResultRecord,
    beads: Sequence[Theta] | Thetas,
    branches: tuple[Branch, ...],
) -> Evolution:
    rows: dict[int, int] = {}
    models: list[Theta] = []
    for _, chain in chains:
        for bead in beads_of(chain):
            if id(bead) not in rows:
                rows[id(bead)] = len(beads) + len(models)
                models.append(bead.theta)
    positions, explained = places(list(beads), models)
    corners = [(short(x), short(y), short(z)) for x, y, z in positions.tolist()]
    steps = [
        _step(number, rounds, chain, tuple(corners[rows[id(bead)]] for bead in beads_of(chain)), result.threshold)
        for number, chain in chains
    ]
    final = _final(result, tuple(corners[: len(beads)]))
    # What certifying, refining or the best of several strings made of the last round is a step of its own.
    if steps[-1].corners == final.corners:
        steps[-1] = final._replace(name=steps[-1].name, beads=steps[-1].beads)
    else:
        steps.append(final)
    return Evolution(tuple(steps), explained, rounds, branches)


def _step(number: int, rounds: int, chain: Chain, corners: tuple[Corner, ...], threshold: float) -> Step:
    spans = [
        Span(None, None, None)
        if link.measured is None
        else Span(link.measured.top.t, finite_or_none(link.height), not no_worse(link.height, threshold))
        for link in chain
    ]
    beads = beads_of(chain)
    return Step(
        f"After round {number} of {rounds}" if number else "Before the first round",
        ("A", *(f"bead {bead.name}" for bead in beads[1:-1]), "B"),
        corners,
        tuple(finite_or_none(bead.value) for bead in beads),
        tuple(spans),
    )


def _final(result: ResultRecord, corners: tuple[Corner, ...]) -> Step:
    curve = result.string.curve
    heights = []
    for row in bead_rows(curve, len(corners)):
        values = [curve.values[name][row] for name in result.names]
        heights.append(None if None in values else max(value for value in values if value is not None))
    spans = [Span(top.t, top.max, top.max is None or top.max > result.threshold) for top in result.string.segments]
    inner = (f"bead {k}" for k in range(1, len(corners) - 1))
    return Step("Result", ("A", *inner, "B"), corners, tuple(heights), tuple(spans))


def _spread(count: int, most: int) -> set[int]:
    """At most so many of the steps, at even distances, the first and the last among them."""
    last = min(count, most) - 1
    return {round(k * (count - 1) / max(last, 1)) for k in range(last + 1)}
