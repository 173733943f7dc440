"""The average of models, its units brought back to the spread that theirs have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem.surfaces import Ring

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(96, 3, generator=GENERATOR)
IMAGES = torch.randn(40, 2, 6, 6, generator=GENERATOR)


def perceptron() -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Linear(16, 1))
    return ws.ModuleProblem(net, nn.functional.mse_loss, (X, X.prod(1, keepdim=True)), engine="loop")


def outputs(problem: ws.ModuleProblem, theta: torch.Tensor, layer: str, inputs: torch.Tensor) -> torch.Tensor:
    """What a layer returns, by a plain run of the user's module."""
    net = problem.traceable("loss").module
    net.load_state_dict(problem.unflatten(theta))
    seen = []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    with torch.no_grad():
        net(inputs)
    handle.remove()
    return seen[0]


def test_units_of_the_repaired_average_have_the_mean_of_the_models_moments():
    problem = perceptron()
    models = [problem.initial(seed) for seed in range(3)]
    weights = [1.0, 2.0, 1.0]
    repaired = ws.repair(problem, models, weights=weights)
    assert repaired.layers == ("0", "2")
    assert list(repaired.left) == ["4"]
    for layer in repaired.layers:
        own = [outputs(problem, model, layer, X) for model in models]
        found = outputs(problem, repaired.theta, layer, X)
        for moment in (torch.mean, lambda values, dim: values.std(dim, correction=0)):
            wanted = sum(w / 4 * moment(values, dim=0) for w, values in zip(weights, own, strict=True))
            torch.testing.assert_close(moment(found, dim=0), wanted, rtol=1e-4, atol=1e-5)


def test_channels_of_convolutions_are_units():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2))
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (IMAGES, torch.zeros(40, 2)), engine="loop")
    models = [problem.initial(seed) for seed in range(2)]
    repaired = ws.repair(problem, models)
    assert repaired.layers == ("0", "2")
    spread = [outputs(problem, theta, "2", IMAGES).transpose(0, 1).flatten(1).std(1, correction=0) for theta in models]
    found = outputs(problem, repaired.theta, "2", IMAGES).transpose(0, 1).flatten(1).std(1, correction=0)
    torch.testing.assert_close(found, (spread[0] + spread[1]) / 2, rtol=1e-4, atol=1e-5)


def test_a_model_averaged_with_itself_stays():
    problem = perceptron()
    theta = problem.initial(0)
    repaired = ws.repair(problem, [theta, theta])
    torch.testing.assert_close(repaired.theta, theta)
    assert repaired.after["loss"] == pytest.approx(repaired.before["loss"], rel=1e-5)
    assert all(share == pytest.approx(1) for share in repaired.shrunk.values())


def test_what_is_told_is_what_is_measured():
    problem = perceptron()
    models = [problem.initial(seed) for seed in range(2)]
    repaired = ws.repair(problem, models)
    thetas = torch.stack([*models, (models[0] + models[1]) / 2, repaired.theta])
    losses = problem.measure(thetas)["loss"].tolist()
    told = [values["loss"] for values in (*repaired.models, repaired.before, repaired.after)]
    assert told == pytest.approx(losses, rel=1e-6)


def test_what_cannot_be_corrected_is_left_or_refused():
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    normalised = ws.ModuleProblem(net, nn.functional.mse_loss, (X, X[:, :1]), engine="loop")
    with pytest.raises(Unsupported, match="repaired already"):
        ws.repair(normalised, [normalised.initial(0), normalised.initial(1)])
    plain = ws.ModuleProblem(nn.Linear(3, 1), nn.functional.mse_loss, (X, X[:, :1]), engine="loop")
    with pytest.raises(Unsupported, match="no layer to correct"):
        ws.repair(plain, [plain.initial(0), plain.initial(1)])
    with pytest.raises(Unsupported, match="repair changes the layers of a module"):
        ws.repair(Ring(), list(Ring().ends))
    problem = perceptron()
    for wrong in ([problem.initial(0)], [problem.initial(0)] * 2):
        with pytest.raises(InvalidSetting):
            ws.repair(problem, wrong, weights=[0.0] * len(wrong))
