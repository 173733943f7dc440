"""Appendix E: a network and its copy with two hidden units swapped, which no path connects below an exact barrier.

    python experiments/appendix_e.py

Three inputs in R², each to be mapped to the next; 2-3-2, one ReLU layer, no biases. A determinant must change its sign
on every path, and the loss is at least 1/6 there (docs/theory/disconnection.md). Searches know nothing of that: they
must not connect below it, above it some do.
"""

from __future__ import annotations

import argparse

import torch
from harness import keep

import weightstring as ws
from weightstring.proof.disconnect import prove
from weightstring.theory.triangle import swapped_ends, swapped_triangle

THRESHOLDS = (0.05, 0.1, 0.15, 0.16, 0.17, 0.2, 0.25, 0.34)
STRATEGIES = {"greedy": ws.Greedy(), "breadth-first": ws.BreadthFirst(), "bezier, 2 bends": ws.Bezier(bends=2)}


def main() -> None:
    """Search at thresholds on both sides of the barrier, with the proof aside."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two pairs, whose result is not kept")
    given = parser.parse_args()
    triangle = swapped_triangle()
    count = 2 if given.quick else given.pairs
    draws = [
        swapped_ends(triangle, sizes=(0.5 + torch.rand(3, generator=torch.Generator().manual_seed(seed))).tolist())
        for seed in range(count)
    ]
    proof = prove(triangle, *draws[0])
    assert proof is not None
    rows = []
    for name, strategy in STRATEGIES.items():
        for level in THRESHOLDS:
            found = ws.connect_many(triangle, draws, level, strategy=strategy, disprove=False, progress=False)
            connected = sum(result.connected for result in found)
            assert level >= proof.bound or not connected, "a string below a proved bound"
            rows.append({"strategy": name, "threshold": level, "pairs": count, "connected": connected})
            print(f"{name:>16} {level:6g} connected {connected} of {count}")
    print(f"proved: no path below {proof.bound:.6f}")
    if not given.quick:
        keep("appendix_e", {"bound": proof.bound, "rows": rows})


if __name__ == "__main__":
    main()
