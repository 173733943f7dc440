"""What an ensemble averages of outputs of every form, against values by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.study.merge import merge

N = 7


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int, count: int = 3) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(9))


@dataclasses.dataclass
class Output:
    logits: Tensor
    hidden: Tensor
    name: str = "output"


class Shaped(nn.Module):
    """A linear map whose numbers come out in another form."""

    def __init__(self, size: int, form) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.form = nn.Linear(4, size), form

    def forward(self, inputs: Tensor) -> object:
        return self.form(self.layer(inputs))


def problem_of(size: int, form, loss_fn, targets: Tensor, **settings: object) -> ws.ModuleProblem:
    return ws.ModuleProblem(
        Shaped(size, form), loss_fn, (noise(N, 4), targets), engine="loop", batch_size=None, chunk=3, **settings
    )


def merged(problem: ws.ModuleProblem, **settings: object) -> ws.Merging:
    string = ws.WeightString(problem, torch.stack([3 * problem.initial(seed) for seed in (0, 1)]))
    return merge(problem, string, points=2, **settings)


def models(size: int) -> list[Tensor]:
    """What the two models' linear maps give, in float64."""
    problem = problem_of(size, lambda x: x, nn.MSELoss(), torch.zeros(N, size))
    found = []
    for seed in (0, 1):
        layer = nn.Linear(4, size)
        state = problem.unflatten(3 * problem.initial(seed))
        layer.load_state_dict({name.removeprefix("layer."): value for name, value in state.items()})
        found.append(layer(noise(N, 4)).detach().double())
    return found


def token_loss(output: Output, targets: Tensor) -> tuple[Tensor, Tensor]:
    each = functional.cross_entropy(output.logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none")
    return each.sum(), (targets != -1).sum()


def test_tokens_by_hand_with_padding():
    """The mean probabilities of each token, over those that count."""
    targets = classes(N, 2)
    targets[::2, 1] = -1
    problem = problem_of(6, lambda x: Output(x.view(-1, 2, 3), x), token_loss, targets)
    ensemble = merged(problem).ensemble
    mean = torch.stack([each.view(N, 2, 3).softmax(-1) for each in models(6)]).mean(0)
    there = targets != -1
    expected = -mean.gather(-1, targets.clamp(min=0)[..., None])[..., 0].log()[there].mean()
    assert ensemble.average == "last_axis_probabilities"
    assert ensemble.values["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert ensemble.values["loss"] < ensemble.mean["loss"]


def test_pixels_by_hand():
    targets = classes(N, 2, 2)
    problem = problem_of(
        12, lambda x: {"out": x.view(-1, 3, 2, 2)}, lambda o, t: functional.cross_entropy(o["out"], t), targets
    )
    ensemble = merged(problem).ensemble
    mean = torch.stack([each.view(N, 3, 2, 2).softmax(1) for each in models(12)]).mean(0)
    assert ensemble.average == "probabilities"
    assert ensemble.values["loss"] == pytest.approx(float(functional.nll_loss(mean.log(), targets)), rel=1e-5)


@pytest.mark.parametrize("focal", [False, True])
def test_several_labels_by_hand(focal):
    targets = classes(N, 3, count=2).float()

    def loss_fn(output: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        each = functional.binary_cross_entropy_with_logits(output[0], targets, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each if focal else each).mean()

    ensemble = merged(problem_of(3, lambda x: (x, x.sum()), loss_fn, targets)).ensemble
    mean = torch.stack([each.sigmoid() for each in models(3)]).mean(0)
    each = functional.binary_cross_entropy(mean, targets.double(), reduction="none")
    expected = ((1 - torch.exp(-each)) ** 2 * each if focal else each).mean()
    assert ensemble.average == "binary_probabilities"
    assert ensemble.values["loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.MSELoss(),
        lambda output, targets: (output - targets).square().mean(),
        lambda output, targets: torch.maximum(0.9 * (targets - output), 0.1 * (output - targets)).mean(),
    ],
)
def test_regressions_average_outputs(loss_fn):
    targets = noise(N, 2, seed=3)
    ensemble = merged(problem_of(2, lambda x: x, loss_fn, targets)).ensemble
    expected = loss_fn(torch.stack(models(2)).mean(0), targets.double())
    assert ensemble.average == "outputs"
    assert ensemble.values["loss"] == pytest.approx(float(expected), rel=1e-5)


def gaussian(output: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    return functional.gaussian_nll_loss(output[0], targets, output[1].exp(), full=True)


def test_gaussians_are_a_mixture_by_hand():
    targets = noise(N, seed=3)
    problem = problem_of(
        2, lambda x: (x[:, 0], x[:, 1]), gaussian, targets, metrics={"error": lambda o, t: (o[0] - t).abs().mean()}
    )
    ensemble = merged(problem).ensemble
    densities = [
        torch.exp(-((targets - each[:, 0]) ** 2) / (2 * each[:, 1].exp())) / (2 * math.pi * each[:, 1].exp()).sqrt()
        for each in models(2)
    ]
    assert ensemble.average == "likelihoods"
    assert ensemble.values == pytest.approx({"loss": float(-(sum(densities) / 2).log().mean())}, rel=1e-5)
    assert ensemble.mean.keys() == {"loss"}


def test_gaussians_of_several_targets_are_refused():
    targets = noise(N, 2, seed=3)
    merging = merged(problem_of(4, lambda x: (x[:, :2], x[:, 2:]), gaussian, targets))
    assert merging.ensemble is None
    assert "targets have shape (2, 2): likelihoods are averaged where each example has one target" in merging.missing


def test_own_gaussians_are_refused_unless_named():
    def loss_fn(output: Tensor, targets: Tensor) -> Tensor:
        mean, log_variance = output.unbind(1)
        return ((targets - mean) ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi)).mean() / 2

    targets = noise(N, seed=3)
    problem = problem_of(2, lambda x: x, loss_fn, targets)
    assert (
        "the loss does not show what it takes the predictions (2, 2) float32 for: say what" in merged(problem).missing
    )
    same = problem_of(2, lambda x: (x[:, 0], x[:, 1]), gaussian, targets)
    named = merged(problem, average="likelihoods").ensemble
    assert named.values == pytest.approx(merged(same).ensemble.values, rel=1e-5)


def spans(output: dict[str, Tensor], targets: Tensor) -> Tensor:
    start, end = targets.unbind(1)
    return functional.cross_entropy(output["start"] / 2, start) + functional.cross_entropy(output["end"], end)


def parted(x: Tensor) -> dict[str, Tensor]:
    return {"start": x[:, :3], "end": x[:, 3:]}


def test_several_tensors_are_averaged_where_the_loss_takes_them_by_hand():
    targets = classes(N, 2)
    problem = problem_of(6, parted, spans, targets, metrics={"norm": lambda o, t: o["end"].norm()})
    ensemble = merged(problem).ensemble
    start = torch.stack([(each[:, :3] / 2).softmax(1) for each in models(6)]).mean(0)
    end = torch.stack([each[:, 3:].softmax(1) for each in models(6)]).mean(0)
    expected = functional.nll_loss(start.log(), targets[:, 0]) + functional.nll_loss(end.log(), targets[:, 1])
    assert ensemble.average == "probabilities"
    assert ensemble.values == pytest.approx({"loss": float(expected)}, rel=1e-5)


def test_more_than_the_loss_functions_take_is_refused():
    problem = problem_of(6, parted, lambda o, t: spans(o, t) + o["end"].square().mean(), classes(N, 2))
    missing = merged(problem).missing
    assert missing.startswith("the loss reads ['start'] and ['end'] of the output: pass predict=")
    assert missing.endswith("the loss depends on more of a model than the predictions that torch's loss functions take")


def test_a_metric_that_reads_something_else_is_named():
    problem = problem_of(
        3,
        lambda x: Output(x, x * 2),
        lambda o, t: functional.cross_entropy(o.logits, t),
        classes(N),
        metrics={"norm": lambda o, t: o.hidden.norm(), "error": lambda o, t: (o.logits.argmax(1) != t).double().mean()},
    )
    assert merged(problem).missing == "norm reads .hidden of the output, which is not averaged, only .logits is"


def test_a_metric_that_needs_more_examples_than_the_trial_has():
    def spread(output: Tensor, targets: Tensor) -> Tensor:
        if len(targets) < N:
            raise ValueError("too few")
        return output.max() - output.min()

    targets = noise(N, 2, seed=3)
    problem = problem_of(2, lambda x: x, nn.MSELoss(), targets)
    ensemble = merged(problem_of(2, lambda x: x, nn.MSELoss(), targets, metrics={"spread": spread})).ensemble
    assert ensemble.values["loss"] == merged(problem).ensemble.values["loss"]
    assert ensemble.values["spread"] == pytest.approx(float(spread(torch.stack(models(2)).mean(0), targets)), rel=1e-5)


class TestPredict:
    targets = classes(N)

    def problem(self, loss_fn) -> ws.ModuleProblem:
        return problem_of(3, lambda x: Output(x, x * 2), loss_fn, self.targets)

    def expected(self) -> float:
        mean = torch.stack([each.softmax(1) for each in models(3)]).mean(0)
        return float(functional.nll_loss(mean.log(), self.targets))

    def test_names_a_tensor_of_the_output(self):
        problem = self.problem(lambda output, targets: functional.cross_entropy(output.logits, targets))
        for average in (None, "probabilities"):
            ensemble = merged(problem, predict=lambda output: output.logits, average=average).ensemble
            assert ensemble.values["loss"] == pytest.approx(self.expected(), rel=1e-5)

    def test_computes_what_the_loss_takes_too(self):
        def loss_fn(output: Output | Tensor, targets: Tensor) -> Tensor:
            if isinstance(output, Output):
                output = output.logits.softmax(1)
            return functional.nll_loss(output.log(), targets)

        ensemble = merged(
            self.problem(loss_fn), predict=lambda output: output.logits.softmax(1), average="outputs"
        ).ensemble
        assert ensemble.values["loss"] == pytest.approx(self.expected(), rel=1e-5)

    def test_is_refused_where_the_loss_cannot_take_it(self):
        problem = self.problem(lambda output, targets: functional.cross_entropy(output.logits, targets))
        missing = merged(problem, predict=lambda output: output.logits.softmax(1), average="outputs").missing
        assert missing.startswith(
            "loss_fn cannot take what predict returns in place of the output ('Tensor' object has"
        )

    @pytest.mark.parametrize(
        ("predict", "message"),
        [
            (lambda output: output.logits.argmax(1), r"predict returned \(2,\) int64: it must return one floating"),
            (lambda output: output.name, "predict returned a str"),
            (lambda output: output.scores, "predict fails on the module's output: 'Output' object has no attribute"),
        ],
    )
    def test_is_refused_where_it_returns_no_predictions(self, refused, predict, message):
        problem = self.problem(lambda output, targets: functional.cross_entropy(output.logits, targets))
        with refused(InvalidSetting, message):
            merged(problem, predict=predict)


def test_data_that_stay_on_disk_are_averaged_like_any():
    data = torch.utils.data.TensorDataset(noise(N, 4), classes(N))
    ends = []
    for source in (data, ws.streamed(data)):
        torch.manual_seed(0)
        problem = ws.ModuleProblem(nn.Linear(4, 3), nn.CrossEntropyLoss(), source, engine="loop", batch_size=None)
        ends.append(merged(problem).ensemble.values)
    assert ends[0] == ends[1]
