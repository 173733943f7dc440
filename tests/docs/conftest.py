"""The folder in which pages run: a task file, networks, and a finished run, by the names that all pages use."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from weightstring.cli import main
from weightstring.store import write_checkpoint
from weightstring.tasks import load_task

OTHER = '''\
"""The loss of task.py on data that lie elsewhere."""

import task
from torch import nn

import weightstring as ws


def shifted() -> ws.ModuleProblem:
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    x, y = task.rings(512, seed=2)
    train, loss = task.rings(1024, seed=0), nn.functional.cross_entropy
    return ws.ModuleProblem(net, loss, train, (x + 0.1, y), metrics={"error": task.error})
'''


def command(words: list[str]) -> int:
    """A command of ``weightstring``, in this process, which has paid for importing PyTorch."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as left:
            main(words)
    finally:
        signal.signal(signal.SIGTERM, before)
    return left.value.code  # type: ignore[return-value]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has who came as far as the page."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert command(["init"]) == 0
        (folder / "other.py").write_text(OTHER)
        problem = load_task("task.py:problem")
        for name, seed, level in (("a", 0, 0.2), ("b", 1, 0.2), ("base", 2, 0.3)):
            weights = problem.unflatten(problem.fit(seed=seed, until=level))
            torch.save(weights, f"{name}.pt")
            write_checkpoint(f"{name}.safetensors", weights, {})
        for directory, names in (("checkpoints", "ab"), ("epochs", ("base",))):
            Path(directory).mkdir()
            for name in names:
                shutil.copy(f"{name}.pt", directory)
        words = "connect task.py:problem a.pt b.pt --threshold 0.21 --out runs/first"
        assert command(words.split()) == 0
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder, in which the test works."""
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    yield folder
    for name in ("task", "other"):
        sys.modules.pop(name, None)
