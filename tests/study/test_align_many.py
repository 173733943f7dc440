"""Many models in one order of units, beside copies whose order is known, and beside one model as reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidRun, InvalidSetting
from weightstring.symmetry.assignments import as_assignments
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import random_permutation
from weightstring.symmetry.pairs import Groups
from weightstring.symmetry.universe import Tensors, in_one_order, joint_agreement

GENERATOR = torch.Generator().manual_seed(4)
X = torch.randn(40, 3, generator=GENERATOR)
Y = (X[:, :1] * X[:, 1:2]).tanh()


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    return ws.ModuleProblem(net, nn.functional.mse_loss, (X[:30], Y[:30]), (X[30:], Y[30:]), engine="loop")


@pytest.fixture(scope="module")
def models(problem) -> list[torch.Tensor]:
    return [problem.initial(seed) for seed in range(4)]


def tensors(problem, models) -> list[Tensors]:
    found = find(problem)
    return [
        Tensors(
            tuple(block.view(problem.layout.views(theta)[block.parameter]) for theta in models),
            tuple(factor.group for factor in block.factors),
            tuple(factor.axis for factor in block.factors),
        )
        for block in found.permuted
    ]


def test_the_objective_never_falls_and_is_that_of_all_pairs(problem, models):
    own, groups = tensors(problem, models), Groups(find(problem).permutations.groups)
    nothing = [{} for _ in models]
    before = joint_agreement(own, nothing)
    naive = sum(float((one.each[i] * one.each[j]).sum()) for one in own for i in range(4) for j in range(i + 1, 4))
    assert before == pytest.approx(naive, abs=1e-4)
    found = in_one_order(own, groups, nothing, seed=0)
    assert joint_agreement(own, found) > before
    assert joint_agreement(own, in_one_order(own, groups, found, seed=1)) >= joint_agreement(own, found) - 1e-5


def test_what_is_given_stays(problem, models):
    own, groups, symmetry = tensors(problem, models), Groups(find(problem).permutations.groups), find(problem)
    first, *_ = groups.outermost
    moves = [as_assignments(symmetry, random_permutation(symmetry, seed)) for seed in range(4)]
    given = [{first: each[first]} for each in moves]
    found = in_one_order(own, groups, [{}] * 4, seed=0, given=given)
    assert all(torch.equal(each[first].order, held[first].order) for each, held in zip(found, given, strict=True))


@pytest.mark.slow
def test_copies_of_one_model_come_back_and_moves_compose(problem, models):
    copies = {f"copy {seed}": ws.permuted_copy(problem, models[0], seed) for seed in (1, 2, 3)}
    found = ws.align_many(problem, {"itself": models[0], **copies}, reference="copy 2")
    assert all(torch.equal(found.thetas[0], theta) for theta in found.thetas)
    assert (found.barrier, found.names[3]) == (pytest.approx(0, abs=1e-6), "copy 3")
    assert found.barrier_before > 0
    assert ws.align_many(problem, {"itself": models[0], **copies}, restarts=1).barrier < 1e-6


@pytest.mark.slow
def test_the_lowest_mean_is_taken_and_functions_stay(problem, models):
    found = ws.align_many(problem, models)
    assert found.chosen.loss == min(way.loss for way in found.tried) <= found.tried[0].loss
    assert [way.method for way in found.tried][:3] == ["none", "with one of them", "all at once, by weights"]
    losses = problem.measure(torch.stack(models))["loss"]
    assert (problem.measure(torch.stack(found.thetas))["loss"] - losses).abs().max() < 1e-5
    assert found.own == pytest.approx(float(losses.mean()))
    mean = torch.stack(found.thetas).mean(0)
    assert problem.measure(mean[None])["loss"].item() == pytest.approx(found.chosen.loss, rel=1e-4)


@pytest.mark.slow
def test_an_atlas_of_copies_keeps_them(problem, models, tmp_path):
    copies = [models[0], ws.permuted_copy(problem, models[0], seed=7)]
    settings = {"align": True, "searches": 0, "store": tmp_path, "progress": False}
    found = ws.atlas(problem, copies, **settings)
    assert found.aligned
    assert found.lines.lengths()[0, 1] < 1e-5
    assert torch.equal(ws.atlas(problem, copies, **settings).direct, found.direct)
    with pytest.raises(InvalidRun, match="copies of other models"):
        ws.atlas(problem, models, **settings)


def test_refused(problem, models):
    with pytest.raises(InvalidSetting, match="two or more"):
        ws.align_many(problem, models[:1])
    with pytest.raises(InvalidSetting, match="name one of the models"):
        ws.align_many(problem, models, reference=7)
    with pytest.raises(InvalidCheckpoint, match="model '1'"):
        ws.align_many(problem, [models[0], models[0][:4]])
    with pytest.raises(InvalidSetting, match="no module to align"):
        ws.atlas(ws.problem.surfaces.Ring(), ws.problem.surfaces.Ring().ends, align=True)
