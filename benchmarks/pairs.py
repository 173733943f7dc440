"""The pairs of networks on which weightstring and its rivals are measured, from seeds and plain Adam alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import weightstring as ws
from benchmarks.reference import Plain
from weightstring.store.beads import read_beads, write_beads
from weightstring.tasks import load_task

FOLDER = Path(tempfile.gettempdir()) / "weightstring-rivals"
MARGIN = 1.02
OTHERS = 100
"""The first pair on which learning rates are searched: none of those that are measured."""


class Way(NamedTuple):
    """A pair of networks, and the loss that must not be exceeded between them."""

    number: int
    a: Tensor
    b: Tensor
    threshold: float


@dataclass(frozen=True)
class Task:
    """Networks of two seeds each, trained until an evaluation loss; the threshold is 1.02 × the larger end.

    Args:
        name: of a built-in task.
        options: of it.
        until: evaluation loss of the ends.
        points: of the dense check of our strings on the evaluation set.
        rival_points: the same of rivals' curves; fewer are in their favour.
        train_points: of all on the training set.
        without: sides that are left out for the time they take, none of them the fastest of its kind.
        most: gradients after which a rival has failed.
    """

    name: str
    options: dict[str, object]
    until: float
    points: int = 401
    rival_points: int = 401
    train_points: int = 401
    without: tuple[str, ...] = ()
    most: int = 3_000

    def problem(self) -> ws.ModuleProblem:
        """A new one, as a user makes it."""
        return load_task(self.name, {key: str(value) for key, value in self.options.items()})

    def plain(self, problem: ws.ModuleProblem, bind: str) -> Plain:
        """Its network and data for plain methods."""
        return Plain.of(problem, nn.CrossEntropyLoss(), bind)

    def way(self, problem: ws.ModuleProblem, plain: Plain, number: int) -> Way:
        """A pair with its threshold on the set that ``plain`` measures."""
        a, b = self.pair(problem, number)
        return Way(number, a, b, MARGIN * max(plain.loss(a), plain.loss(b)))

    def pair(self, problem: ws.ModuleProblem, number: int) -> tuple[Tensor, Tensor]:
        """The networks of seeds 2n and 2n + 1, trained by plain Adam; kept in a temporary folder for the next call."""
        path = FOLDER / f"{self.name}-{'-'.join(map(str, self.options.values()))}-{self.until}-{number}.safetensors"
        if not path.exists():
            found = []
            for seed in (2 * number, 2 * number + 1):
                torch.manual_seed(seed)
                found.append(self.plain(problem, "evaluate").trained(problem.initial(seed), self.until))
            FOLDER.mkdir(exist_ok=True)
            write_beads(path, torch.stack(found))
        a, b = read_beads(path)
        return a.clone(), b.clone()


TASKS = {
    "digits": Task("digits", {}, 0.3),
    "mnist-mlp": Task(
        "mnist", {"train_size": 10_000}, 0.15, points=101, rival_points=101, train_points=25, most=1_500,
        without=("PolyChain, 5 points", "Bézier, 3 points, whole grids"),
    ),
    "small-cnn": Task(
        "mnist", {"net": "small-cnn", "train_size": 10_000, "test_size": 2_000}, 0.08,
        points=101, rival_points=25, train_points=25, most=1_500,
        without=(
            "weightstring, certified", "PolyChain, 3 points", "PolyChain, 5 points", "AutoNEB",
            "Bézier, 3 points, whole grids",
        ),
    ),
}  # fmt: skip
SMALLER = {
    "mnist-cnn-2000": Task(
        "mnist", {"net": "small-cnn", "train_size": 2_000, "test_size": 500, "batch_size": 32}, 0.3,
        points=51, rival_points=25, train_points=13, most=1_500,
    ),
    "cifar10-cnn-2000": Task(
        "cifar10", {"net": "cnn", "width": 0.125, "train_size": 2_000, "test_size": 500, "batch_size": 64}, 1.7,
        points=51, rival_points=25, train_points=13, most=1_500,
    ),
}  # fmt: skip
"""Convolutional networks and images so few that ten seeds of every side take minutes; of `repeats` alone."""
EVERY = TASKS | SMALLER
