"""Convolutions and pooling by compiled code: autograd's numbers, and a refusal of what it was not written for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from tests.problem.engines.test_native import CLASSES, needs_compiler
from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.testing.engines import check_engine

X = torch.randn(41, 3, 8, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NETWORKS = {
    "pooled": [
        *(nn.Conv2d(3, 9, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(9, 5, 2), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(30, 4), nn.ReLU(), nn.Linear(4, 3)),
    ],
    "uneven windows": [
        *(nn.Conv2d(3, 7, (2, 4), stride=(1, 2), padding=(2, 1), bias=False), nn.MaxPool2d(3, 2), nn.LeakyReLU(0.1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 3)),
    ],
    "means": [nn.AvgPool2d((2, 3), stride=2), nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
}


def problem_of(layers: list[nn.Module], dtype: torch.dtype = X.dtype, **settings: object) -> ModuleProblem:
    torch.manual_seed(0)
    net = nn.Sequential(*layers)
    for module in net:
        getattr(module, "reset_parameters", lambda: None)()
    return ModuleProblem(net, nn.CrossEntropyLoss(), (X.to(dtype), CLASSES[:41]), batch_size=9, dtype=dtype, **settings)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_it_computes_what_autograd_does(layers, dtype):
    check_engine(problem_of(layers, dtype), "native")


@needs_compiler
def test_frozen_convolutions_one_channel_and_dropout():
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(60, 3)]
    net = nn.Sequential(*layers)
    net[0].weight.requires_grad_(False)
    loss, data = nn.MSELoss(), (X[:, :1].float(), X[:, 0, 0, :3].float())
    check_engine(ModuleProblem(net, loss, data, batch_size=9), "native")
    check_engine(ModuleProblem(nn.Sequential(*layers[:3], layers[4]), loss, data, batch_size=9), "native")


@needs_compiler
def test_images_of_another_size_are_measured_in_torch():
    other = torch.randn(10, 3, 11, 9, dtype=X.dtype), CLASSES[:10]
    problem = problem_of(NETWORKS["means"], holdout=other, engine="native")
    theta = problem.initial(0)[None]
    found = problem.measure(theta, ("holdout_loss",))["holdout_loss"]
    problem.use_engine("loop")
    assert torch.equal(found, problem.measure(theta, ("holdout_loss",))["holdout_loss"])


@needs_compiler
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 3, 3, dilation=2),
        nn.Conv2d(3, 3, 3, groups=3),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(3, padding=1),
        nn.BatchNorm2d(3),
    ],
    ids=lambda layer: str(layer),
)
def test_other_layers_are_refused(refused, layer):
    problem = problem_of([nn.Conv2d(3, 3, 1), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    with refused(InvalidModel, r"^engine='native' runs only nn.Sequential of .*, and of plain Conv2d, MaxPool2d, "):
        problem.use_engine("native")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "channels-last"])
def test_a_run_that_was_cut_off_goes_on_by_its_engine_bit_for_bit(engine, tmp_path):
    def problem(engine: str = "auto") -> ModuleProblem:
        layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)]
        return ModuleProblem(nn.Sequential(*layers), nn.CrossEntropyLoss(), data, batch_size=32, engine=engine)

    images = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = images, (images[:, 0, :4].sum((1, 2)) > images[:, 0, 4:].sum((1, 2))).long()
    a, b = (problem().fit(seed=seed, until=0.3) for seed in range(2))
    whole = ws.connect(problem(engine), a, b, threshold=0.31, store=tmp_path, progress=False)
    assert whole.connected
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    (tmp_path / "result.json").unlink()
    again = ws.connect(problem(), a, b, threshold=0.31, store=tmp_path, progress=False)
    assert torch.equal(again.string.beads, whole.string.beads)
    assert again.largest == whole.largest
