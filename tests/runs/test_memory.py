"""Peak memory of each phase, in copies of θ beyond the data, the net and the two ends.

Each phase runs in a process of its own, in which freed memory goes back to the system at once: what an allocator keeps
would count for a copy or two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import plotly.offline
import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring import arrays

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from /proc"),
]

WIDTH, DEPTH = 1000, 4
MOST = {"building": 5.5, "line": 0.4, "giving up": 5.0, "aligning": 2.8, "merging": 0.4, "reading": 0.3}
"""Copies of θ, beyond the two that a problem holds; of building these too. A layer is a quarter of one."""


def anonymous() -> int:
    """Bytes that belong to this process alone and to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class Peak:
    """The most anonymous memory while the block runs, beyond what there was."""

    def __enter__(self) -> Peak:
        self._over, self._before = threading.Event(), anonymous()
        self.bytes = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, anonymous() - self._before)
            time.sleep(0.001)


class Case:
    """A network of a width, its loss on few examples, and two copies of one function, half-way between which is 0."""

    def __init__(self, width: int, folder: Path) -> None:
        torch.manual_seed(0)
        hidden = [layer for _ in range(DEPTH) for layer in (nn.Linear(width, width), nn.Tanh())]
        self.net = nn.Sequential(nn.Linear(8, width), nn.Tanh(), *hidden, nn.Linear(width, 1))
        self.x = torch.randn(16, 8)
        self.y, self.run, self.stuck = self.net(self.x).detach(), folder / f"run of {width}", folder / f"stuck {width}"
        self.problem = self.built()
        self.a = self.problem.flatten(self.net)
        with torch.no_grad():
            for parameter in (self.net[2 * DEPTH].weight, self.net[2 * DEPTH].bias, self.net[-1].weight):
                parameter.neg_()
        self.b = self.problem.flatten(self.net)
        self.copy = ws.permuted_copy(self.problem, self.a, 1)

    def built(self) -> ws.ModuleProblem:
        return ws.ModuleProblem(self.net, nn.MSELoss(), (self.x, self.y), batch_size=None, engine="loop")

    def line(self) -> None:
        assert ws.connect(self.problem, self.a, self.b, 100.0, store=self.run, disprove=False).connected

    def giving_up(self) -> None:
        still = ws.Recipe("sgd", {"lr": 1e-12}, check_every=1, max_steps=1)
        threshold = float(self.problem.measure(torch.lerp(self.a, self.b, 0.5)[None])["loss"]) / 2
        given = {"strategy": ws.Greedy(retries=0), "recipe": still, "store": self.stuck}
        result = ws.connect(self.problem, self.a, self.b, threshold, disprove=False, **given)
        assert result.outcome.reason == "descent_failed"
        assert result.outcome.evidence.curvature is not None

    def aligning(self) -> None:
        assert torch.equal(ws.align(self.problem, self.a, self.copy).theta, self.a)

    def merging(self) -> None:
        ws.merge(self.problem, ws.load(self.run, problem=self.problem).string)

    def reading(self) -> None:
        for run, connected in ((self.run, True), (self.stuck, False)):
            ws.write_report(run)
            assert ws.load(run).connected is connected

    @property
    def phases(self) -> dict[str, Callable[[], object]]:
        each = (self.built, self.line, self.giving_up, self.aligning, self.merging, self.reading)
        return dict(zip(MOST, each, strict=True))


def main() -> None:
    """The peaks of all phases in copies of θ, beyond those of a small network."""
    torch.set_num_threads(1)
    plotly.offline.get_plotlyjs = str  # some 30 MB on each page, which would hide what else is held
    arrays.BLOCK = 1 << 17  # blocks of a million numbers in float64 would be half a copy each
    with tempfile.TemporaryDirectory() as folder:
        measured(Case(2, Path(folder)))  # what is imported once is no copy
        small, large = Case(3, Path(folder)), Case(WIDTH, Path(folder))
        least, most = measured(small), measured(large)
    print(json.dumps({name: (most[name] - least[name]) / (4 * large.problem.size) for name in MOST}))


def measured(case: Case) -> dict[str, int]:
    """Bytes that each phase takes at most."""
    peaks = {}
    for name, phase in case.phases.items():
        with Peak() as peak:
            phase()
        peaks[name] = peak.bytes
    return peaks


@pytest.fixture(scope="module")
def peaks() -> dict[str, float]:
    surroundings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", __file__]
    done = subprocess.run(command, env=surroundings, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("phase", MOST)
def test_a_phase_holds_few_models(peaks, phase):
    assert peaks[phase] <= MOST[phase]


if __name__ == "__main__":
    main()
