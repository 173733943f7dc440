"""Minibatches: each example once an epoch, and the same ones for the same (seed, place)."""

from __future__ import annotations

import pytest
import torch

from weightstring.descent.minibatches import Minibatches, minibatches


def drawn(count: int, size: int = 23, batch_size: int = 5, seed: int = 1, place: str = "bead") -> torch.Tensor:
    rows = Minibatches(size, batch_size, seed, place)
    return torch.stack([rows.draw() for _ in range(count)])


@pytest.mark.parametrize(("size", "batch_size"), [(23, 5), (24, 6), (7, 7), (5, 1)])
def test_no_example_comes_twice_in_an_epoch(size, batch_size):
    an_epoch = size // batch_size
    batches = drawn(6 * an_epoch, size, batch_size)
    assert batches.dtype == torch.int64
    assert batches.shape == (6 * an_epoch, batch_size)
    assert batches.min() >= 0
    assert batches.max() < size
    for epoch in batches.reshape(6, -1):
        assert len(epoch.unique()) == an_epoch * batch_size


def test_epochs_are_shuffled_anew_so_that_no_example_is_always_left_out():
    epochs = drawn(40).reshape(10, -1)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 10
    assert len(epochs.unique()) == 23


def test_a_batch_larger_than_the_data_is_all_of_them():
    assert sorted(drawn(1, size=4, batch_size=100)[0].tolist()) == [0, 1, 2, 3]


def test_seed_and_place_decide_and_nothing_else():
    torch.manual_seed(1)
    first = drawn(9)
    torch.manual_seed(2)
    assert torch.equal(drawn(9), first)
    assert not torch.equal(drawn(9, seed=2), first)
    assert not torch.equal(drawn(9, place="another bead"), first)


def test_two_that_are_drawn_from_in_turn_do_not_disturb_each_other():
    one, other = (Minibatches(23, 5, 1, place) for place in ("one", "other"))
    in_turn = [(one.draw(), other.draw()) for _ in range(9)]
    assert torch.equal(torch.stack([row for row, _ in in_turn]), drawn(9, place="one"))
    assert torch.equal(torch.stack([row for _, row in in_turn]), drawn(9, place="other"))


def test_a_problem_without_a_batch_size_has_no_minibatches(cloud):
    assert minibatches(cloud(), 0, "bead") is None
    assert torch.equal(minibatches(cloud(batch_size=5), 1, "bead").draw(), drawn(1)[0])
