"""Fig. 1, cubic: 8x³ − 10x² + 3x by the authors' 1-4-4-1 network, mean absolute error.

    python experiments/cubic.py --pairs 32

Sigmoid units, a linear output. At the best constant's error, .1582, the paper has a spike.
"""

from __future__ import annotations

from harness import options, swept

import weightstring as ws
from weightstring.tasks import load_task

THRESHOLDS = (0.32, 0.24, 0.168, 0.158, 0.15, 0.14, 0.1, 0.05, 0.025, 0.01)
SETTING = {"target": "cubic", "activation": "sigmoid", "output": "linear", "optimizer": "adam", "loss": "absolute"}


def main() -> None:
    """Sweep all thresholds."""
    given = options(__doc__ or "", pairs=32)
    levels = THRESHOLDS[:5] if given.quick else THRESHOLDS
    swept("cubic", load_task("polynomial", SETTING), levels, given, SETTING, stop=ws.MaxBeads(256))


if __name__ == "__main__":
    main()
