"""Memory of a connect, in copies of θ: the peak of what the process holds beyond the data.

    MALLOC_MMAP_THRESHOLD_=1000000 python -m benchmarks memory [--width 2000]

Linux only. With the variable, freed memory goes back to the system at once; without it glibc keeps a
good part of what was freed, which belongs to the peak of the process but not to the search.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

import weightstring as ws
from benchmarks.measuring import asked, keep, parser


def problem_of(width: int) -> ws.ModuleProblem:
    """A wide network on little data, so that θ is what takes the memory."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    x = torch.randn(64, 8)
    y = (x[:, :1] * x[:, 1:2]).tanh()
    recipe = ws.Recipe("adam", {"lr": 1e-3}, check_every=5)
    return ws.ModuleProblem(net, nn.MSELoss(), (x, y), batch_size=None, recipe=recipe)


class Peak:
    """The largest anonymous memory of this process while the block runs, in bytes."""

    def __enter__(self) -> Peak:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, anonymous())
            time.sleep(0.002)


def anonymous() -> int:
    """Bytes that belong to this process alone and to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--width", type=int)
    chosen = asked(options, arguments)
    small = problem_of(8)  # what is imported and allocated once is no part of it
    ws.connect(small, small.fit(0, 0.2), small.fit(1, 0.2), 0.21)

    before = anonymous()
    problem = problem_of(chosen.width or (500 if chosen.quick else 2000))
    a, b = problem.fit(0, 0.05), problem.fit(1, 0.05)
    with tempfile.TemporaryDirectory() as folder, Peak() as peak:
        result = ws.connect(problem, a, b, 0.052, store=Path(folder) / "run")
    copy = problem.size * problem.dtype.itemsize
    in_flight = max(r.descents for r in result.history)
    keep(
        "memory",
        {
            "parameters": problem.size,
            "beads in flight": in_flight,
            "beads on the string": len(result.string),
            "allowed copies of θ": 6 * in_flight + 6,
            "peak, copies of θ": round((peak.bytes - before) / copy, 1),
            "afterwards, copies of θ": round((anonymous() - before) / copy, 1),
            "freed memory returned at once": "MALLOC_MMAP_THRESHOLD_" in os.environ,
        },
        chosen.quick,
    )
