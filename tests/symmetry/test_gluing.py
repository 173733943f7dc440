"""Every permutation of a network of any depth as a chain of exchanges, none of which costs more than where it began."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.symmetry.finding import find
from weightstring.symmetry.gluing import Gluing, exchanged, exchanges_to, glue, heights
from weightstring.symmetry.moves import Move, odd, random_permutation


def problem_of(*layers: nn.Module) -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 30, dtype=torch.float64).unsqueeze(1)
    return ws.ModuleProblem(
        nn.Sequential(*layers), nn.MSELoss(), (x, torch.sin(3 * x)), dtype=torch.float64, engine="loop"
    )


@pytest.fixture(scope="module")
def glued() -> Gluing:
    """Three hidden layers, of 4, 5 and 3 units."""
    problem = problem_of(
        nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)
    )
    return glue(problem, find(problem), 1.5 * problem.initial(3))


@settings(max_examples=30)
@given(st.permutations(range(7)), st.randoms(use_true_random=False))
def test_exchanges_along_any_tree_lead_to_any_permutation(permutation: list[int], draw) -> None:
    edges = [(unit, draw.randrange(unit)) for unit in range(1, 7)]
    order = torch.arange(7)
    for first, second in (made := exchanges_to(torch.tensor(permutation), edges)):
        assert (first, second) in edges or (second, first) in edges
        order = exchanged(order, first, second)
    assert order.tolist() == permutation
    assert len(made) <= 21


@pytest.mark.parametrize("seed", range(4))
def test_a_string_leads_to_the_permuted_copy_of_all_layers_and_no_higher_than_the_exchanges(
    glued: Gluing, seed: int
) -> None:
    move = random_permutation(glued.symmetry, seed)
    string = glued.string(move)
    assert torch.equal(string[0], glued.theta)
    assert torch.equal(string[-1], move(glued.theta))
    assert string.max_loss == pytest.approx(glued.height, rel=1e-6) or string.max_loss < glued.height
    lengths = {own.length for own in glued.exchanges}
    for a, b in pairwise(string):
        assert min(abs(float((b - a).norm()) - own) for own in lengths) < 1e-9
    bare = glued.problem.measure(string.beads)["loss"]
    torch.testing.assert_close(bare, bare[:1].expand(len(bare)), rtol=1e-10, atol=0)


def test_odd_permutations_have_a_string_too(glued: Gluing) -> None:
    name = glued.exchanges[0].group
    order = torch.arange(glued.symmetry.permutations.groups[name].size)
    order[:2] = order[:2].flip(0)
    assert odd(order)
    move = Move(glued.symmetry, {name: order})
    assert torch.equal(glued.string(move)[-1], move(glued.theta))


def test_trees_span_every_layer_with_the_shortest_longest_edge(glued: Gluing) -> None:
    sizes = {name: group.size for name, group in glued.symmetry.permutations.groups.items()}
    for name, size in sizes.items():
        own = [edge for edge in glued.exchanges if edge.group == name]
        assert len(own) == size - 1
        distance = {}
        for pair in combinations(range(size), 2):
            copy = Move(glued.symmetry, {name: exchanged(torch.arange(size), *pair)})(glued.theta)
            distance[pair] = float((copy - glued.theta).norm())
        least = min(
            max(distance[tuple(sorted(pair))] for pair in tree) for tree in spanning_trees(size)
        )  # of all n^(n−2) trees
        assert max(edge.length for edge in own) == pytest.approx(least)
    assert heights(glued).keys() == sizes.keys()
    assert max(heights(glued).values()) == glued.height


def spanning_trees(size: int) -> list[list[tuple[int, int]]]:
    """All of them, as whatever n − 1 edges leave no unit apart."""
    found = []
    for edges in combinations(list(combinations(range(size), 2)), size - 1):
        reached = {0}
        for _ in range(size):
            reached |= {unit for edge in edges if reached & set(edge) for unit in edge}
        if len(reached) == size:
            found.append(list(edges))
    return found


def test_units_that_are_equal_are_exchanged_for_nothing() -> None:
    problem = problem_of(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    theta = problem.initial(0)
    views = problem.layout.views(theta)
    for name, value in {"0.weight": 0.7, "0.bias": 0.1, "2.weight": -0.4}.items():
        views[name].fill_(value)
    glued = glue(problem, find(problem), theta)
    assert glued.longest == 0
    assert glued.height == pytest.approx(float(problem.measure(theta[None])["loss"]))


def test_what_a_segment_costs_is_what_its_curvature_allows(glued: Gluing) -> None:
    """At most L + cℓ²/8, by second differences."""
    for own in glued.exchanges:
        curve = ws.loss_curve(glued.problem, own.beads[0], own.beads[-1], [i / 64 for i in range(65)])
        bend = max(0.0, -float(curve.diff(n=2).min()) * 64**2)
        assert float(curve.max()) <= float(curve[0]) + bend / 8 + 1e-12


@pytest.mark.slow
def test_paths_of_a_search_take_the_place_of_straight_ones(glued: Gluing) -> None:
    def round_about(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a, a + 0.1, b])

    other = glued.along(round_about)
    move = random_permutation(glued.symmetry, 1)
    string = other.string(move)
    assert len(string) == 2 * (len(glued.string(move)) - 1) + 1
    assert torch.equal(string[-1], move(glued.theta))
    assert string.max_loss <= other.height * (1 + 1e-6)


def test_all_copies_of_a_small_network_are_reached() -> None:
    problem = problem_of(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    glued = glue(problem, find(problem), problem.initial(2))
    (name,) = glued.symmetry.permutations.groups
    ends = [glued.string(Move(glued.symmetry, {name: torch.tensor(order)}))[-1] for order in permutations(range(3))]
    assert len({tuple(end.tolist()) for end in ends}) == math.factorial(3)


def test_misuse_is_refused(glued: Gluing, refused: Callable) -> None:
    name = glued.exchanges[0].group
    with refused(InvalidSetting, "also scales"):
        glued.string(Move(glued.symmetry, {}, {name: torch.ones(4).double()}))
    with refused(InvalidSetting, "give a permutation of one of"):
        glued.string(Move(glued.symmetry, {"other": torch.arange(4)}))
    with refused(InvalidSetting, "give a permutation of one of"):
        glued.string(Move(glued.symmetry, {name: torch.tensor([0, 0, 1, 2])}))
    with refused(InvalidCheckpoint, "does not lead from θ to the copy"):
        glued.along(lambda a, b: torch.stack([a, a]))
    with refused(InvalidCheckpoint, r"theta is \(3,\)"):
        glue(glued.problem, glued.symmetry, torch.zeros(3).double())
