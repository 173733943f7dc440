"""Section V.A with the draft's own settings: 1-4-4-1, ReLU units, RMSprop, polynomials f([0, 1]) ⊂ [0, 1].

    python experiments/draft.py --store sweeps/draft

The draft leaves the loss open: it is the mean absolute error here, as in the final paper, so that the two are at the
same thresholds. Each target is swept by the greedy search and by the paper's own algorithm, S(θ1, θ2, α, d).
"""

from __future__ import annotations

from argparse import Namespace

from harness import options, swept

import weightstring as ws
from weightstring.tasks import load_task

TARGETS = {
    "quadratic": (0.125, 0.075, 0.05, 0.025, 0.015, 0.01),
    "random": (0.125, 0.075, 0.05, 0.025, 0.015),
    "cubic": (0.32, 0.24, 0.168, 0.158, 0.15, 0.14, 0.1, 0.05),
}
"""The final paper's two, and a random cubic of the draft's family; 8x³ − 10x² + 3x leaves [0, 1] by .08. Thresholds
end where few of these networks get any further."""
STRATEGIES = {"": ws.Greedy(), "_as_in_the_paper": ws.AsInThePaper()}
SETTING = {"activation": "relu", "output": "linear", "optimizer": "rmsprop", "loss": "absolute"}


def main() -> None:
    """Sweep all targets by both strategies; one after the other, each kept when it is done."""
    given = options(__doc__ or "", pairs=16)
    for ending, strategy in STRATEGIES.items():
        for target, thresholds in TARGETS.items():
            name = f"draft_{target}{ending}"
            own = Namespace(**vars(given) | {"store": None if given.store is None else given.store / name})
            setting = {"target": target, **SETTING}
            levels = thresholds[:3] if given.quick else thresholds
            stop = ws.MaxBeads(getattr(strategy, "most_beads", 256))
            swept(name, load_task("polynomial", setting), levels, own, setting, strategy=strategy, stop=stop)


if __name__ == "__main__":
    main()
