"""Fig. 1, quadratic: .5x² + .25x + .1 by the authors' 1-4-4-1 network, mean absolute error, ten thresholds.

    python experiments/quadratic.py --pairs 32

The authors' network has sigmoid units, also at the output, 10,000 points on [0, 1] and Adam with rate 1e-3. Ours trains
on 256 points and measures on as many between them.
"""

from __future__ import annotations

from harness import options, swept

import weightstring as ws
from weightstring.tasks import load_task

THRESHOLDS = (0.125, 0.075, 0.05, 0.025, 0.015, 0.01, 0.005, 0.0025, 0.0015, 0.001)
SETTING = {"target": "quadratic", "activation": "sigmoid", "output": "sigmoid", "optimizer": "adam", "loss": "absolute"}


def main() -> None:
    """Sweep all thresholds."""
    given = options(__doc__ or "", pairs=32)
    levels = THRESHOLDS[:5] if given.quick else THRESHOLDS
    swept("quadratic", load_task("polynomial", SETTING), levels, given, SETTING, stop=ws.MaxBeads(256))


if __name__ == "__main__":
    main()
