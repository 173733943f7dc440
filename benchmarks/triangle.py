"""How near to the exact barrier 1/6 of Appendix E's 2-3-2 network each strategy gets, without knowing it.

python -m benchmarks triangle [--seeds 8]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

import weightstring as ws
from benchmarks.measuring import asked, keep, parser
from weightstring.proof.disconnect import prove
from weightstring.theory.triangle import swapped_ends, swapped_triangle

# Searches that leave the symmetric ends, where two units would meet at a pass of 1/3, have a chance.
STRATEGIES = {
    "greedy": ws.Greedy(),
    "constrained": ws.Constrained(),
    "breadth-first": ws.BreadthFirst(),
    "bezier": ws.Bezier(),
    "bezier, 2 bends": ws.Bezier(bends=2),
    "poly-chain": ws.PolyChain(),
    "poly-chain, 3 bends": ws.PolyChain(bends=3),
    "autoneb": ws.AutoNEB(),
}
LEVELS = (0.15, 0.18, 0.2, 0.25, 0.3, 0.34)


def main(arguments: Sequence[str]) -> None:
    """Connect ends of several sizes at rising thresholds, and certify how high the lowest string is at most."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=8)
    chosen = asked(options, arguments)
    strategies = dict([*STRATEGIES.items()][:2]) if chosen.quick else STRATEGIES
    triangle = swapped_triangle()
    draws = [
        swapped_ends(triangle, sizes=(0.5 + torch.rand(3, generator=torch.Generator().manual_seed(seed))).tolist())
        for seed in range(2 if chosen.quick else chosen.seeds)
    ]
    proof = prove(triangle, *draws[0])
    assert proof is not None
    rows = []
    for name, strategy in strategies.items():
        counts, lowest = {}, None
        for level in LEVELS:
            results = ws.connect_many(triangle, draws, level, strategy=strategy, disprove=False, progress=False)
            connected = [result for result in results if result.connected]
            counts[f"connected at {level}"] = len(connected)
            lowest = min([*connected, *([lowest] if lowest else [])], key=lambda found: found.largest, default=None)
        certified = None if lowest is None else ws.certify(triangle, lowest.string, tol=1e-4).upper_bound
        rows.append(
            {
                "strategy": name,
                **counts,
                "lowest string, sampled": None if lowest is None else round(lowest.largest, 5),
                "lowest string, certified": None if certified is None else round(certified, 5),
            }
        )
    keep(
        "triangle",
        {"barrier, proved": round(proof.bound, 6), "pairs": len(draws), "what each strategy reached": rows},
        chosen.quick,
    )
