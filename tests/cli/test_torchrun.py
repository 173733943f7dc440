"""``torchrun -m weightstring connect``: one pair, its data divided over ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import weightstring as ws
from weightstring.cli import main
from weightstring.store import RunDirectory
from weightstring.tasks.registry import load_task

TASK = """
import os, signal
from pathlib import Path
import torch
from torch import nn
from weightstring import ModuleProblem

def loss(output, targets):
    if os.environ.get("RANK") == "1" and Path("run/journal.jsonl").exists():
        if os.environ.get("HAPPENS") == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("HAPPENS") == "failure":
            raise ValueError("no such number")
    return nn.functional.cross_entropy(output, targets)

def task():
    x = torch.randn(301, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] * x[:, 1] > 0).long()
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return ModuleProblem(net, loss, (x, y), (x[:101], y[:101]), batch_size=32, engine="loop")
"""
COMMAND = ("connect", "task.py:task", "a.safetensors", "b.safetensors", "--threshold", "0.3", "--max-steps", "400")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, two models, and a run that two ranks have found from its beginning to its end."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "task.py").write_text(TASK)
    problem = load_task(f"{folder / 'task.py'}:task")
    for seed, name in enumerate("ab"):
        save_file(problem.unflatten(problem.fit(seed, until=0.2)), folder / f"{name}.safetensors")
    done = torchrun(folder, *COMMAND, "--out", "whole")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("connected: ") == 1
    return folder


@pytest.fixture
def broken(pair: Path) -> Iterator[None]:
    """Lets a run be broken off, and removes it."""
    yield
    shutil.rmtree(pair / "run")


def torchrun(folder: Path, *words: str, happens: str = "") -> subprocess.CompletedProcess[str]:
    run = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "weightstring")
    environment = {**os.environ, "HAPPENS": happens, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*run, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What weightstring said of what went wrong, without torchrun's own report."""
    return [line for line in done.stderr.splitlines() if line.startswith("weightstring: ")]


@pytest.mark.slow
def test_two_ranks_find_the_beads_of_one_process_and_one_of_them_writes(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair)
    with pytest.raises(SystemExit) as ended:
        main([*COMMAND, "--out", "alone"])
    assert ended.value.code == 0
    alone, shared = (ws.load(pair / name) for name in ("alone", "whole"))
    assert len(alone.history) > 1
    assert [each.steps for each in alone.history] == [each.steps for each in shared.history]
    torch.testing.assert_close(torch.stack(list(shared.string)), torch.stack(list(alone.string)), rtol=1e-3, atol=1e-4)
    assert RunDirectory(pair / "whole").manifest().parameters == RunDirectory(pair / "alone").manifest().parameters


@pytest.mark.slow
@pytest.mark.usefixtures("broken")
def test_when_a_rank_dies_the_run_goes_on_from_its_journal_with_the_same_bits(pair: Path) -> None:
    done = torchrun(pair, *COMMAND, "--out", "run", happens="death")
    assert done.returncode != 0
    (line,) = said(done)
    assert "resume" in line
    assert not RunDirectory(pair / "run").finished
    resumed = torchrun(pair, "resume", "run")
    assert resumed.returncode == 0, resumed.stderr
    strings = [list(ws.load(pair / name).string) for name in ("whole", "run")]
    assert all(map(torch.equal, *strings))


@pytest.mark.slow
@pytest.mark.usefixtures("broken")
def test_what_fails_on_another_rank_ends_all_in_one_line(pair: Path) -> None:
    done = torchrun(pair, *COMMAND, "--out", "run", happens="failure")
    assert done.returncode != 0
    (line,) = said(done)
    assert "rank 1: " in line
    assert "task.py:13: ValueError: no such number, while computing" in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "run"), "show under torchrun: it runs connect, minimax, resume"),
        (("connect", "digits", "random:0", "random:1", "--certify"), "`weightstring certify RUN`"),
        (("connect", "digits", "random:0", "random:1", "--workers", "2"), "the ranks share each step"),
    ],
)
def test_what_several_ranks_cannot_do_is_refused_in_one_line(
    words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
