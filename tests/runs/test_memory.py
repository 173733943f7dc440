"""Peak memory of each phase at ten million parameters, in copies of θ beyond the data, the net and the two ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import weightstring as ws

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from /proc"),
]

WIDTH = 3000
TOLERANCE = 1.0
"""Copies: the test's own arrays, and what an allocator keeps of earlier tests: .7 were seen."""


def anonymous() -> int:
    """Bytes that belong to this process alone and to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class Peak:
    """The most anonymous memory while the block runs, beyond what there was, in copies of θ."""

    def __init__(self, size: int) -> None:
        self._copy, self._over = 4 * size, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._before = self._most = anonymous()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.copies = (self._most - self._before) / self._copy

    def _watch(self) -> None:
        while not self._over.is_set():
            self._most = max(self._most, anonymous())
            time.sleep(0.002)


def net_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    net, x = net_of(), torch.randn(16, 8)
    return ws.ModuleProblem(net, nn.MSELoss(), (x, net(x).detach()), batch_size=None, engine="loop")


@pytest.fixture(scope="module")
def ends(problem: ws.ModuleProblem) -> tuple[torch.Tensor, torch.Tensor]:
    """One function twice, with units of opposite signs: half-way between them these are 0."""
    net = net_of()
    first = problem.flatten(net)
    with torch.no_grad():
        for parameter in (net[2].weight, net[2].bias, net[4].weight):
            parameter.neg_()
    return first, problem.flatten(net)


@pytest.fixture(scope="module")
def run(problem, ends, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "line"
    assert ws.connect(problem, *ends, 100.0, store=out, disprove=False).connected
    return out


def test_a_straight_line_takes_two_copies_beside_the_problems_own(problem, ends, tmp_path):
    with Peak(problem.size) as peak:
        assert ws.connect(problem, *ends, 100.0, store=tmp_path / "run", disprove=False).connected
    assert peak.copies <= 2 + TOLERANCE


def test_a_search_that_gives_up_ends_with_its_verdict_within_bounds(problem, ends, tmp_path):
    still = ws.Recipe("sgd", {"lr": 1e-12}, check_every=1, max_steps=1)
    threshold = float(problem.measure(torch.lerp(*ends, 0.5)[None])["loss"]) / 2
    stuck, out = ws.Greedy(retries=0), tmp_path / "run"
    with Peak(problem.size) as peak:
        result = ws.connect(problem, *ends, threshold, strategy=stuck, recipe=still, store=out, disprove=False)
        ws.write_report(out)
    assert ws.load(out).outcome == result.outcome
    assert result.outcome.reason == "descent_failed"
    assert result.outcome.evidence.curvature is not None
    assert peak.copies <= 12


def test_align_stays_within_bounds():
    def deep_of(width: int) -> ws.ModuleProblem:
        hidden = [layer for _ in range(8) for layer in (nn.Linear(width, width), nn.Tanh())]
        net, x = nn.Sequential(nn.Linear(8, width), nn.Tanh(), *hidden, nn.Linear(width, 1)), torch.randn(16, 8)
        return ws.ModuleProblem(net, nn.MSELoss(), (x, net(x).detach()), batch_size=None, engine="loop")

    small, deep = deep_of(2), deep_of(1100)
    ws.align(small, small.initial(0), small.initial(1))  # what tracing imports is no copy
    theta = deep.initial(0)
    copy = ws.permuted_copy(deep, theta, 1)
    with Peak(deep.size) as peak:
        assert torch.equal(ws.align(deep, theta, copy).theta, theta)
    assert peak.copies <= 13  # 9 to 12 measured: it varies what the allocator keeps


def test_merge_takes_one_model_at_a_time(problem, run):
    with Peak(problem.size) as peak:
        ws.merge(problem, ws.load(run, problem=problem).string)
    assert peak.copies <= 3 + TOLERANCE


def test_a_page_and_reading_back_hold_no_model(problem, run):
    with Peak(problem.size) as peak:
        ws.write_report(run)
        assert ws.load(run).string.normalized_length == 1.0
    assert peak.copies <= TOLERANCE
