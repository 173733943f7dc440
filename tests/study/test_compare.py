"""Strategies compared on one pair."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

import weightstring as ws
from weightstring.problem.surfaces import Ring


def test_jobs_run_by_others_find_the_same_strings():
    ring = Ring()
    strategies = {"greedy": ws.Greedy(), "lower": ws.Greedy(alpha=0.9)}
    alone = ws.compare(ring, *ring.ends, 0.1, strategies=strategies, shorten=False)
    with ThreadPoolExecutor(2) as pool:
        together = ws.compare(ring, *ring.ends, 0.1, strategies=strategies, shorten=False, executor=pool)
    assert [one.name for one in together] == ["greedy", "lower"]
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one.result.string.beads, other.result.string.beads)
