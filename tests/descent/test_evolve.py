"""Models that move together (Section II.C)."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from msgspec.structs import astuple

from weightstring.descent import Descents, Evolution, Free, Hyperplane, Spring, Start, Tied
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring, TwoWells
from weightstring.recipe import Recipe
from weightstring.tasks import load_task


def height(problem):
    return lambda thetas: problem.measure(thetas)["loss"]


def evolve(problem, *evolutions, recipe=None, **options):
    together = Descents(problem, height(problem), seed=0, recipe=recipe or problem.recipe, width=1, **options)
    for number, evolution in enumerate(evolutions):
        together.add(evolution, number)
    finished = {}
    while not together.idle:
        finished |= together.advance()
    return [finished[number] for number in range(len(evolutions))]


def line(problem, beads):
    a, b = problem.ends
    return torch.stack([torch.lerp(a, b, t) for t in torch.linspace(0, 1, beads).tolist()])


def residual(theta, left, right):
    theta, left, right = (each.double() for each in (theta, left, right))
    gap = right - left
    return float(((theta - (left + right) / 2) * gap).sum().abs() / gap.square().sum())


class Recording(Tied):
    """Records the residual of every bead after every move, against the neighbours that it saw."""

    seen: ClassVar[list[float]] = []

    def place(self, before, after, moving):
        placed = super().place(before, after, moving)
        for row, theta in zip(moving, placed, strict=True):
            if 0 < row < len(before) - 1:
                self.seen.append(residual(theta, before[row - 1], before[row + 1]))
        return placed


@pytest.mark.parametrize("updates", ["jacobi", "red-black"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("constraint", [Hyperplane(), Spring(0.01) & Hyperplane()], ids=lambda tie: tie.name)
def test_beads_stay_on_their_planes_while_their_neighbours_move(updates, optimizer, constraint):
    problem = Ring(dtype=torch.float32, size=12)
    Recording.seen.clear()
    recipe = Recipe(optimizer, {"lr": 0.01}, check_every=5, max_steps=100, patience=1_000)
    thetas = line(problem, 6)
    evolution = Evolution("e", thetas, (1, 2, 3, 4), Recording(constraint, updates), -1.0, -1.0, 60)
    (result,) = evolve(problem, evolution, recipe=recipe)
    assert result.steps == 4 * 60
    assert len(Recording.seen) >= 240
    assert max(Recording.seen) <= 1e-6


def test_with_red_black_updates_a_bead_is_on_the_plane_of_where_its_neighbours_are():
    problem = TwoWells()
    thetas = line(problem, 5)
    motion = Tied(Hyperplane(), "red-black")
    (result,) = evolve(problem, Evolution("e", thetas, (1, 2, 3), motion, -9.0, math.inf, 10))
    beads = torch.stack([thetas[0], *result.thetas, thetas[4]])
    assert residual(beads[2], beads[1], beads[3]) < 1e-14  # even rows move last
    assert max(residual(beads[i], beads[i - 1], beads[i + 1]) for i in (1, 3)) > 0


def test_what_waits_spends_nothing():
    problem = Ring()
    thetas = line(problem, 5)
    values = tuple(problem.measure(thetas)["loss"].tolist())
    level = sorted(values[1:4])[1]
    (result,) = evolve(problem, Evolution("e", thetas, (1, 2, 3), Tied(Free()), level, level, 100, values=values[1:4]))
    assert result.statuses == ("reached",) * 3
    assert all(value <= level for value in result.values)
    waiting = [k for k, value in enumerate(values[1:4]) if value <= level]
    assert len(waiting) == 2
    for k in waiting:
        assert torch.equal(result.thetas[k], thetas[k + 1])
        assert [heights[k] for heights in result.trace[1:]] == [None] * (len(result.trace) - 1)
    checks = len(result.trace) - 1
    assert result.steps == checks * problem.recipe.check_every  # one bead's own
    assert evolve(problem, Evolution("e", thetas, (1, 3), Tied(Free()), 9.0, 9.0, 100))[0].steps == 0


def test_a_bead_that_cannot_get_there_gives_up_with_its_best():
    problem = TwoWells()
    thetas = line(problem, 3)
    (result,) = evolve(problem, Evolution("e", thetas, (1,), Tied(Hyperplane()), 0.01, 0.02, 5_000))
    assert result.statuses == ("exhausted",)
    assert 0.02 < result.values[0] < problem.measure(thetas)["loss"][1]
    assert result.values[0] == float(problem.measure(result.thetas)["loss"])
    assert result.steps < 1_000


def test_ends_may_move_too():
    problem = Ring()
    thetas = torch.stack([problem._point(0.4, 0.9), problem._point(0.2, 0.1), problem._point(0.3, -0.9)])
    (result,) = evolve(problem, Evolution("e", thetas, (0, 1, 2), Tied(Hyperplane()), 1e-3, 1e-3, 2_000))
    assert result.statuses == ("reached",) * 3


@pytest.mark.slow
def test_what_is_beside_an_evolution_does_not_change_it():
    problem = load_task("digits")
    ends = torch.stack([problem.initial(seed) for seed in range(3)])
    one = Evolution("one", ends, (0, 1, 2), Tied(Hyperplane()), 1.5, 1.5, 200)
    two = Evolution("two", ends.flip(0), (1,), Tied(Spring(0.1), "red-black"), 0.9, 0.9, 60)
    (alone,) = evolve(problem, one)
    together, other = evolve(problem, one, two)
    assert together.statuses == alone.statuses == ("reached",) * 3
    assert together.steps == alone.steps
    assert torch.allclose(together.thetas, alone.thetas, atol=1e-5)
    assert other.steps == evolve(problem, two)[0].steps


def test_unknown_updates_are_refused(refused):
    with refused(InvalidSetting, r"^updates='gauss': choose one of jacobi, red-black"):
        Tied(Free(), "gauss")


def test_beads_and_models_that_move_together_share_a_batch_and_change_nothing_for_each_other():
    problem = Ring(dtype=torch.float64, size=12)
    recipe = Recipe("adam", {"lr": 0.01}, check_every=5, max_steps=60, schedule="cosine", clip=1.0)
    motion = Tied(Spring(0.01) & Hyperplane(), "red-black")
    evolution = Evolution("e", line(problem, 6), (1, 2, 3, 4), motion, 0.02, 0.05, 43)
    starts = [Start(line(problem, 5)[k], 0.01, 0.02, f"bead {k}", rate=1.0 + k) for k in (1, 2, 3)]

    def reached(*descents: Start | Evolution):
        together = Descents(problem, height(problem), seed=0, recipe=recipe, width=2)
        for descent in descents:
            together.add(descent, descent.place)
        finished = {}
        while not together.idle:
            finished |= together.advance()
        return finished

    everyone = reached(starts[0], evolution, *starts[1:])
    for descent in (evolution, *starts):
        (alone,) = reached(descent).values()
        for one, other in zip(astuple(alone), astuple(everyone[descent.place]), strict=True):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_schedule_counts_steps_whatever_their_phases():
    problem, recipe = Ring(), Recipe("sgd", {"lr": 0.01}, check_every=5, max_steps=20, schedule="linear")

    def reached(beads: int, moving: tuple[int, ...], updates: str) -> torch.Tensor:
        motion = Tied(Free(), updates)
        evolution = Evolution("e", line(problem, beads), moving, motion, -9.0, -9.0, 20)
        return evolve(problem, evolution, recipe=recipe)[0].thetas

    assert torch.equal(reached(4, (1, 2), "red-black"), reached(4, (1, 2), "jacobi"))
    assert torch.equal(reached(3, (1,), "red-black"), reached(3, (1,), "jacobi"))
