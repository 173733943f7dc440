"""Continuous paths and the strings inscribed in them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.theory.curve import Curve, chain, straight


def quarter(start: float) -> Callable[[float], Tensor]:
    """A quarter of the ring's valley."""
    x, y = Ring().radii

    def at(u: float) -> Tensor:
        angle = start + u * math.pi / 2
        return torch.tensor([x * math.cos(angle), y * math.sin(angle)], dtype=torch.float64)

    return at


HALF = Curve((quarter(0.3), quarter(0.3 + math.pi / 2)), bound=1e-12)


def test_pieces_share_the_way_and_meet() -> None:
    assert torch.equal(HALF.at(0.0), quarter(0.3)(0.0))
    assert torch.equal(HALF.at(0.25), quarter(0.3)(0.5))
    assert torch.allclose(HALF.at(0.5), quarter(0.3)(1.0), atol=1e-15)
    assert torch.equal(HALF.at(1.0), quarter(0.3 + math.pi / 2)(1.0))


def test_backwards_it_is_the_same_path() -> None:
    back = HALF.reversed()
    assert all(torch.allclose(back.at(s), HALF.at(1 - s), atol=1e-15) for s in (0.0, 0.2, 0.5, 0.9, 1.0))
    assert back.bound == HALF.bound


def test_an_inscribed_string_cuts_corners_by_less_than_the_tolerance() -> None:
    counts = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        string = HALF.to_string(Ring(), tolerance)
        assert HALF.bound < string.max_loss <= HALF.bound + tolerance
        counts.append(len(string))
    # The loss of a chord is the square of its sag, which is quadratic in its length: the fourth root of the tolerance.
    assert counts[0] < counts[1] < counts[2] <= 16 * counts[0]


def test_it_stops_at_the_beads_allowed() -> None:
    assert len(HALF.to_string(Ring(), 1e-12, max_beads=7)) == 7


def test_a_chain_is_exact_at_its_corners() -> None:
    corners = torch.tensor([[0.1, 0.7], [0.3, -1.0], [2.0, 0.3]], dtype=torch.float64)
    path = chain(list(corners), 3.0)
    assert [path.at(s).tolist() for s in (0.0, 0.5, 1.0)] == corners.tolist()
    assert torch.equal(straight(*corners[:2])(1.0), corners[1])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Curve((), 1.0), "at least one piece"),
        (lambda: HALF.at(1.1), "s=1.1 is not on the path"),
        (lambda: HALF.to_string(Ring(), 0.0), "positive tolerance"),
        (lambda: Curve(HALF.pieces, math.inf).to_string(Ring()), "bound inf"),
        (lambda: HALF.to_string(Ring(), 1e-3, max_beads=1), "two beads"),
    ],
)
def test_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
