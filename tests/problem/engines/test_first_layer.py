"""Models of a segment measured together: the same numbers, each by itself, and never those of other ends."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from weightstring.path import Segment
from weightstring.problem.engines import first_layer as along_module
from weightstring.problem.engines import threads

TS = [0.0, 1e-3, 0.25, 0.5, 0.71, 1.0]


def positions(ts=TS) -> torch.Tensor:
    return torch.tensor(ts, dtype=torch.float64)


def wide(bias: bool = True) -> nn.Sequential:
    """Most of its products are in the first layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(40, 7, bias=bias), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)
    )


@pytest.fixture
def make(problem_of):
    def build(net: nn.Module | None = None, dtype=torch.float64, **settings):
        return problem_of(net or wide(), 5, 8, dtype=dtype, **{"engine": "stack", **settings})

    return build


def ends(problem) -> tuple[torch.Tensor, torch.Tensor]:
    return problem.initial(1), problem.initial(2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block", [None, 12])
def test_it_measures_the_interpolated_models(make, monkeypatch, dtype, tolerance, bias, block):
    if block:
        monkeypatch.setattr(along_module, "BLOCK_ELEMENTS", block * 7)  # several blocks of examples
    evaluate = 1 + torch.randn(17, 5, 8), torch.arange(17) % 3
    problem = make(wide(bias), dtype, evaluate=evaluate)
    a, b = ends(problem)
    names = ("train_loss", "loss")
    assert problem.shares_along
    together = problem.measure_along(a, b, positions(), names)
    plain = problem.measure(Segment(a, b).at(positions()), names)
    assert list(together) == ["train_loss", "loss"]
    for name in names:
        assert together[name].dtype == torch.float64
        torch.testing.assert_close(together[name], plain[name], rtol=tolerance, atol=0)


def test_what_is_found_at_one_t_does_not_depend_on_the_others(make):
    problem = make(dtype=torch.float32)
    a, b = ends(problem)
    together = problem.measure_along(a, b, positions())["loss"]
    alone = [problem.measure_along(a, b, positions([t]))["loss"].item() for t in TS]
    assert together.tolist() == alone
    assert problem.measure_along(a, b, positions(TS[::-1]))["loss"].tolist() == alone[::-1]
    assert problem.measure_along(a, b, positions([0.25] * 40))["loss"].tolist() == [alone[2]] * 40


def test_products_that_are_kept_are_those_of_the_ends_given(make):
    problem, fresh = make(), make()
    a, b = ends(problem)
    problem.measure_along(a, b, positions())
    a.mul_(1.5)
    b[3] += 2
    changed = problem.measure_along(a, b, positions())["loss"]
    assert torch.equal(changed, fresh.measure_along(a, b, positions())["loss"])
    torch.testing.assert_close(changed, problem.measure(Segment(a, b).at(positions()))["loss"], rtol=1e-12, atol=0)


def test_products_of_one_set_are_not_those_of_another(make):
    evaluate = 1 + torch.randn(29, 5, 8), torch.arange(29) % 3
    problem = make(evaluate=evaluate)
    a, b = ends(problem)
    for name in ("loss", "train_loss", "loss"):
        found = problem.measure_along(a, b, positions(), (name,))[name]
        torch.testing.assert_close(
            found, problem.measure(Segment(a, b).at(positions()), (name,))[name], rtol=1e-12, atol=0
        )


def test_no_more_is_kept_than_the_inputs_take_and_the_ends_of_one_segment(make, monkeypatch):
    monkeypatch.setattr(along_module, "KEPT_BYTES", 0)
    problem = make()
    thetas = [problem.initial(seed) for seed in range(30)]
    for a, b in itertools.pairwise(thetas):
        problem.measure_along(a, b, positions([0.3]))
        (kept,) = problem._parts.dispatcher.first_layer._kept.values()
        held, count = sum(one.products.nbytes for one in kept.values()), len(kept)
        assert count >= 2
        assert count == 2 or held <= 29 * 40 * 8
    assert count == 40 // 7


def test_neighbouring_segments_share_a_product(make, monkeypatch):
    problem = make()
    a, b, c = (problem.initial(seed) for seed in range(3))
    problem.measure_along(a, b, positions())
    made = []
    alone = along_module.Stack.alone

    def counted(stack, pieces, hidden, start=0):
        made.append(start)
        return alone(stack, pieces, hidden, start)

    monkeypatch.setattr(along_module.Stack, "alone", counted)
    problem.measure_along(b, c, positions())
    problem.measure_along(c, b, positions())
    assert made.count(0) == 1


def test_large_models_are_measured_by_the_same_arithmetic_as_the_ends_of_their_segments(make, monkeypatch):
    monkeypatch.setattr(threads, "ONE_THREAD_FLOPS", 1)
    problem = make(dtype=torch.float32)
    a, b = ends(problem)
    one_by_one = problem.measure(torch.stack([a, b]))["loss"]
    assert torch.equal(problem.measure_along(a, b, positions([0.0, 1.0]))["loss"], one_by_one)
    (kept,) = problem._parts.dispatcher.first_layer._kept.values()
    assert len(kept) == 2


def tied() -> nn.Sequential:
    first, last = nn.Linear(40, 40), nn.Linear(40, 40)
    last.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)


def test_a_first_weight_that_is_used_again_is_interpolated_there(make):
    torch.manual_seed(0)
    problem = make(tied())
    a, b = ends(problem)
    assert problem.shares_along
    found = problem.measure_along(a, b, positions())["loss"]
    torch.testing.assert_close(found, problem.measure(Segment(a, b).at(positions()))["loss"], rtol=1e-12, atol=0)


def narrow() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(40, 7), nn.Tanh(), nn.Linear(7, 90), nn.ReLU(), nn.Linear(90, 3))


def frozen_first() -> nn.Sequential:
    net = wide()
    net[1].requires_grad_(False)
    return net


@pytest.mark.parametrize(
    ("net", "engine"), [(narrow(), "stack"), (frozen_first(), "stack"), (wide(), "loop"), (wide(), "vmap")]
)
def test_where_it_gains_nothing_models_are_measured_as_always(make, net, engine):
    problem = make(net, engine=engine)
    a, b = ends(problem)
    assert not problem.shares_along
    found = problem.measure_along(a, b, positions())["loss"]
    assert torch.equal(found, problem.measure(Segment(a, b).at(positions()))["loss"])


def test_an_end_that_is_not_a_number_gives_none(make):
    problem = make()
    a, b = ends(problem)
    b[5] = torch.nan
    found = problem.measure_along(a, b, positions([0.5]))["loss"]
    assert found.isnan().all()


def test_a_later_layer_may_be_frozen(make):
    net = wide()
    net[3].weight.requires_grad_(False)
    problem = make(net)
    a, b = ends(problem)
    assert problem.shares_along
    found = problem.measure_along(a, b, positions())["loss"]
    assert torch.allclose(found, problem.measure(Segment(a, b).at(positions()))["loss"], rtol=1e-5)
