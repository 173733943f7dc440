"""A clock that is put forward and back by hours while a search runs changes nothing but the seconds."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import weightstring as ws
from weightstring.problem.surfaces import Ring
from weightstring.store import RunDirectory

pytestmark = pytest.mark.usefixtures("unchecked")

RING = Ring()


def jumping(draw: random.Random, clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() + draw.uniform(-1e4, 1e4)


def rounds(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def beads(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "beads").iterdir())}


@pytest.mark.parametrize("seed", range(5))
def test_a_clock_that_jumps(tmp_path, monkeypatch, seed):
    still, moved = tmp_path / "still", tmp_path / "moved"
    ws.connect(RING, *RING.ends, threshold=0.05, store=still)
    for number, name in enumerate(("time", "monotonic", "perf_counter")):
        monkeypatch.setattr(time, name, jumping(random.Random(10 * seed + number), getattr(time, name)))
    result = ws.connect(RING, *RING.ends, threshold=0.05, store=moved)
    assert result.connected
    assert beads(moved) == beads(still)
    assert [{**line, "seconds": 0} for line in rounds(moved)] == [{**line, "seconds": 0} for line in rounds(still)]
    seconds = [line["seconds"] for line in rounds(moved)]
    assert min(seconds) >= 0
    assert max(seconds) > 1000  # the clock did jump while rounds ran
    assert len(RunDirectory(moved).replay()) == len(seconds)
