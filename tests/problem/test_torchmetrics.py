"""Metrics of ``torchmetrics`` as quantities: plain means, and those that only the whole set tells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws

tm: Any = pytest.importorskip("torchmetrics", reason="pip install torchmetrics to test its metrics")
classification: Any = pytest.importorskip("torchmetrics.classification")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # it takes seconds to import

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0.3).long() + (X[:, 1] > 1).long()


def metrics() -> dict[str, Any]:
    return {
        "hits": classification.MulticlassAccuracy(3, average="micro"),
        "f1": classification.MulticlassF1Score(3, average="macro"),
        "auroc": classification.MulticlassAUROC(3),
        "lost_f1": 1 - classification.MulticlassF1Score(3, average="macro"),
    }


def problem_of(chunk: int = 7, **settings: Any) -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return ws.ModuleProblem(net, nn.CrossEntropyLoss(), (X, Y), metrics=metrics(), chunk=chunk, **settings)


def whole(net: nn.Module) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(metric(net(X), Y)) for name, metric in metrics().items()}


@pytest.mark.parametrize("engine", ["loop", "stack", "vmap"])
def test_each_is_what_it_computes_of_the_whole_set_however_that_is_cut(engine: str) -> None:
    problem = problem_of(engine=engine)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    measured = problem.measure(thetas, tuple(metrics()))
    for place, theta in enumerate(thetas):
        net.load_state_dict(problem.unflatten(theta))
        for name, value in whole(net).items():
            assert measured[name][place].item() == pytest.approx(value, abs=1e-6), name


def test_a_mean_over_examples_is_an_ordinary_quantity_and_others_are_none() -> None:
    problem = problem_of()
    assert problem.adds("hits")
    assert not any(map(problem.adds, ("f1", "auroc", "lost_f1")))
    theta = problem.initial(0)
    assert problem.measure_each(theta, "hits").mean() == problem.measure(theta[None], ["hits"])["hits"]
    with pytest.raises(ws.Unsupported, match="a single example has none"):
        problem.measure_each(theta, "f1")


def test_a_threshold_binds_what_falls_and_refuses_what_rises() -> None:
    problem = problem_of()
    a, b = (problem.fit(seed, until=0.25) for seed in (0, 1))
    level = 1.5 * float(problem.measure(torch.stack([a, b]), ["lost_f1"])["lost_f1"].max()) + 0.05
    result = ws.connect(problem, a, b, threshold=level, bind="lost_f1", progress=False)
    assert result.connected
    assert float(problem.measure(result.string.beads, ["lost_f1"])["lost_f1"].max()) <= level
    with pytest.raises(
        ws.InvalidSetting, match="bind='f1': f1 is better the higher, and a threshold is an upper bound"
    ):
        ws.connect(problem, a, b, threshold=level, bind="f1")


def test_settings_of_a_metric_tell_two_problems_apart() -> None:
    net = nn.Linear(4, 3)
    prints = [
        ws.ModuleProblem(
            net, nn.CrossEntropyLoss(), (X, Y), metrics={"f1": classification.MulticlassF1Score(3, average=average)}
        ).fingerprint()
        for average in ("macro", "macro", "weighted")
    ]
    assert prints[0] == prints[1] != prints[2]


def test_batches_of_any_form_say_where_predictions_are() -> None:
    net = nn.Linear(4, 3)
    batches = [{"x": X[i : i + 13], "y": Y[i : i + 13]} for i in range(0, 60, 13)]
    f1 = classification.MulticlassF1Score(3)

    def loss(net: nn.Module, batch: dict[str, Tensor]) -> dict[str, Any]:
        output = net(batch["x"])
        hits = (output.argmax(1) == batch["y"]).double()
        return {
            "loss": (functional.cross_entropy(output, batch["y"], reduction="sum"), len(hits)),
            "f1": ws.FromMetric(f1, output, batch["y"]),
            "spread": ws.FromSums(torch.stack([hits.sum(), hits.square().sum(), torch.tensor(len(hits))]), variance),
        }

    def variance(sums: Tensor) -> Tensor:
        return sums[1] / sums[2] - (sums[0] / sums[2]).square()

    problem = ws.ModuleProblem.from_batches(net, batches, loss=loss)
    found = problem.measure(problem.flatten(net)[None], ["f1", "spread"])
    with torch.no_grad():
        output = net(X)
    assert found["f1"].item() == pytest.approx(float(f1(output, Y)), abs=1e-6)
    assert found["spread"].item() == pytest.approx((output.argmax(1) == Y).double().var(correction=0).item())
    with pytest.raises(
        ws.InvalidSetting, match=r"pass lambda net, batch: ws\.FromMetric\(metric, predictions, targets"
    ):
        ws.ModuleProblem.from_batches(net, batches, loss=loss, metrics={"own": f1})
    with pytest.raises(ws.InvalidSetting, match="holds a MetricCollection"):
        ws.ModuleProblem(net, nn.CrossEntropyLoss(), (X, Y), metrics={"all": tm.MetricCollection([f1])})


def test_more_than_one_number_is_refused() -> None:
    net = nn.Linear(4, 3)
    per_class = classification.MulticlassF1Score(3, average=None)
    with pytest.raises(ws.InvalidSetting, match=r"f1 returned \(3,\) float"):
        ws.ModuleProblem(net, nn.CrossEntropyLoss(), (X, Y), metrics={"f1": per_class})
