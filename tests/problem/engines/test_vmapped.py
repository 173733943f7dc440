"""Models side by side under vmap: the numbers are the same however many go into one call."""

from __future__ import annotations

import torch

from weightstring.problem.engines import vmapped


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
