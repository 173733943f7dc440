"""The language task: words, sequences, a loss that is what it says it is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.symmetry.copies import permuted_copy
from weightstring.tasks import load_task
from weightstring.tasks.text import NextWord, text

SENTENCE = "In the beginning was the word, and the word was with god; and the word was god. "


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(SENTENCE * 60)
    return path


@pytest.fixture(scope="module")
def problem(file):
    return text(file, vocabulary=8, hidden=8, length=5, test_words=200)


def test_targets_are_the_next_words(problem):
    inputs, targets = problem.observed().leaves[0], problem.observed().targets
    assert inputs.shape == targets.shape == (39, 5)
    assert torch.equal(inputs.flatten()[1:], targets.flatten()[:-1])


def test_rare_words_are_one_word(problem):
    assert int(problem.observed().targets.min()) == 0
    assert int(problem.observed().targets.max()) <= 7


def test_the_loss_is_the_mean_over_words_as_computed_apart(problem):
    theta = problem.initial(0)
    net = NextWord(8, 8, 2)
    net.load_state_dict(problem.unflatten(theta))
    examples = problem.observed()
    with torch.no_grad():
        logits = net(examples.leaves[0]).transpose(1, 2).reshape(-1, 8)
        apart = float(cross_entropy(logits, examples.targets.flatten()))
    measured = float(problem.measure(theta[None])["loss"])
    assert measured == pytest.approx(apart, rel=1e-5)
    assert measured == pytest.approx(math.log(8), rel=0.1)


@pytest.mark.slow
def test_it_learns(problem):
    theta = problem.fit(seed=0, until=1.0)
    assert float(problem.measure(theta[None])["loss"]) <= 1.0


def test_its_units_can_be_exchanged(problem):
    theta = problem.initial(0)
    both = torch.stack([theta, permuted_copy(problem, theta, 1)])
    one, two = problem.measure(both)["loss"].tolist()
    assert one == pytest.approx(two, rel=1e-6)
    assert not torch.equal(both[0], both[1])


def test_it_is_a_built_in_task(file):
    assert load_task("text", {"data": str(file), "hidden": "4", "test_words": "100"}).size > 0


def test_a_missing_file_is_refused(refused, tmp_path):
    with refused(InvalidData, "no file is named"):
        text()
    with refused(InvalidData, "cannot be read"):
        text(tmp_path / "nothing.txt")
    (tmp_path / "short.txt").write_text("too few words")
    with refused(InvalidData, "too few"):
        text(tmp_path / "short.txt")


@pytest.mark.parametrize("option", ["vocabulary", "hidden", "layers", "length"])
def test_options_must_be_positive_or_are_refused(refused, file, option):
    with refused(InvalidSetting, f"{option}=0"):
        text(file, **{option: 0})
