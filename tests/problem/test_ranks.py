"""A loss over data that are divided: the sums of all parts are the whole, whatever kind of loss and data it is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import weightstring as ws
from weightstring.problem import ModuleProblem
from weightstring.problem.ranks.shard import Shard

INPUTS = torch.randn(61, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()
WORDS = torch.where(torch.arange(61 * 3).reshape(61, 3) % 5 < 2, -100, torch.arange(61 * 3).reshape(61, 3) % 7)


def net(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), *more, nn.Linear(8, 2))


def wrong(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) != targets).float().mean()


def examples() -> ModuleProblem:
    evaluate = (INPUTS[:40], CLASSES[:40])
    return ModuleProblem(
        net(),
        functional.cross_entropy,
        (INPUTS, CLASSES),
        evaluate,
        metrics={"error": wrong},
        batch_size=16,
    )


def ignoring() -> ModuleProblem:
    tokens = nn.Sequential(nn.Linear(4, 21), nn.Unflatten(1, (7, 3)))
    some = WORDS.clone()
    some[30:] = -100  # one part of two has no label at all
    return ModuleProblem(tokens, nn.CrossEntropyLoss(), (INPUTS, some), batch_size=8, chunk=10)


def batches() -> ModuleProblem:
    def loss(module: nn.Module, batch: dict[str, Tensor]) -> dict[str, object]:
        total, count = functional.cross_entropy(module(batch["x"]), batch["y"], reduction="sum"), len(batch["y"])
        sums = torch.stack([total.detach(), torch.tensor(float(count))])
        return {"loss": (total, count), "perplexity": ws.FromSums(sums, lambda sums: (sums[0] / sums[1]).exp())}

    cut = [slice(start, start + 2 + start % 5) for start in range(0, 55, 6)]
    train = [{"x": INPUTS[place], "y": CLASSES[place]} for place in cut]
    return ModuleProblem.from_batches(net(), train, loss=loss, batch_size=3)


def streamed() -> ModuleProblem:
    return ModuleProblem(
        net(), functional.cross_entropy, ws.streamed(TensorDataset(INPUTS, CLASSES)), batch_size=16, chunk=7
    )


def mapped() -> ModuleProblem:
    pair = np.asarray(INPUTS), np.asarray(CLASSES)
    return ModuleProblem(net(), functional.cross_entropy, pair, batch_size=None, chunk=7)


def summed() -> ModuleProblem:
    total = nn.CrossEntropyLoss(reduction="sum")
    return ModuleProblem(net(), total, (INPUTS, CLASSES), batch_size=16, chunk=9)


KINDS = [examples, ignoring, batches, streamed, mapped, summed]


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_sums_of_all_parts_are_the_whole(kind: Callable[[], ModuleProblem], ranks: int) -> None:
    problem = kind()
    shards = [problem.shard(number, ranks) for number in range(ranks)]
    a, b = problem.initial(0), problem.initial(1)
    names, ts = problem.quantities, [0.25, 0.5]
    totals = sum(shard.between(a, b, ts, names) for shard in shards)
    expected = problem.measure(torch.lerp(a, b, torch.tensor(ts).unsqueeze(1)), names)
    for column, (name, mean) in enumerate(zip(names, shards[0].means(names), strict=True)):
        torch.testing.assert_close(mean.total(*totals[:, column].unbind(-1)), expected[name])
    rows = torch.tensor([1, 0, 4, 8, 5])
    for chosen in (rows, rows[:1], None):
        parts = [shard.slope(a, chosen) for shard in shards]
        loss, slope = shards[0].slope_of(sum(part[0] for part in parts), sum(part[1] for part in parts))
        whole = problem.gradient(a[None], None if chosen is None else chosen[None])
        torch.testing.assert_close(loss.float(), whole.losses[0])
        torch.testing.assert_close(slope, whole.gradients[0], rtol=1e-4, atol=1e-6)


def test_a_part_keeps_nothing_of_the_other_data_in_memory() -> None:
    problem = examples()
    whole = weakref.ref(problem._parts.train)
    shard = problem.shard(0, 2)
    assert len(shard.parts.train) == 30
    del problem
    gc.collect()
    assert whole() is None


def test_parts_draw_their_own_dropout_the_same_at_each_call() -> None:
    problem = ModuleProblem(net(nn.Dropout(0.5)), functional.cross_entropy, (INPUTS[:1].repeat(4, 1), CLASSES[:4]))
    theta, (first, second) = problem.initial(0), [problem.shard(number, 2) for number in range(2)]
    slopes = [shard.slope(theta, None)[1] for shard in (first, first, second)]
    assert torch.equal(slopes[0], slopes[1])
    assert not torch.equal(slopes[0], slopes[2])


def shared_norm(output: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(output / output.norm(), targets)


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (lambda: ModuleProblem(net(nn.BatchNorm1d(8)), functional.cross_entropy, (INPUTS, CLASSES)), "BatchNorm"),
        (lambda: ModuleProblem(net(), shared_norm, (INPUTS, CLASSES)), "on all outputs at once"),
        (lambda: ModuleProblem(net(), functional.cross_entropy, (INPUTS[:1], CLASSES[:1])), "1 examples for 2"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_line(problem: Callable[[], ModuleProblem], says: str) -> None:
    with pytest.raises(ws.Unsupported, match=says):
        problem().shard(0, 2)


def test_frozen_statistics_can_be_divided() -> None:
    problem = ModuleProblem(
        net(nn.BatchNorm1d(8)), functional.cross_entropy, (INPUTS, CLASSES), buffers="frozen", batch_size=None
    )
    theta, shards = problem.initial(0), [problem.shard(number, 2) for number in range(2)]
    assert isinstance(shards[0], Shard)
    slope = sum(shard.slope(theta, None)[1] for shard in shards)
    torch.testing.assert_close(slope, problem.gradient(theta[None], None).gradients[0], rtol=1e-4, atol=1e-6)


def test_in_a_process_that_was_started_alone_a_problem_stays_itself() -> None:
    problem = examples()
    with ws.sharded(problem) as same:
        assert same is problem
