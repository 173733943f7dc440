"""A small task of a user's own, two trained ends, and finished runs, made once through the command line itself."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from weightstring.cli import main

TASK = '''\
"""sin(3x) off the origin by a 1-5-1 network. DELAY makes it slow without making it another problem."""

import os
import time

import torch
from torch import nn

import weightstring as ws


class Net(nn.Sequential):
    def forward(self, x):
        time.sleep(float(os.environ.get("DELAY", "0")))
        return super().forward(x)


def task(hidden: int = 5, lr: float = 0.02) -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 21).unsqueeze(1)
    between = x[:-1] + 0.07
    return ws.ModuleProblem(
        Net(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1)),
        nn.functional.mse_loss,
        (x, torch.sin(3 * x)),
        (between, torch.sin(3 * between)),
        batch_size=None,
        engine="loop",
        recipe=ws.Recipe("adam", {"lr": lr}, check_every=10),
    )
'''


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workshop:
    """A task, its ends a and b, a connected run of theirs and an unresolved one."""

    root: Path
    task: str
    a: str
    b: str
    connected: Path
    unresolved: Path


def _call(*arguments: object) -> Ran:
    """Run a command in this process, which has paid for importing PyTorch."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ran(left.value.code, out.getvalue(), err.getvalue())  # type: ignore[arg-type]


def _start(*arguments: object, delay: float = 0.0) -> subprocess.Popen[str]:
    """Start a command as a user does: the console script beside this Python, in a process of its own."""
    script = Path(sys.executable).with_name("weightstring")
    return subprocess.Popen(
        [script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DELAY": str(delay)},
    )


@pytest.fixture(scope="session")
def cli() -> Callable[..., Ran]:
    return _call


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    return _start


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    root = tmp_path_factory.mktemp("workshop")
    (root / "sine.py").write_text(TASK)
    task = f"{root}/sine.py:task"
    a, b = f"{root}/a.safetensors", f"{root}/b.safetensors"
    for seed, out in ((2, a), (3, b)):
        trained = _call("train", task, "--seed", seed, "--until", 0.05, "--out", out)
        assert trained.code == 0, trained.err
    runs = Workshop(root, task, a, b, root / "connected", root / "unresolved")
    common = ("connect", task, a, b, "--threshold", 0.051)
    assert _call(*common, "--out", runs.connected).code == 0
    assert _call(*common, "--max-beads", 2, "--out", runs.unresolved).code == 3
    return runs


def _tree(root: Path) -> dict[str, bytes | None]:
    """Every file's bytes and every directory below ``root``; Python's own caches aside."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def refused(cli, tmp_path, monkeypatch) -> Callable[..., str]:
    """Runs a command in ``tmp_path`` and checks everything that misuse has in common; returns the line."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object) -> str:
        before = _tree(tmp_path)
        done = cli(*arguments)
        assert done.code == 2, done.err + done.out
        assert done.out == ""
        # Which task file is executed is said before it is.
        lines = [line for line in done.err.splitlines() if not line.startswith("weightstring: executes ")]
        assert len(lines) == 1, done.err
        assert done.err.endswith("\n")
        assert lines[0].startswith("weightstring")
        assert "Traceback" not in done.err
        assert _tree(tmp_path) == before
        return f"{lines[0]}\n"

    return check
