"""Questions that the paper leaves open: α below 1, the choice of the loss, and room to move.

    python experiments/questions.py [--parts alpha,loss,room,descent]

- alpha: beads that aim at α · L0 instead of L0: connected share, beads, gradients. Each α has the same ends.
- loss: squared, absolute, Huber and log-cosh errors on one polynomial task, cross-entropy and squared error on digits,
  with thresholds of one and the same accuracy (mean absolute error; error rate).
- descent: is it descents that limit the cubic at .01? Learning rates and steps of a bead's descent, α and depth, all
  between the same ends, which were trained by the longest descents.
- room: connected share and normalized length against the width, and against the number of training samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from harness import RESULTS, keep
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import LevelNotReached
from weightstring.problem import ModuleProblem
from weightstring.tasks import load_task

QUADRATIC = {
    "target": "quadratic",
    "activation": "sigmoid",
    "output": "sigmoid",
    "optimizer": "adam",
    "loss": "absolute",
}
ALPHAS = (1.0, 0.95, 0.9, 0.8, 0.5)
WIDTHS = (2, 3, 4, 6, 8, 16)
SAMPLES = (4, 8, 16, 64, 256)
CUBIC = {"target": "cubic", "activation": "sigmoid", "output": "linear", "optimizer": "adam", "loss": "absolute"}
LONG = {"max_steps": 50_000, "patience": 100}
DESCENTS = {
    "1e-3, 10,000 steps": ws.Recipe("adam", {"lr": 1e-3}),
    "1e-2, 10,000 steps": ws.Recipe("adam", {"lr": 1e-2}),
    "1e-3, 50,000 steps": ws.Recipe("adam", {"lr": 1e-3}, **LONG),
    "3e-3, 50,000 steps": ws.Recipe("adam", {"lr": 3e-3}, **LONG),
}
SEARCHES = {(0.95, 10): ws.Greedy(), (0.8, 20): ws.Greedy(alpha=0.8, max_depth=20)}
"""By α and depth."""


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """Mean log cosh of the error: squared near 0, absolute far away."""
    error = output - target
    return (error.abs() + nn.functional.softplus(-2 * error.abs()) - torch.log(torch.tensor(2.0))).mean()


def squared_on_classes(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of outputs and one-hot classes."""
    return nn.functional.mse_loss(output, nn.functional.one_hot(target, output.shape[1]).to(output))


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": nn.functional.mse_loss,
    "absolute": nn.functional.l1_loss,
    "Huber": nn.SmoothL1Loss(beta=0.05),
    "log-cosh": log_cosh,
}


def summaries(found: ws.Sweep) -> list[dict[str, Any]]:
    """The summary as plain numbers."""
    return [asdict(own) for own in found.summary]


def alpha(pairs: int) -> list[dict[str, Any]]:
    """The same pairs of the quadratic at three thresholds, for each α."""
    problem = load_task("polynomial", QUADRATIC)
    rows = []
    for value in ALPHAS:
        found = ws.sweep(
            problem, (0.025, 0.01, 0.005), pairs=pairs, strategy=ws.Greedy(alpha=value), stop=ws.MaxBeads(256)
        )
        rows += [{"alpha": value, **own} for own in summaries(found)]
    return rows


def loss(pairs: int) -> list[dict[str, Any]]:
    """Each loss at thresholds of equal accuracy."""
    base = load_task("polynomial", {**QUADRATIC, "loss": "squared"})
    train, evaluate = base.fitted()[0], base.observed()
    rows = []
    for name, function in LOSSES.items():
        problem = ModuleProblem(
            nn.Sequential(nn.Linear(1, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid()),
            function,
            (train.leaves[0], train.targets),
            (evaluate.leaves[0], evaluate.targets),
            metrics={"absolute_error": nn.functional.l1_loss},
            batch_size=256,
            recipe=base.recipe,
        )
        found = ws.sweep(problem, (0.05, 0.025, 0.01), pairs=pairs, bind="absolute_error", stop=ws.MaxBeads(256))
        rows += [{"task": "quadratic", "loss": name, **own} for own in summaries(found)]
    digits = load_task("digits")
    train, evaluate = digits.fitted()[0], digits.observed()
    for name, function in (("cross-entropy", nn.CrossEntropyLoss()), ("squared", squared_on_classes)):
        problem = ModuleProblem(
            nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
            function,
            (train.leaves[0], train.targets),
            (evaluate.leaves[0], evaluate.targets),
            metrics={"error": digits.measured("error")[1]},
            recipe=digits.recipe,
        )
        found = ws.sweep(problem, (0.1, 0.06, 0.04), pairs=max(2, pairs // 2), bind="error")
        rows += [{"task": "digits", "loss": name, **own} for own in summaries(found)]
    return rows


def room(pairs: int) -> list[dict[str, Any]]:
    """Widths at 256 samples, and numbers of samples at width 4, both at a threshold of .01."""
    rows = []
    for key, values in (("width", WIDTHS), ("samples", SAMPLES)):
        problems = {f"{key}={value}": load_task("polynomial", {**QUADRATIC, key: str(value)}) for value in values}
        found = ws.sweep(problems, (0.025, 0.01), pairs=pairs, stop=ws.MaxBeads(256))
        rows += [{"over": key, "samples": int(own["variant"].split("=")[1]) if key == "samples" else 256, **own}
                 for own in summaries(found)]  # fmt: skip
    return rows


def descent(pairs: int) -> list[dict[str, Any]]:
    """The cubic at .01, by each learning rate, length of descents, α and depth; what is kept is not run again."""
    problem = load_task("polynomial", CUBIC)
    ends, seed = list[Tensor](), 0
    while len(ends) < 2 * pairs:
        try:
            ends.append(problem.fit(seed, until=0.01, recipe=DESCENTS["3e-3, 50,000 steps"]))
        except LevelNotReached:
            print(f"seed {seed} does not reach .01")
        seed += 1
    known = json.loads(path.read_text()) if (path := RESULTS / "questions_descent.json").exists() else {}
    rows: list[dict[str, Any]] = known["rows"] if known.get("pairs") == pairs else []
    for name, recipe in DESCENTS.items():
        for (value, depth), strategy in SEARCHES.items():
            if any((row["descent"], row["alpha"], row["depth"]) == (name, value, depth) for row in rows):
                continue
            found = ws.sweep(
                problem, (0.01,), checkpoints=ends, recipe=recipe, strategy=strategy, stop=ws.MaxBeads(256)
            )
            rows += [
                {"descent": name, "alpha": value, "depth": depth, "seeds": seed, **own} for own in summaries(found)
            ]
            print(name, value, depth, found.summary[0].connected, flush=True)
            if pairs > 2:
                keep("questions_descent", {"pairs": pairs, "seconds": None, "rows": rows})
    return rows


PARTS = {"alpha": alpha, "loss": loss, "room": room, "descent": descent}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="joined by commas (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=16, help="at each threshold (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two pairs, whose results are not kept")
    given = parser.parse_args()
    for name in given.parts.split(","):
        started = time.perf_counter()
        rows = PARTS[name](2 if given.quick else given.pairs)
        seconds = time.perf_counter() - started
        print(f"{name}: {len(rows)} rows in {seconds:.0f} s")
        if not given.quick:
            keep(f"questions_{name}", {"pairs": given.pairs, "seconds": round(seconds, 1), "rows": rows})


if __name__ == "__main__":
    main()
