"""Models side by side under vmap equal one at a time, however many go into one call."""

from __future__ import annotations

import pytest
import torch

from weightstring.problem.engines import vmapped


@pytest.mark.parametrize("case", ["norm_mlp", "convolution"])
@pytest.mark.parametrize("buffers", ["recalibrate", "frozen"])
def test_vmap_agrees_with_the_loop(request, problem_of, answers, case, buffers):
    torch.manual_seed(0)
    shape = {"norm_mlp": (2,), "convolution": (1, 5)}[case]
    problem = problem_of(request.getfixturevalue(case)(), *shape, buffers=buffers, chunk=10)
    thetas = torch.stack([problem.initial(seed) for seed in range(5)])
    rows = torch.stack([torch.randperm(29)[:6] for _ in thetas])
    results = {}
    for engine in ("loop", "vmap"):
        problem.use_engine(engine)
        results[engine] = (*answers(problem, thetas, rows), *answers(problem, thetas, None))
    for one, other in zip(*results.values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_models_are_split_to_bound_memory(monkeypatch, problem_of, norm_mlp, answers):
    problem = problem_of(norm_mlp(), 2, engine="vmap")
    thetas = torch.stack([problem.initial(seed) for seed in range(7)])
    rows = torch.arange(6).expand(7, -1)
    whole = answers(problem, thetas, rows)
    widths, asked = [], []
    vmap = vmapped.vmap

    def counted(function, *args):
        mapped = vmap(function, *args)
        return lambda thetas, *rest: widths.append(len(thetas)) or mapped(thetas, *rest)

    monkeypatch.setattr(vmapped, "vmap", counted)
    monkeypatch.setattr(vmapped, "width", lambda *sizes: asked.append(sizes) or 3)
    split = answers(problem, thetas, rows)
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(whole, split, strict=True))
    assert widths == [2, 2, 3] * 2
    assert asked == [(6, 3), (29, 3)]
