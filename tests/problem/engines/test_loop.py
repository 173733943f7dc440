"""One model after the other, and what all engines owe to it: draws of a model's own, gradients of its dtype."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.problem.engines import base, loop
from weightstring.problem.live import Live


@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
@pytest.mark.parametrize("whole", [False, True], ids=["on rows", "on the whole set"])
def test_what_dropout_draws_for_a_model_depends_on_nothing_beside_it(problem_of, dropping, engine, whole):
    problem = problem_of(dropping(), 2, engine=engine, chunk=10)
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    rows = None if whole else torch.stack([torch.arange(6), torch.arange(5, 11), torch.arange(28, 22, -1)])
    together = problem.gradient(thetas, rows)
    for index in range(3):
        own = None if rows is None else rows[index : index + 1]
        alone = problem.gradient(thetas[index : index + 1], own)
        assert torch.equal(alone.losses, together.losses[index : index + 1])
        assert torch.equal(alone.gradients, together.gradients[index : index + 1])
    if rows is not None:
        assert not torch.equal(together.losses, problem.gradient(thetas, rows.flip(1)).losses)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_only_what_draws_is_seeded_and_taken_one_by_one(monkeypatch, problem_of, dropping, norm_mlp, engine):
    problems = {build: problem_of(build(), 2, engine=engine) for build in (dropping, norm_mlp)}
    seeds, widths = [], []
    slopes = base.weighed_slopes
    monkeypatch.setattr(loop, "seeded_by", lambda own, device: seeds.append(own) or nullcontext())
    for module in (loop, base):
        monkeypatch.setattr(module, "weighed_slopes", lambda *args: widths.append(len(args[1])) or slopes(*args))
    counts = {}
    for build, problem in problems.items():
        seeds.clear(), widths.clear()
        problem.gradient(problem.initial(0).expand(4, -1), torch.arange(6).expand(4, -1))
        counts[build] = len(seeds), list(widths)
    assert counts[dropping] == (4, [1, 1, 1, 1])
    assert counts[norm_mlp] == (0, [4] if engine == "vmap" else [1, 1, 1, 1])


def test_draws_show_even_where_they_change_nothing(problem_of, convolution):
    dead = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    nn.init.constant_(dead[0].bias, -1e3)
    assert problem_of(dead, 2).computation.draws
    assert not problem_of(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.0)), 2).computation.draws
    assert not problem_of(convolution(), 1, 5).computation.draws


@pytest.mark.parametrize("engine", ["loop", "vmap", "stack"])
def test_a_gradient_can_be_written_to_and_has_the_models_dtype(engine):
    def total(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return output.double().mean()

    net = nn.Linear(2, 3, bias=False)
    problem = ModuleProblem(net, total, (torch.ones(7, 2), torch.ones(7)), dtype=torch.float32, engine=engine)
    losses, gradients = problem.gradient(problem.initial(0).expand(2, -1), torch.arange(4).expand(2, -1))
    assert losses.dtype == gradients.dtype == torch.float32
    gradients[0, 0] += 1
    assert torch.allclose(gradients * 3, torch.tensor([[4.0, 1, 1, 1, 1, 1], [1.0] * 6]))


def test_a_single_model_that_does_not_fit_into_memory_is_refused(monkeypatch, refused, problem_of, norm_mlp):
    problem = problem_of(norm_mlp(), 2, engine="loop")
    theta, rows = problem.initial(0)[None], torch.arange(6)[None]

    def full(*args: object, **kwargs: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3.00 GiB")

    monkeypatch.setattr(Live, "hold", full)
    message = r"^one model does not fit into memory beside what is there: pass a smaller chunk= or batch_size= to the"
    with refused(InvalidSetting, message):
        problem.gradient(theta, rows)
    with refused(InvalidSetting, message):
        problem.measure(theta)


def test_a_model_is_written_once_for_a_measurement_and_anew_whatever_wrote_to_it(problem_of, monkeypatch):
    problem = problem_of(nn.Linear(2, 3), 2, engine="loop", chunk=5)
    theta, written = problem.initial(0), []
    copy = torch._foreach_copy_
    monkeypatch.setattr(torch, "_foreach_copy_", lambda *given: written.append(copy(*given)))
    examples, before = problem.observed(), problem.evaluating(theta, problem.observed())
    problem.computation.measure(theta, examples, [(examples, [problem._parts.quantities.means["loss"]])])
    assert len(list(examples.chunks(5))) > 2
    assert len(written) == 2
    theta.data.zero_()  # which no version counts, as a fused optimizer's step
    assert not torch.equal(problem.evaluating(theta, examples), before)
    assert not problem.evaluating(theta, examples).any()
