"""What is found of a model does not depend on who is beside it: bit for bit, or the problem says that it may."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.arrays import ADDRESS, aligned
from weightstring.descent import Descents, Start
from weightstring.path import Objective
from weightstring.problem.engines import Trial

pytestmark = pytest.mark.usefixtures("unchecked")

INPUTS = torch.randn(61, 9, generator=torch.Generator().manual_seed(1)) + 2
CLASSES = torch.arange(61) % 5
COMPANIES = ([0], [6], [3, 1], [6, 5, 4], [1, 2, 3, 4, 5, 6], [5, 4, 3, 2, 1, 0])


def network(kind: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(9, 13), kind(), nn.Linear(13, 7), kind(), nn.Linear(7, 5))


def problem_of(net: nn.Module, **settings: object) -> ws.ModuleProblem:
    data = (INPUTS, CLASSES)
    return ws.ModuleProblem(
        net, nn.functional.cross_entropy, data, (INPUTS[:37], CLASSES[:37]), **{"batch_size": 13, **settings}
    )


def answers(problem: ws.ModuleProblem, models: list[int]) -> list[torch.Tensor]:
    """Losses, gradients and measurements of some of seven models, each on rows of its own."""
    draw = torch.Generator().manual_seed(2)
    thetas = torch.stack([problem.initial(seed) for seed in range(7)])
    rows = torch.stack([torch.randperm(61, generator=draw)[:13] for _ in thetas])
    whole = problem.batch_size == problem.train_size
    found = problem.gradient(thetas[models], None if whole else rows[models])
    return [*found, *problem.measure(thetas[models], problem.quantities).values()]


@pytest.mark.many(quick=4)
@pytest.mark.parametrize(
    ("engine", "kind"),
    [*(("stack", kind) for kind in (nn.Tanh, nn.GELU, nn.Sigmoid, nn.Softplus)), ("native", nn.Tanh)],
)
@pytest.mark.parametrize("settings", [{}, {"batch_size": None}, {"dtype": torch.float64}], ids=str)
def test_a_plain_network_s_bits_are_its_own(engine, kind, settings):
    problem = problem_of(network(kind), engine=engine, **settings)
    assert problem.independent
    whole = answers(problem, list(range(7)))
    for models in COMPANIES:
        for found, of_all in zip(answers(problem, models), whole, strict=True):
            assert torch.equal(found, of_all[models])


def test_one_by_one_they_are_always():
    problem = problem_of(nn.Sequential(nn.Linear(9, 13), nn.BatchNorm1d(13), nn.Linear(13, 5)), engine="loop")
    assert problem.independent


def test_where_they_are_not_the_problem_says_so():
    """Thirteen rows a model begin amid a line of memory, where products round otherwise."""
    problem = problem_of(network(nn.GELU), engine="vmap")
    whole = answers(problem, list(range(7)))
    same = all(
        torch.equal(found, of_all[models])
        for models in COMPANIES
        for found, of_all in zip(answers(problem, models), whole, strict=True)
    )
    assert same or not problem.independent


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_a_descent_s_bits_are_its_own(optimizer):
    recipe = ws.Recipe(optimizer, {"lr": 0.01, "weight_decay": 0.01}, check_every=5, max_steps=15, clip=1.0)
    problem = problem_of(network(nn.Tanh), engine="stack", recipe=recipe)
    bound = Objective(problem)

    def reached(models: list[int], width: int) -> dict[int, torch.Tensor]:
        descents = Descents(problem, bound, seed=3, recipe=recipe, width=width)
        for m in models:
            descents.add(Start(problem.initial(m), 0.0, 0.0, f"bead {m}"), m)
        found: dict[int, torch.Tensor] = {}
        while not descents.idle:
            found |= {m: reached.theta for m, reached in descents.advance().items()}
        return found

    together = reached(list(range(7)), 16)
    for alone in (reached([4], 16), reached([6, 0, 4], 2)):
        for model, theta in alone.items():
            assert torch.equal(theta, together[model])


def test_models_begin_at_lines_and_are_not_changed():
    thetas = torch.randn(5, 13)
    rows = aligned(thetas)
    assert torch.equal(rows, thetas)
    assert [row.data_ptr() % ADDRESS for row in rows] == [0] * 5
    assert aligned(rows) is rows
    assert torch.equal(aligned(thetas[2:3], 2), thetas[[2, 2]])
    assert aligned(torch.zeros(4, 16)).is_contiguous()


def test_searches_keep_apart_where_company_tells(monkeypatch):
    """Two searches side by side end as each does by itself, also by an engine whose bits depend on company."""
    problem = problem_of(network(nn.GELU), engine="vmap", recipe=ws.Recipe("adam", {"lr": 0.01}, check_every=5))
    monkeypatch.setattr(type(problem), "independent", False)
    ends = [problem.initial(seed) for seed in range(4)]
    level = 1.02 * float(problem.measure(torch.stack(ends))["loss"].max())
    pairs = [(ends[0], ends[1]), (ends[2], ends[3])]
    both = ws.connect_many(problem, pairs, level)
    for pair, one in zip(pairs, both, strict=True):
        assert torch.equal(ws.connect(problem, *pair, level).string.beads, one.string.beads)


@pytest.mark.slow
def test_training_does_not_depend_on_a_clock(monkeypatch):
    found = []
    for faster in ("stack", "loop"):
        problem = problem_of(network(nn.Tanh))
        monkeypatch.setattr(
            Trial,
            "speedup",
            lambda *_, faster=faster: 9.0 if faster == "stack" else 0.1,
        )
        found.append(problem.fit(seed=0, until=1.55))
    assert torch.equal(*found)
