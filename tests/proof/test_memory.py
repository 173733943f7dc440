"""What a proof over many images takes of a process's memory, seen by the operating system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROVE = """
import resource, sys
import torch
from torch import nn
import weightstring as ws

torch.manual_seed(0)
examples = int(sys.argv[1])
images = torch.rand(examples, 784), torch.randint(10, (examples,))
net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
problem = ws.ModuleProblem(net, nn.functional.cross_entropy, images)
string = ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in range(2)]))
problem.measure(string.beads)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
settings = {"max_bytes": int(sys.argv[2])} if len(sys.argv) > 2 else {}
certificate = ws.certify(problem, string, max_intervals=4, **settings)
print(before, peak(), certificate.upper_bound)
"""


def prove(examples: int, *max_bytes: int) -> tuple[int, int]:
    # glibc otherwise keeps what was freed, and the system sees that too.
    allocator = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", PROVE, *map(str, (examples, *max_bytes))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **allocator},
    )
    before, after, _ = done.stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024
    return int(before) * unit, int(after) * unit


@pytest.mark.slow
def test_ten_thousand_images_take_less_than_two_gigabytes() -> None:
    _, whole = prove(10_000)
    assert whole < 2e9


@pytest.mark.slow
def test_max_bytes_holds() -> None:
    before, after = prove(3_000, 200_000_000)
    assert after - before < 200_000_000
