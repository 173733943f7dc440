"""N(λ) from both sides, and the tree, beside networks whose components are known exactly."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from weightstring.errors import InvalidSetting
from weightstring.report.draw.tree import disconnectivity_tree
from weightstring.study.components import Components
from weightstring.theory import deep_linear
from weightstring.theory.deep_linear_barrier import barrier


def exact(ends: list[list[Tensor]], x: Tensor, y: Tensor) -> Components:
    """Γ between every two deep linear networks, by the formula."""
    loss = deep_linear.SquaredLoss(x, y)
    losses = torch.tensor([float(loss(deep_linear.product(end))) for end in ends], dtype=torch.float64)
    heights = torch.tensor([[barrier(a, b, x, y).gamma for b in ends] for a in ends], dtype=torch.float64)
    return Components(losses, heights, heights.clone(), "exact")


def test_deep_linear_networks_have_two_to_the_b_components() -> None:
    # 1-1-1-1: the products w3 and w3·w2 each keep their sign below λ*, b = 2; w1 makes up for both.
    x = torch.tensor([[1.0, 2.0, -1.5]], dtype=torch.float64)
    y = 1.4 * x + torch.tensor([[0.1, -0.1, 0.05]], dtype=torch.float64)
    ends = []
    for signs in product((1.0, -1.0), repeat=2):
        for size in (0.9, 1.2):
            w3, w2 = signs[0] * size, signs[1] * 1.1
            ends.append([torch.tensor([[w]], dtype=torch.float64) for w in (1.4 / (w3 * w2), w2, w3)])
    found = exact(ends, x, y)
    least = float(y.square().mean())  # λ*, of the product 0
    below, above = found.count(0.99 * least), found.count(1.01 * least)
    assert (below.models, below.at_least, below.at_most) == (8, 4, 4)
    assert (above.models, above.at_least, above.at_most) == (8, 1, 1)


def test_wider_deep_linear_networks_have_one() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    ends = [
        [torch.randn(3, 2, generator=generator).double(), torch.randn(1, 3, generator=generator).double()]
        for _ in range(4)
    ]
    found = exact(ends, x, y)
    assert found.count(float(found.losses.max())) == (4, 1, 1)


def test_single_linkage_joins_by_the_lowest_way() -> None:
    above = torch.tensor([[0.1, 5.0, 1.0], [5.0, 0.2, 2.0], [1.0, 2.0, 0.3]], dtype=torch.float64)
    losses = above.diagonal().clone()
    below = torch.maximum(losses[:, None], losses)
    found = Components(losses, above, below)
    assert [join.level for join in found.joins] == [1.0, 2.0]
    assert [found.count(level).at_most for level in (0.15, 0.5, 1.0, 1.9, 2.0)] == [1, 3, 2, 2, 1]
    assert [found.count(level).models for level in (0.05, 0.15, 0.25, 0.35)] == [0, 1, 2, 3]
    assert all(found.count(level).at_least <= 1 for level in (0.15, 0.5, 3.0))


def test_the_tree_hangs_models_at_their_losses_and_joins_them_at_strings() -> None:
    above = torch.tensor([[-0.1, 5.0, 1.0], [5.0, 0.2, 2.0], [1.0, 2.0, 0.3]], dtype=torch.float64)
    losses = above.diagonal().clone()
    figure = disconnectivity_tree(Components(losses, above, torch.maximum(losses[:, None], losses)), ["a", "b", "c"])
    *joins, leaves = figure.data
    assert sorted(leaves.y) == pytest.approx([-0.1, 0.2, 0.3])
    assert dict(zip(leaves.text, leaves.y, strict=True))["b"] == pytest.approx(0.2)
    assert sorted(max(join.y) for join in joins) == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("above", "below", "said"),
    [
        ([[0.0, 1.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], "symmetric"),
        ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]], "one of the bounds is wrong"),
        ([[0.0]], [[0.0]], "two or more"),
    ],
)
def test_refused(above: list[list[float]], below: list[list[float]], said: str) -> None:
    matrices = [torch.tensor(rows, dtype=torch.float64) for rows in (above, below)]
    with pytest.raises(InvalidSetting, match=said) as caught:
        Components(torch.zeros(len(above), dtype=torch.float64), *matrices)
    assert "\n" not in str(caught.value)


def test_joins_tell_the_tree_in_words_and_levels_that_are_negative_or_infinite_survive() -> None:
    above = torch.tensor(
        [[-3.0, -2.0, torch.inf, 5.0], [-2.0, -2.5, torch.inf, 1e-300], [torch.inf, torch.inf, -1.0, torch.inf],
         [5.0, 1e-300, torch.inf, 0.0]],
        dtype=torch.float64,
    )  # fmt: skip
    losses = above.diagonal().clone()
    found = Components(losses, above, torch.maximum(losses[:, None], losses))
    assert found.joins == ((-2.0, (0,), (1,)), (1e-300, (0, 1), (3,)), (torch.inf, (0, 1, 3), (2,)))
    assert all(found.count(join.level).at_most < found.count(join.level).models for join in found.joins)
