"""``merge`` against values by hand: best point, midpoint, averaged predictions, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, InvalidModel, InvalidSetting
from weightstring.problem.averaging.predictions import AVERAGES
from weightstring.problem.surfaces import Maze, Ring, shifted
from weightstring.study.merge import best_point, merge
from weightstring.study.merging import TIE

CLASSES = 3


def error(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) != targets).double().mean()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labelled(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = seeded(seed)
    inputs = 2 + torch.randn(count, 4, generator=generator)
    return inputs, torch.randint(CLASSES, (count,), generator=generator)


def classifier(loss_fn: Callable[..., Tensor] | None = None, **options: object) -> ws.ModuleProblem:
    """Cross-entropy of a small network with BatchNorm, in chunks that do not divide the sets."""
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, CLASSES))
    settings: dict[str, object] = {"evaluate": labelled(23, 1), "holdout": labelled(17, 2), "metrics": {"error": error}}
    return ws.ModuleProblem(
        net, loss_fn or nn.CrossEntropyLoss(), labelled(31, 0), **{**settings, "chunk": 10, "engine": "loop", **options}
    )


def bent(problem: ws.ModuleProblem) -> ws.WeightString:
    """A string of two segments of different lengths."""
    a, middle, b = (problem.initial(seed) for seed in (0, 1, 2))
    return ws.WeightString(problem, torch.stack([a, middle.lerp(b, 0.7), b]))


def outputs(problem: ws.ModuleProblem, string: ws.WeightString, s: float, inputs: Tensor) -> Tensor:
    """What a user's own network gives with the exported weights."""
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, CLASSES))
    net.load_state_dict(problem.unflatten(string.at(s)))
    with torch.no_grad():
        return net.eval()(inputs)


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    return classifier()


@pytest.fixture(scope="module")
def string(problem: ws.ModuleProblem) -> ws.WeightString:
    return bent(problem)


@pytest.fixture(scope="module")
def merging(problem: ws.ModuleProblem, string: ws.WeightString) -> ws.Merging:
    return merge(problem, string, points=4)


class TestPoints:
    def test_the_best_is_no_higher_than_any_sample(self, merging, string):
        assert merging.best.loss <= min(string.curve.values["loss"])

    def test_the_best_is_refined_between_the_samples(self):
        inputs = torch.tensor([[1.0], [2.0]])
        problem = ws.ModuleProblem(nn.Linear(1, 1, bias=False), nn.MSELoss(), (inputs, 2 * inputs))
        best = best_point(problem, ws.WeightString(problem, torch.tensor([[1.0], [4.0]])))
        assert best.s == pytest.approx(1 / 3, abs=1 / 256)
        assert best.values == pytest.approx({"loss": 2.5 * (3 * best.s - 1) ** 2}, abs=1e-6)

    def test_the_best_of_a_ridge_is_an_end(self):
        surface = Ring()
        assert best_point(surface, ws.WeightString(surface, torch.stack(surface.ends))).s in (0, 1)

    def test_every_quantity_is_that_of_the_model_there(self, merging, problem, string):
        for point in (*merging.ends, merging.midpoint, merging.best):
            again = problem.measure(string.at(point.s).unsqueeze(0), problem.quantities)
            assert point.values == pytest.approx({name: v.item() for name, v in again.items()}, rel=1e-5)
        assert merging.midpoint.s == 0.5
        assert [end.s for end in merging.ends] == [0, 1]

    def test_a_loss_that_is_not_finite_is_never_the_best(self):
        inputs = torch.tensor([[1.0], [2.0]])

        def holed(output: Tensor, targets: Tensor) -> Tensor:  # the root of a number below 0 is none
            return (output - targets).mean().sqrt()

        problem = ws.ModuleProblem(nn.Linear(1, 1, bias=False), holed, (inputs, 2 * inputs))
        string = ws.WeightString(problem, torch.tensor([[1.0], [4.0]]))
        merging = merge(problem, string)
        assert math.isnan(string.curve.values["loss"][0])
        assert 0 <= merging.best.loss < 0.5
        assert merging.ends[0].loss == math.inf

    def test_a_string_without_length(self, problem):
        theta = problem.initial(5)
        merging = merge(problem, ws.WeightString(problem, torch.stack([theta, theta])))
        assert merging.best.loss == pytest.approx(merging.ends[0].loss, rel=1e-6)
        assert "merging costs nothing" in merging.verdict


class TestEnsemble:
    def test_identical_ends_give_the_single_model(self, problem):
        theta = problem.initial(3)
        ensemble = merge(problem, ws.WeightString(problem, torch.stack([theta, theta])), points=3).ensemble
        single = problem.measure(theta.unsqueeze(0), problem.quantities)
        assert ensemble.values == pytest.approx({name: single[name].item() for name in ensemble.values}, rel=1e-6)
        assert ensemble.mean == pytest.approx(ensemble.values, rel=1e-6)
        assert "does not help" in ensemble.verdict

    def test_cross_entropy_of_the_mean_probabilities_by_hand(self, merging, problem, string):
        assert merging.ensemble.average == "probabilities"
        assert [model.s for model in merging.ensemble.models] == pytest.approx([0, 1 / 3, 2 / 3, 1])
        for prefix, seed, count in (("", 1, 23), ("holdout_", 2, 17)):
            inputs, targets = labelled(count, seed)
            models = [outputs(problem, string, model.s, inputs).softmax(1) for model in merging.ensemble.models]
            mean = torch.stack(models).mean(0)
            loss = -mean[torch.arange(count), targets].log().mean().item()
            assert merging.ensemble.values[prefix + "loss"] == pytest.approx(loss, rel=1e-5)
            assert merging.ensemble.values[prefix + "error"] == error(mean, targets).item()

    def test_the_mean_of_the_single_models(self, merging, problem, string):
        thetas = torch.stack([string.at(i / 3) for i in range(4)])
        for name, values in problem.measure(thetas, tuple(merging.ensemble.values)).items():
            assert merging.ensemble.mean[name] == pytest.approx(values.mean().item(), rel=1e-6)
        assert merging.ensemble.values["loss"] <= merging.ensemble.mean["loss"]  # Jensen

    def test_the_training_set_only_when_asked(self, merging, problem, string):
        assert set(merging.ensemble.values) == {"loss", "error", "holdout_loss", "holdout_error"}
        asked = merge(problem, string, points=2, train=True)
        assert set(asked.ensemble.values) == set(problem.quantities)

    def test_frozen_statistics_stay(self):
        problem = classifier(buffers="frozen")
        string = bent(problem)
        ensemble = merge(problem, string, points=2).ensemble
        inputs, targets = labelled(23, 1)
        mean = sum(outputs(problem, string, s, inputs).softmax(1) for s in (0.0, 1.0)) / 2
        assert ensemble.values["loss"] == pytest.approx(functional.nll_loss(mean.log(), targets).item(), rel=1e-5)

    def test_plain_outputs_where_asked(self, problem, string):
        ensemble = merge(problem, string, points=2, average="outputs").ensemble
        inputs, targets = labelled(23, 1)
        mean = sum(outputs(problem, string, s, inputs) for s in (0.0, 1.0)) / 2
        assert ensemble.average == "outputs"
        assert ensemble.values["loss"] == pytest.approx(functional.cross_entropy(mean, targets).item(), rel=1e-5)

    def test_a_wrapped_loss_is_seen_to_take_logits(self, merging):
        problem = classifier(lambda output, targets: functional.cross_entropy(output, targets))
        ensemble = merge(problem, bent(problem), points=4).ensemble
        assert ensemble.average == "probabilities"
        assert ensemble.values == pytest.approx(merging.ensemble.values, rel=1e-6)

    def test_a_surface_makes_no_predictions(self):
        surface = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64))
        merging = merge(surface, ws.WeightString(surface, torch.stack(surface.ends)))
        assert merging.ensemble is None
        assert merging.warning is None
        assert "no ensemble: this loss makes no predictions" in str(merging)


class TestAveraging:
    @pytest.mark.parametrize(
        ("name", "probabilities"),
        [
            ("probabilities", lambda out: out.softmax(1)),
            ("last_axis_probabilities", lambda out: out.softmax(-1)),
            ("log_probabilities", torch.exp),
            ("binary_probabilities", torch.sigmoid),
            ("outputs", lambda out: out),
        ],
    )
    def test_means_in_float64_by_hand(self, name, probabilities):
        several = 3 * torch.randn(5, 7, 3, 2, generator=seeded(6))
        mean = AVERAGES[name].mean(iter(several))
        assert mean.dtype == torch.float32
        expected = torch.stack([probabilities(each.double()) for each in several]).mean(0)
        torch.testing.assert_close(probabilities(mean.double()), expected, rtol=1e-5, atol=1e-6)

    def test_nothing_underflows(self):
        far = torch.tensor([[500.0, -500.0]])
        mean = AVERAGES["probabilities"].mean([far, far.flip(1), far])
        torch.testing.assert_close(mean, torch.tensor([[2 / 3, 1 / 3]]).log())
        certain = AVERAGES["binary_probabilities"].mean([torch.tensor([300.0]), torch.tensor([300.0])])
        torch.testing.assert_close(certain, torch.tensor([300.0]))

    def test_outputs_that_cannot_be_averaged_are_refused(self, refused):
        with refused(InvalidModel, r"returns a torch.int64 tensor"):
            AVERAGES["outputs"].mean([torch.ones(3, dtype=torch.int64)])
        with refused(InvalidModel, r"shape \(3,\): average='probabilities' takes 2 axes"):
            AVERAGES["probabilities"].mean([torch.ones(3)])


class TestWords:
    def test_the_holdout_set_is_reported_and_judges_nothing(self, merging, problem, string):
        line = next(line for line in str(merging).splitlines() if line.startswith("hold-out loss: ends "))
        for value in (merging.midpoint.values["holdout_loss"], merging.ensemble.values["holdout_loss"]):
            assert f"{value:.4g}" in line
        inputs, targets = labelled(17, 2)
        other = classifier(holdout=(inputs.flip(0), targets))
        moved = merge(other, ws.WeightString(other, string.beads), points=4)
        assert moved.best.s == merging.best.s
        assert moved.verdict == merging.verdict
        assert moved.best.values["holdout_loss"] != merging.best.values["holdout_loss"]

    def test_the_choice_of_the_best_is_owned_up_to(self, merging):
        assert "flatters it; the hold-out set had no part" in merging.warning
        assert merging.warning in str(merging)
        without = classifier(holdout=None)
        assert "(holdout=...)" in merge(without, bent(without)).warning
        train = classifier(holdout=None, evaluate=None)
        alone = merge(train, bent(train))
        assert "which is the train loss" in alone.warning
        assert "the midpoint's train loss" in alone.verdict

    @pytest.mark.parametrize(
        ("ends", "says"),
        [
            ((1.0, 3.0), ["merging costs nothing", "better than either end", "one alone has 0"]),
            (
                (1.5, 4.5),
                ["the midpoint's train loss 2.5 is no worse than the mean of the ends", "better than either end"],
            ),
            ((2.0, 3.0), ["no worse than the mean of the ends", "keep that model"]),
        ],
    )
    def test_of_a_bowl(self, ends, says):
        inputs = torch.tensor([[1.0], [2.0]])
        problem = ws.ModuleProblem(nn.Linear(1, 1, bias=False), nn.MSELoss(), (inputs, 2 * inputs))
        verdict = merge(problem, ws.WeightString(problem, torch.tensor(ends).unsqueeze(1))).verdict
        for words in says:
            assert words in verdict

    def test_of_a_ridge(self):
        surface = Ring()
        verdict = merge(surface, ws.WeightString(surface, torch.stack(surface.ends))).verdict
        assert verdict.startswith("merging at the midpoint costs: ")
        assert "keep that model" in verdict

    def test_of_an_ensemble_that_helps(self):
        # Two models, each sure of another half of the examples and wrong by little on the other.
        inputs = torch.eye(2)
        problem = ws.ModuleProblem(
            nn.Linear(2, 1, bias=False), nn.BCEWithLogitsLoss(), (inputs, torch.ones(2, 1)), batch_size=None
        )
        string = ws.WeightString(problem, torch.tensor([[6.0, -1.0], [-1.0, 6.0]]))
        ensemble = merge(problem, string, points=2).ensemble
        mean = (1 / (1 + math.exp(-6)) + 1 / (1 + math.exp(1))) / 2
        assert ensemble.values["loss"] == pytest.approx(-math.log(mean), rel=1e-5)
        assert ensemble.verdict.startswith("averaging the probabilities (sigmoid of the outputs) of 2 models helps: ")
        assert ensemble.values["loss"] < min(m.loss for m in ensemble.models) * (1 - TIE)


class TestMisuse:
    @pytest.mark.parametrize("points", [1, 0, -3, 2.5, True])
    def test_points_are_refused(self, problem, string, refused, points):
        with refused(InvalidSetting, f"points={points}"):
            merge(problem, string, points=points)

    @pytest.mark.parametrize("average", ["logits", 3])
    def test_averages_are_refused(self, problem, string, refused, average):
        with refused(InvalidSetting, f"average={average!r}: choose one of probabilities, "):
            merge(problem, string, average=average)

    def test_strings_of_another_problem_are_refused(self, problem, string, refused):
        with refused(InvalidSetting, "measured by another problem"):
            merge(classifier(evaluate=labelled(23, 9)), string)
        with refused(InvalidSetting, "no problem"):
            merge(problem, ws.WeightString(None, string.beads))
        with refused(InvalidCheckpoint, r"an end of the string has shape"):
            merge(Ring(), string)

    def test_an_equal_problem_is_the_same(self, merging, string):
        assert merge(classifier(), string, points=4).best.values == pytest.approx(merging.best.values)

    def test_no_models_are_refused(self, problem, refused):
        with refused(InvalidSetting, "0 models"):
            problem.measure_average(torch.empty(0, problem.size))
        with refused(InvalidSetting, "eror"):
            problem.measure_average(torch.zeros(2, problem.size), ["eror"])
