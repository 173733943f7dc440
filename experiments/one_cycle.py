"""How much sooner networks reach a test error by one cycle of the learning rate than by Adam, .001.

    python experiments/one_cycle.py --data DIR              # minutes on one core; interrupt and repeat at will

CPU seconds and steps until a network of CIFAR-10 is first seen at each test error: by the recipe that networks are
trained by unless one is named, by one cycle whose largest rate is ten times as large, with an average of the iterates,
and by that with smoothed labels and augmentation. Networks are narrow, for minutes. One with BatchNorm sees fewer
training images, as its statistics are collected on all of them at every look.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from harness import keep, options
from tables import read

import weightstring as ws
from weightstring.descent import Check
from weightstring.tasks import load_task

NETS = {
    "resnet8": {"width": "0.5", "train_size": "2000", "test_size": "500"},
    "cnn": {"width": "0.125", "train_size": "50000", "test_size": "500"},
}
STEPS = 200
PLAIN = "Adam, .001"
TASK_OPTIONS: dict[str, dict[str, str]] = {
    PLAIN: {},
    "one cycle": {"one_cycle": str(STEPS)},
    "one cycle, smoothed, augmented": {"one_cycle": str(STEPS), "label_smoothing": "0.1", "augment": "true"},
}


def main() -> None:
    """Train each network once by each recipe; what is known is not run again."""
    given = options(__doc__ or "", pairs=1)
    known = read("one_cycle") or {}
    rows: list[dict[str, Any]] = known["rows"] if known.get("steps") == STEPS and not given.quick else []
    for name, own in TASK_OPTIONS.items():
        for net in NETS:
            if not any((row["net"], row["recipe"]) == (net, name) for row in rows):
                rows.append({"net": net, "recipe": name, **trained(given, net, own)})
                if not given.quick:
                    keep("one_cycle", {"steps": STEPS, "nets": NETS, "rows": rows})


def trained(given: Namespace, net: str, own: dict[str, str]) -> dict[str, Any]:
    """The looks at one training: CPU seconds, steps, and the least error so far."""
    size = NETS[net] | ({"train_size": "500", "test_size": "100", "width": "0.1"} if given.quick else {})
    problem = load_task("cifar10", {"net": net, **size, **own, **({"data": str(given.data)} if given.data else {})})
    problem.engine_choice()
    looks: list[tuple[float, int, float]] = []
    started = time.process_time()

    def seen(check: Check) -> None:
        if check.running:
            looks.append((round(time.process_time() - started, 2), check.steps, check.lowest))
            print(net, own, looks[-1], flush=True)

    try:
        problem.fit(0, 0.0, 10 if given.quick else STEPS, quantity="error", on_check=seen)
    except ws.LevelNotReached as ended:
        looks.append((round(time.process_time() - started, 2), STEPS, ended.value))
    return {"looks": looks}


if __name__ == "__main__":
    main()
