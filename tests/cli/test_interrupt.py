"""A run that is stopped, politely or not, goes on as if nothing had happened: bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from weightstring.cli import main

KILLS = 10


def beads(run: Path) -> bytes:
    return (run / "beads" / "string.safetensors").read_bytes()


def journal(run: Path) -> list[dict[str, object]]:
    """What its finished rounds did; one that was given up holds no jobs and moves the numbers of those after it."""
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "round")} for line in lines if line["jobs"]
    ]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


class TestSignals:
    @pytest.mark.slow
    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_a_stopped_run_says_how_to_go_on(self, cli, start, workshop, tmp_path, stop):
        run = tmp_path / "a run"
        command = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", run)
        process = start(*command, delay=0.02)
        wait_for(run / "journal.jsonl", process)
        process.send_signal(stop)
        out, err = process.communicate()
        assert process.returncode == 130
        assert out == ""
        assert err.count("\n") == 1
        assert not (run / "result.json").exists()
        resume = shlex.split(re.search(r"weightstring resume .*$", err).group())
        assert resume == ["weightstring", "resume", str(run)]
        assert cli(*resume[1:]).code == 0
        assert beads(run) == beads(workshop.connected)
        assert journal(run) == journal(workshop.connected)

    @pytest.mark.slow
    def test_before_the_run_has_begun_nothing_is_left(self, start, workshop, tmp_path):
        (tmp_path / "slow.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
        process = start("connect", f"{tmp_path}/slow.py:task", workshop.a, workshop.b, "--out", tmp_path / "run")
        assert process.stderr.readline() == "here\n"  # what a task prints is kept off standard output
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 130
        assert err == "weightstring: interrupted; run the same command to start over\n"
        assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("module", ["page", "curve"])
    def test_after_the_search_has_ended(self, cli, workshop, tmp_path, monkeypatch, module):
        """While the string is measured, or the page written, the command to go on with is the same."""

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        target = {"page": "weightstring.cli.running.keep_page", "curve": "weightstring.path.WeightString.measure"}
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(target[module], interrupt)
            done = cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--out", run)
        assert done.code == 130
        assert done.err.endswith(f"Resume with: weightstring resume {run}\n")
        assert cli("resume", run).code == 0
        assert beads(run) == beads(workshop.connected)
        assert (run / "report.html").exists()


DYING = """\
import itertools, os, signal
from pathlib import Path

def count(function, calls=itertools.count()):
    def counted(*arguments):
        if next(calls) == int(Path(__file__).with_name("die_at").read_text()):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return counted

os.fsync, os.replace = count(os.fsync), count(os.replace)
"""
"""Put before a task: it dies at the n-th call that makes a file safe or puts it in its place."""


@pytest.fixture(scope="module")
def spawn() -> Iterator[Callable[..., BaseProcess]]:
    """Starts a command in a process that can be killed: forked off a server that has imported PyTorch once."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_NUM_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        # torch.optim imports torch._dynamo when first used: for seconds, in which no moment would be worth a kill.
        context.set_forkserver_preload(["weightstring.cli.running", "weightstring.problem", "torch._dynamo"])

        def begin(*arguments: object) -> BaseProcess:
            process = context.Process(target=main, args=([str(argument) for argument in arguments],))
            process.start()
            return process

        yield begin


@pytest.fixture(scope="module")
def pair(workshop, cli, tmp_path_factory) -> tuple[object, ...]:
    """Two ends that take a search of eleven rounds."""
    folder = tmp_path_factory.mktemp("pair")
    ends = {seed: folder / f"{seed}.safetensors" for seed in (4, 5)}
    for seed, end in ends.items():
        assert cli("train", workshop.task, "--seed", seed, "--until", 0.15, "--out", end).code == 0
    return (*ends.values(), "--threshold", 0.153)


@pytest.fixture(scope="module")
def reference(workshop, pair, spawn, tmp_path_factory) -> tuple[Path, float]:
    """A run that is never stopped, and the seconds that it takes."""
    run = tmp_path_factory.mktemp("reference") / "run"
    begun = [time.monotonic()]
    for out in (run, run.with_name("warm")):  # the first of them also waits for the server
        process = spawn("connect", workshop.task, *pair, "--out", out)
        process.join()
        assert process.exitcode == 0
        begun.append(time.monotonic())
    assert len(journal(run)) > 5
    return run, begun[2] - begun[1]


@pytest.mark.slow
class TestKilled:
    """The same ``connect``, repeated after a kill -9, finds its run and goes on."""

    def test_at_random_moments(self, workshop, pair, reference, spawn, tmp_path):
        whole, duration = reference
        draw, killed = random.Random(7), 0
        for number in range(KILLS):
            run = tmp_path / str(number)
            process = spawn("connect", workshop.task, *pair, "--out", run)
            process.join((number + draw.random()) / KILLS * duration)
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
            again = spawn("connect", workshop.task, *pair, "--out", run)
            again.join()
            assert again.exitcode == 0
            assert beads(run) == beads(whole)
            assert journal(run) == journal(whole)
        assert killed >= KILLS / 2  # the others had ended by the time their moment came

    @pytest.mark.parametrize("call", random.Random(8).sample(range(36), 6))
    def test_while_writing(self, workshop, pair, reference, spawn, tmp_path, call):
        """The calls that put files in their place are over in no time: die at one of them exactly."""
        task, order, run = tmp_path / "dying.py", tmp_path / "die_at", tmp_path / "run"
        task.write_text(DYING + (workshop.root / "sine.py").read_text())
        for die_at, exitcode in ((call, -signal.SIGKILL), (-1, 0)):
            order.write_text(str(die_at))
            process = spawn("connect", f"{task}:task", *pair, "--out", run)
            process.join()
            assert process.exitcode == exitcode
        assert beads(run) == beads(reference[0])
        assert journal(run) == journal(reference[0])
