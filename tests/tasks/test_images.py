"""MNIST and Fashion-MNIST as problems: on small sets in the published form, and on the real ones where they are."""

from __future__ import annotations

import gzip
import inspect

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.tasks import load_task
from weightstring.tasks.files import read_images
from weightstring.tasks.images import fashion_mnist, mnist
from weightstring.tasks.networks import mlp, resnet
from weightstring.tasks.published import IMAGE_SETS

TASKS = {"mnist": mnist, "fashion-mnist": fashion_mnist}


@pytest.fixture
def small_task(small_sets):
    """``small_task(name, **options)``: a task on all images of the small sets."""

    def build(name: str = "mnist", **options: object) -> ws.ModuleProblem:
        shapes = [content.shape[0] for content in IMAGE_SETS[name].files.values()]
        return TASKS[name](**{"train_size": shapes[0], "test_size": shapes[2], "data": small_sets, **options})

    return build


class TestData:
    @pytest.mark.parametrize("name", TASKS)
    @pytest.mark.parametrize("net", ["mlp", "small-cnn"])
    def test_pixels_are_standardised_in_the_order_of_the_files(self, small_task, small_sets, name, net):
        problem, read = small_task(name, net=net), read_images(IMAGE_SETS[name], small_sets)
        mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[name]
        for part, (pixels, labels) in (("train", read.train), ("evaluate", read.test)):
            examples = problem._parts.data[part]
            (inputs,) = examples.leaves
            assert inputs.shape == ((len(labels), 784) if net == "mlp" else (len(labels), 1, 28, 28))
            expected = (pixels.double() / 255 - mean) / std
            torch.testing.assert_close(inputs.double().view_as(expected), expected, rtol=0, atol=1e-6)
            assert examples.targets.tolist() == labels.tolist()

    def test_a_subset_is_drawn_without_replacement(self, small_task):
        def rows(problem, part):
            return [image.numpy().tobytes() for image in problem._parts.data[part].leaves[0]]

        everything = small_task()
        drawn = {seed: small_task(train_size=13, test_size=5, data_seed=seed) for seed in (1, 2)}
        for part, size in (("train", 13), ("evaluate", 5)):
            whole = rows(everything, part)
            places = {seed: [whole.index(image) for image in rows(problem, part)] for seed, problem in drawn.items()}
            assert all(len(set(place)) == size and place == sorted(place) for place in places.values())
            assert places[1] != places[2]
            assert places[1] != list(range(size))
            for seed, problem in drawn.items():
                targets = everything._parts.data[part].targets[places[seed]]
                assert torch.equal(problem._parts.data[part].targets, targets)

    def test_a_subset_is_in_every_larger_one(self, small_task):
        images = [
            {image.numpy().tobytes() for image in small_task(train_size=size)._parts.data["train"].leaves[0]}
            for size in (7, 20)
        ]
        assert images[0] < images[1]

    def test_the_seed_changes_nothing_where_all_images_are_wanted(self, small_task):
        assert small_task(data_seed=1).fingerprint() == small_task(data_seed=2).fingerprint()

    def test_the_problem_does_not_depend_on_where_its_files_are(self, small_task, small_sets, tmp_path):
        raw = tmp_path / "elsewhere" / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in (small_sets / "mnist").iterdir():
            (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        assert small_task(data=tmp_path / "elsewhere").fingerprint() == small_task().fingerprint()


class TestProblem:
    @pytest.mark.parametrize(
        ("hidden", "size"), [("256-128", 235_146), ("", 7_850), ("3", 2_395), ("5-4-3", 784 * 5 + 5 + 24 + 15 + 40)]
    )
    def test_the_widths_of_the_mlp(self, small_task, hidden, size):
        assert small_task(hidden=hidden).size == size

    @pytest.mark.many(quick=1)
    @pytest.mark.parametrize(("net", "size"), [("small-cnn", 105_866), ("cnn", 3_274_634), ("resnet", 77_754)])
    def test_the_network(self, small_task, net, size):
        problem = small_task(net=net)
        assert problem.size == size
        assert problem.quantities == ("loss", "error", "train_loss", "train_error")
        assert (problem.train_size, problem.evaluation) == (37, "evaluate")

    def test_the_loss_is_cross_entropy_and_the_metric_the_error_rate(self, small_task):
        problem = small_task(hidden="6")
        theta = problem.initial(5)
        net = mlp([784, 6, 10])
        net.load_state_dict(problem.unflatten(theta))
        for prefix, part in (("", "evaluate"), ("train_", "train")):
            examples = problem._parts.data[part]
            output = net(examples.leaves[0])
            loss = nn.functional.cross_entropy(output, examples.targets).item()
            wrong = (output.argmax(1) != examples.targets).sum().item() / len(examples)
            measured = problem.measure(theta.unsqueeze(0), (f"{prefix}loss", f"{prefix}error"))
            assert measured[f"{prefix}loss"].item() == pytest.approx(loss, rel=1e-6)
            assert measured[f"{prefix}error"].item() == pytest.approx(wrong, rel=1e-12)

    def test_batchnorm_is_calibrated_on_the_training_images(self, small_task):
        problem = small_task(net="resnet")
        theta = problem.initial(5)
        net = resnet()
        net.load_state_dict(problem.unflatten(theta))
        images = problem._parts.data["train"].leaves[0]
        first = net[0](images)
        torch.testing.assert_close(net[1].running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net[1].running_var, first.var((0, 2, 3)), rtol=1e-4, atol=1e-5)

    def test_how_it_is_trained(self, small_task):
        assert small_task().recipe == ws.Recipe.tuned()
        assert small_task(lr=0.5).recipe == ws.Recipe("adam", {"lr": 0.5})
        assert small_task(optimizer="sgd", lr=0.25).recipe == ws.Recipe("sgd", {"lr": 0.25})
        assert (small_task(batch_size=5).batch_size, small_task().batch_size) == (5, 37)

    def test_both_tasks_have_the_same_options(self):
        assert inspect.signature(mnist) == inspect.signature(fashion_mnist)

    def test_the_two_sets_are_two_problems(self, small_task):
        options = {"train_size": 7, "test_size": 7}
        assert small_task(**options).fingerprint() != small_task("fashion-mnist", **options).fingerprint()

    def test_from_text(self, small_task, small_sets):
        options = {"hidden": "5", "train_size": "30", "test_size": "10", "lr": "0.1", "data": str(small_sets)}
        same = small_task(hidden="5", train_size=30, test_size=10, lr=0.1)
        assert load_task("mnist", options).fingerprint() == same.fingerprint()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"net": "transformer"}, "net='transformer': choose one of mlp, small-cnn, cnn, resnet"),
        ({"hidden": "256,128"}, "hidden='256,128': join the widths of the hidden layers by dashes, such as 256-128"),
        ({"hidden": "256-0"}, "hidden='256-0'"),
        ({"hidden": "-5"}, "hidden='-5'"),
        ({"hidden": "6-"}, "hidden='6-'"),
        ({"train_size": 0}, r"train_size=0: there are \d+ images; give 1 to \d+"),
        ({"train_size": 38}, r"train_size=38: there are \d+ images; give 1 to \d+"),
        ({"test_size": -1}, r"test_size=-1: there are \d+ images"),
        ({"test_size": 12}, r"test_size=12: there are \d+ images"),
    ],
)
def test_an_option_out_of_range_is_refused(small_task, refused, name, options, says):
    with refused(ws.InvalidSetting, f"^{name}: {says}"):
        small_task(name, **options)


def test_missing_files_are_refused(small_task, refused, tmp_path):
    with refused(
        ws.InvalidData, f"^fashion-mnist: there is no .* weightstring download fashion-mnist --data {tmp_path}$"
    ):
        small_task("fashion-mnist", data=tmp_path)


class TestReal:
    @pytest.mark.slow
    def test_the_whole_set(self, real):
        images, root = real
        problem = TASKS[images.name](hidden="16", data=root)
        assert problem.train_size == 60_000
        (inputs,) = problem._parts.data["train"].leaves
        assert inputs.mean().item() == pytest.approx(0, abs=2e-3)
        assert inputs.std().item() == pytest.approx(1, abs=2e-3)
        assert torch.bincount(problem._parts.data["evaluate"].targets).sum() == 10_000

    @pytest.mark.slow
    def test_two_networks_learn_and_are_connected(self, real):
        images, root = real
        problem = TASKS[images.name](hidden="32", train_size=4_000, test_size=1_000, data=root)
        level = {"mnist": 0.35, "fashion-mnist": 0.6}[images.name]
        a, b = (problem.fit(seed=seed, until=level) for seed in (0, 1))
        result = ws.connect(problem, a, b, threshold=1.05 * level)
        assert result.connected
        assert result.string.barrier("max") <= 1.05 * level
        assert result.string.barrier("max", "error") < 0.3
        assert result.string.normalized_length >= 1

    @pytest.mark.slow
    @pytest.mark.parametrize("net", ["small-cnn", "resnet"])
    def test_a_convolutional_network_learns(self, real, net):
        images, root = real
        problem = TASKS[images.name](net=net, train_size=500, test_size=200, lr=3e-3, data=root)
        problem.use_engine("loop")
        theta = problem.fit(seed=0, until=1.4, max_steps=200)
        assert problem.measure(theta.unsqueeze(0), ("error",))["error"].item() < 0.7
