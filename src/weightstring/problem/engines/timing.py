"""How long a call takes, for choices between ways to compute."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

import torch

from weightstring.devices import wait_for


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of this thread where it alone computes: a busy machine stretches all others."""
    return thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else perf_counter


def best_time(run: Callable[[], object], device: torch.device, repeats: int = 5, budget: float = 0.2) -> float:
    """Seconds of the quickest of some calls, as many as the budget allows."""
    best, now = float("inf"), clock(device)
    begin = now()
    for _ in range(repeats):
        start = now()
        run()
        wait_for(device)
        best = min(best, now() - start)
        if now() - begin > budget:
            break
    return best
