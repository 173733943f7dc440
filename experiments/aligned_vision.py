"""Networks trained apart on CIFAR-10: the line between two as given, matched, re-estimated and repaired.

    python experiments/aligned_vision.py --data DIR --store runs/vision                     # ResNet-20, width 1
    python experiments/aligned_vision.py --data DIR --store runs/vision --net vit --width 0.5
    python experiments/aligned_vision.py --data DIR --store runs/vision --width 2

Ends see all training images, in minibatches of 128. Lines are measured on --tested test images; BatchNorm's statistics
are estimated on --seen training images, which are also all that matching sees. Averaging state dicts averages
statistics too: that is measured beside re-estimating them at every point of the line. Networks without BatchNorm are
repaired at every point (Jordan et al. 2022). Ends are kept every fifty steps and each row as soon as it is known;
started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import resumable
import torch
from harness import RESULTS
from resumable import barrier
from tables import lines_of
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.symmetry.finding import find
from weightstring.tasks import load_task
from weightstring.tasks.cifar import NETWORKS
from weightstring.tasks.cifar_files import read_cifar
from weightstring.tasks.cifar_published import CIFAR_SETS

NAME = "aligned_vision"
BATCH = 128
QUANTITIES = ("loss", "error")


@dataclass(frozen=True)
class Kind:
    """A network, and how it is trained.

    Args:
        words: what it is called.
        optimizer: of its parameters.
        rate: its largest step size.
        decay: of weights.
        steps: of a training.
    """

    words: str
    optimizer: Callable[..., torch.optim.Optimizer]
    rate: float
    decay: float
    steps: int


KINDS = {
    "resnet20": Kind("ResNet-20", partial(torch.optim.SGD, momentum=0.9, nesterov=True), 0.2, 5e-4, 250),
    "vit": Kind("ViT", torch.optim.AdamW, 2e-3, 0.05, 800),
}

WAYS: dict[str, dict[str, Any] | None] = {
    "as given": None,
    "permutations": {"methods": ["weights", "activations"], "maps": False},
    "permutations and linear maps": {"methods": ["weights"], "maps": True},
    "learned from these": {"methods": ["weights", "activations", "learned"], "maps": True},
}


def trained(given: argparse.Namespace, seed: int) -> dict[str, Tensor]:
    """A network after so many steps, from its own seed, order and all."""
    kind, images = KINDS[given.net], CIFAR_SETS["cifar10"]
    train, _ = read_cifar(images, given.data)
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (images.mean, images.std))
    torch.manual_seed(seed)
    net = NETWORKS[given.net](10, given.width)
    optimizer = kind.optimizer(net.parameters(), lr=kind.rate, weight_decay=kind.decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, kind.rate, total_steps=given.steps, cycle_momentum=False)

    def batch_loss(draw: torch.Generator) -> Tensor:
        rows = torch.randint(len(train.labels), (BATCH,), generator=draw)
        return F.cross_entropy(net((train.pixels[rows] / 255 - mean) / deviation), train.labels[rows].long())

    done = given.store / f"{given.net}-{given.width:g}-{seed}-{given.steps}.safetensors"
    return resumable.trained(net, optimizer, rate, batch_loss, seed, given.steps, done)


def between(problem: ws.ModuleProblem, a: Tensor, b: Tensor, points: int) -> dict[str, list[dict[str, float]]]:
    """What is measured at even distances on a line, by what is done to each model on it."""
    found: dict[str, list[dict[str, float]]] = {"averaged": []}
    ends = [problem.unflatten(theta) for theta in (a, b)]
    restored = "re-estimated" if problem.statistics_names else "repaired"
    found[restored] = []
    for t in torch.linspace(0, 1, points).tolist():
        mixed = {name: _between(own, ends[1][name], t) for name, own in ends[0].items()}
        found["averaged"].append(problem.as_saved(mixed, QUANTITIES))
        theta = torch.lerp(a, b, t)
        if not problem.statistics_names and 0 < t < 1:
            theta = ws.repair(problem, [a, b], weights=[1 - t, t]).theta
        row = problem.measure(theta[None], QUANTITIES)
        found[restored].append({name: float(row[name]) for name in QUANTITIES})
    return found


def _between(one: Tensor, other: Tensor, t: float) -> Tensor:
    return torch.lerp(one, other, t) if one.is_floating_point() else one


def row_of(problem: ws.ModuleProblem, a: Tensor, b: Tensor, way: str, given: argparse.Namespace) -> dict[str, Any]:
    """The line to a copy of the second model."""
    how, started = WAYS[way], time.process_time()
    aligned = None if how is None else ws.align(problem, a, b, **how, steps=given.gradients)
    seconds = time.process_time() - started
    other = b if aligned is None else aligned.theta
    found = between(problem, a, other, given.points)
    return {
        "line": way,
        "by": None if aligned is None else repr(aligned.chosen),
        "distance": float((a - other).norm()),
        "evaluations": 0.0 if aligned is None else aligned.evaluations,
        "gradients": 0 if aligned is None else aligned.gradients,
        "CPU seconds": round(seconds, 1),
        "barriers": {done: barrier([each["loss"] for each in line]) for done, line in found.items()},
        "lines": found,
    }


def main() -> None:
    """Train two ends, then measure the line as given and by each way to align."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory with CIFAR-10's files")
    parser.add_argument("--store", type=Path, required=True, help="keep the ends here, and go on from there")
    parser.add_argument("--net", choices=list(KINDS), default="resnet20", help="(default: %(default)s)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on its channels (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="of a training (default: the network's own)")
    parser.add_argument("--seen", type=int, default=1000, help="training images of a line (default: %(default)s)")
    parser.add_argument("--tested", type=int, default=1000, help="test images of a line (default: %(default)s)")
    parser.add_argument("--gradients", type=int, default=200, help="of learned matching (default: %(default)s)")
    parser.add_argument("--points", type=int, default=7, help="of a line (default: %(default)s)")
    given = parser.parse_args()
    given.steps = given.steps or KINDS[given.net].steps
    given.store.mkdir(parents=True, exist_ok=True)
    setting = {"net": given.net, "width": f"{given.width:g}", "data": str(given.data)}
    states = [trained(given, seed) for seed in (0, 1)]
    problem = load_task("cifar10", {**setting, "train_size": str(given.seen), "test_size": str(given.tested)})
    a, b = (problem.flatten(state) for state in states)
    part = f"{KINDS[given.net].words}, width {given.width:g}"
    sizes = {name: getattr(given, name) for name in ("steps", "seen", "tested", "gradients")}
    known = {row["line"] for row in lines_of(NAME, part) if row["sizes"] == sizes}
    mixes = any(not group.fixed for group in find(problem).maps.groups.values())
    for way in WAYS:
        if way in known or (way == "permutations and linear maps" and not mixes):
            continue
        row = {"part": part, "sizes": sizes, "parameters": problem.size, **row_of(problem, a, b, way, given)}
        print({name: value for name, value in row.items() if name != "lines"}, flush=True)
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / f"{NAME}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
