"""The digits task: real images, one fixed split, one problem in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

import weightstring as ws
from weightstring.tasks.digits import digits


def rows(problem, name):
    """The images and labels of a set, as bytes, one string an example."""
    examples = problem._parts.data[name]
    return [x.numpy().tobytes() + bytes([y]) for x, y in zip(examples.leaves[0], examples.targets, strict=True)]


class TestData:
    def test_every_real_image_is_in_one_of_the_two_sets(self):
        problem = digits()
        train, evaluate = rows(problem, "train"), rows(problem, "evaluate")
        images, labels = load_digits(return_X_y=True)
        real = [(image / 16).astype("float32").tobytes() + bytes([label]) for image, label in zip(images, labels)]  # noqa: B905
        assert (len(train), len(evaluate)) == (1297, 500)
        assert sorted(train + evaluate) == sorted(real)
        assert not set(train) & set(evaluate)

    def test_every_class_is_in_both_sets(self):
        problem = digits(data_seed=3)
        for name in ("train", "evaluate"):
            counts = torch.bincount(problem._parts.data[name].targets, minlength=10) / len(problem._parts.data[name])
            assert counts.min() > 0.05

    def test_the_seed_draws_the_split(self):
        assert rows(digits(data_seed=1), "train") == rows(digits(data_seed=1), "train")
        assert set(rows(digits(data_seed=1), "evaluate")) != set(rows(digits(data_seed=2), "evaluate"))


class TestProblem:
    def test_two_calls_give_the_same_fingerprint(self):
        assert digits().fingerprint() == digits().fingerprint()

    @pytest.mark.slow
    def test_another_process_gives_the_same_fingerprint(self):
        code = "from weightstring.tasks.digits import digits; print(digits().fingerprint())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == digits().fingerprint()

    @pytest.mark.parametrize("changed", [{"width": 32}, {"depth": 1}, {"batch_size": 64}, {"data_seed": 1}])
    def test_every_option_is_in_the_fingerprint(self, changed):
        assert digits(**changed).fingerprint() != digits().fingerprint()

    @pytest.mark.parametrize(("width", "depth", "size"), [(7, 1, 64 * 7 + 7 + 7 * 10 + 10), (64, 0, 650), (3, 3, 259)])
    def test_width_and_depth(self, width, depth, size):
        assert digits(width=width, depth=depth).size == size

    def test_the_loss_is_that_of_the_evaluation_set(self):
        problem = digits(width=11)
        theta = problem.initial(5)
        net = torch.nn.Sequential(*[torch.nn.Linear(64, 11), torch.nn.ReLU(), torch.nn.Linear(11, 11)])
        net.extend([torch.nn.ReLU(), torch.nn.Linear(11, 10)])
        net.load_state_dict(problem.unflatten(theta))
        for prefix, name in (("", "evaluate"), ("train_", "train")):
            examples = problem._parts.data[name]
            output = net(examples.leaves[0])
            loss = torch.nn.functional.cross_entropy(output, examples.targets).item()
            wrong = (output.argmax(1) != examples.targets).sum().item() / len(examples)
            measured = problem.measure(theta.unsqueeze(0), (f"{prefix}loss", f"{prefix}error"))
            assert measured[f"{prefix}loss"].item() == pytest.approx(loss, rel=1e-6)
            assert measured[f"{prefix}error"].item() == pytest.approx(wrong, rel=1e-12)

    @pytest.mark.parametrize(("options", "says"), [({"width": 0}, "width=0"), ({"depth": -1}, "depth=-1")])
    def test_out_of_range(self, options, says):
        with pytest.raises(ws.InvalidSetting, match=f"digits: .*{says}.*: width must be positive, depth not negative"):
            digits(**options)
