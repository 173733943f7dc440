"""Pruning: superfluous beads go, most useful first, and what is left is a string still."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from weightstring.path import Maximum
from weightstring.search import Bead, Measure, Measured
from weightstring.search.chain import Chain, Link, beads_of, is_string
from weightstring.search.pruning import Pruning, absorb, propose


def chain(*points: tuple[float, float]) -> Chain:
    thetas = [torch.tensor(point, dtype=torch.float64) + 10 for point in points]
    beads = [Bead(str(i), theta, 0.1) for i, theta in enumerate(thetas)]
    accepted = Measured(True, (Maximum(0.5, 0.4),), 31)
    return tuple(Link(p, q, depth, accepted) for depth, (p, q) in enumerate(pairwise(beads), 1))


def names(chain: Chain) -> str:
    return "".join(bead.name for bead in beads_of(chain))


def thinned(one: Chain, good: set[str] | None = None) -> tuple[Chain, list[list[str]]]:
    """What is left when the shortcuts in ``good`` (None: all) are accepted, and what each round measured."""
    state, asked = Pruning(one, 0.5, {}), []
    while jobs := propose(state):
        assert all(isinstance(job, Measure) and job.threshold == 0.5 for job in jobs)
        asked.append([job.name for job in jobs])
        results = {job.name: Measured(good is None or job.name in good, (Maximum(0.5, 0.45),), 20) for job in jobs}
        state = absorb(state, results)
        assert is_string(state.chain)
    return state.chain, asked


ZIGZAG = chain((0, 0), (1, 2), (2, 0), (3, 3), (4, 0), (5, 1), (6, 0))


def test_without_a_good_shortcut_everything_stays():
    left, asked = thinned(ZIGZAG, set())
    assert left == ZIGZAG
    assert asked == [["0-2", "1-3", "2-4", "3-5", "4-6"]]


def test_if_every_shortcut_is_good_only_the_ends_stay():
    left, asked = thinned(ZIGZAG)
    assert names(left) == "06"
    assert len(asked) == 3
    assert left[0].measured.top == Maximum(0.5, 0.45)


def test_the_bead_whose_loss_shortens_the_string_most_goes_first_and_no_neighbour_with_it():
    state = Pruning(ZIGZAG, 0.5, {})
    results = {job.name: Measured(True, (Maximum(0.5, 0.45),), 20) for job in propose(state)}
    # The detour over 3 is the longest; 2 and 4 are ends of its shortcut; then 1, and 5.
    assert names(absorb(state, results).chain) == "0246"
    results["2-4"] = Measured(False, (Maximum(0.5, 0.6),), 20)
    # Without that, those over 2 and over 4 are the longest.
    assert names(absorb(state, results).chain) == "01356"


def test_a_shortcut_is_measured_once_and_new_ones_after_a_bead_is_gone():
    left, asked = thinned(ZIGZAG, {"0-2", "4-6"})
    assert names(left) == "02346"
    assert asked[1:] == [["0-3", "3-6"]]  # 2-4 is known already
    measured = [name for names_of_round in asked for name in names_of_round]
    assert len(set(measured)) == len(measured)


def test_a_shortcut_has_the_heights_of_its_beads_and_the_larger_depth():
    beads = [Bead(str(i), torch.tensor([float(i), i % 2]), 0.1 * i) for i in range(3)]
    accepted = Measured(True, (Maximum(0.5, 0.4),), 31)
    links = (Link(beads[0], beads[1], 3, accepted), Link(beads[1], beads[2], 2, accepted))
    (job,) = propose(Pruning(links, 0.5, {}))
    assert job.ends == (0.0, 0.2)
    left, _ = thinned(links)
    assert left[0].depth == 3


@pytest.mark.parametrize("good", [None, {"0-2", "1-3", "3-5"}, {"1-3", "2-4", "4-6"}])
def test_a_string_and_its_reverse_are_thinned_alike(good):
    def turned(one: Chain) -> Chain:
        return tuple(Link(link.right, link.left, link.depth, link.measured) for link in reversed(one))

    def renamed(names_of_links: set[str] | None) -> set[str] | None:
        return names_of_links and {"-".join(reversed(name.split("-"))) for name in names_of_links}

    uneven = chain((0, 0), (1, 2.1), (2, 0.3), (3, 3), (4, -0.2), (5, 1.4), (6, 0))
    there, _ = thinned(uneven, good)
    back, _ = thinned(turned(uneven), renamed(good))
    assert names(there) == names(back)[::-1]


def test_a_string_of_one_segment_has_nothing_to_lose():
    one = chain((0, 0), (1, 1))
    assert thinned(one) == (one, [])
