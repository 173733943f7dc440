"""Section IV: κ against depth and width of real networks, and what gluing permutations together costs.

    python experiments/depth.py [--seeds 2] [--searched 8]

Digits networks of one to four hidden layers and 8 to 32 units in each, ReLU and tanh, trained to a loss of 0.1. Of
each: κ, the largest eigenvalue of the Hessian; and over the trees of exchanges of hidden units
(weightstring.symmetry.gluing) the highest loss on the straight segments, which is a bound for every permutation of all
layers, and the longest segment. Of networks up to a width, seed 0, also whether a search finds a path under the
network's own loss for every exchange: then all permuted copies lie in one component at that level. Each line is kept
when it is done; a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from harness import RESULTS, keep
from permutation_motion import LEVEL
from sklearn.datasets import load_digits
from torch import nn

import weightstring as ws
from weightstring.path.sharpness import sharpness
from weightstring.symmetry.finding import find
from weightstring.symmetry.gluing import glue

FORM = ("activation", "depth", "width", "seed")
DEPTHS, WIDTHS, ACTIVATIONS = (1, 2, 3, 4), (8, 16, 32), ("ReLU", "Tanh")


def problem_of(activation: str, depth: int, width: int) -> ws.ModuleProblem:
    """Cross-entropy on all 1,797 digits, in float64."""
    images, labels = load_digits(return_X_y=True)
    sizes = [64, *[width] * depth]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), getattr(nn, activation)()]
    data = torch.tensor(images) / 16, torch.tensor(labels)  # grey levels are 0 to 16
    recipe = ws.Recipe("adam", {"lr": 2e-3}, check_every=5, patience=100)
    net = nn.Sequential(*layers, nn.Linear(width, 10))
    return ws.ModuleProblem(net, nn.CrossEntropyLoss(), data, dtype=torch.float64, recipe=recipe)


def measured(activation: str, depth: int, width: int, seed: int) -> dict[str, Any]:
    """One network."""
    problem = problem_of(activation, depth, width)
    theta = problem.fit(seed, until=LEVEL)
    own = float(problem.measure(theta[None])["loss"])
    found, glued = sharpness(problem, theta, seed), glue(problem, find(problem), theta)
    return {
        "activation": activation,
        "depth": depth,
        "width": width,
        "seed": seed,
        "parameters": problem.size,
        "loss": own,
        "kappa": found.kappa,
        "residual": found.residual,
        "exchanges": len(glued.exchanges),
        "log10 copies": depth * math.lgamma(width + 1) / math.log(10),
        "height": glued.height,
        "longest": glued.longest,
        "searched": None,
    }


def searched(activation: str, depth: int, width: int, seed: int) -> dict[str, int]:
    """How many exchanges have a path under the network's own loss, and the beads of all together."""
    problem = problem_of(activation, depth, width)
    theta = problem.fit(seed, until=LEVEL)
    level = float(problem.measure(theta[None])["loss"]) * (1 + 1e-9)
    exchanges = glue(problem, find(problem), theta).exchanges
    results = [ws.connect(problem, own.beads[0], own.beads[-1], level, progress=False) for own in exchanges]
    return {"connected": sum(own.connected for own in results), "beads": sum(len(own.string) for own in results)}


def fitted(rows: list[dict[str, Any]], activation: str) -> dict[str, Any]:
    """Exponents of κ ~ width^p depth^q, of the bound's excess over the loss, and their standard errors."""
    own = [row for row in rows if row["activation"] == activation]
    sides = np.array([[1.0, math.log(row["width"]), math.log(row["depth"])] for row in own])
    found: dict[str, Any] = {"networks": len(own)}
    quantities = {
        "kappa": [row["kappa"] for row in own],
        "excess": [row["height"] - row["loss"] for row in own],
        "longest": [row["longest"] for row in own],
    }
    for name, values in quantities.items():
        logs = np.log(values)
        solution, *_ = np.linalg.lstsq(sides, logs, rcond=None)
        spread = float(((logs - sides @ solution) ** 2).sum()) / max(1, len(own) - 3)
        errors = np.sqrt(spread * np.diag(np.linalg.pinv(sides.T @ sides)))
        found[name] = {"width": [solution[1], errors[1]], "depth": [solution[2], errors[2]]}
    return found


def main() -> None:
    """Every network; what is kept already is not computed again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2, help="networks of each form (default: %(default)s)")
    parser.add_argument("--searched", type=int, default=8, help="widths up to which exchanges are searched for")
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "depth.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {tuple(row[name] for name in FORM) for row in rows}
    for seed, width, depth, activation in product(range(given.seeds), WIDTHS, DEPTHS, ACTIVATIONS):
        if (activation, depth, width, seed) not in known:
            rows.append(measured(activation, depth, width, seed))
            kept(rows)
    for row in rows:
        if row["seed"] == 0 and row["width"] <= given.searched and row["searched"] is None:
            row["searched"] = searched(*(row[name] for name in FORM))
            kept(rows)


def kept(rows: list[dict[str, Any]]) -> None:
    """Keep what there is, with the exponents as far as they are known."""
    fits = {name: fitted(rows, name) for name in ACTIVATIONS if len(rows) > 12}
    keep("depth", {"level": LEVEL, "fits": fits, "rows": rows})


if __name__ == "__main__":
    main()
