"""Will they merge? The verdict on models of five kinds, held against examples that it has not seen.

    python experiments/verdicts.py              # a minute on one core; kept kind by kind, started again it goes on

Handwritten digits (8 × 8, from scikit-learn) in four parts: a base model learns from the first, and fine-tunes from the
second, in which images are shifted; the verdict measures on the third, and the truth is the fourth. A verdict is right
where what it recommends is no worse on the fourth part than the worst of its models, or where it refuses and averaging
as they are is worse.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from harness import RESULTS
from tables import lines_of
from torch import Tensor, nn

import weightstring as ws
from weightstring.problem.checkpoints.lora import Lora, Product
from weightstring.protocol import Gradient
from weightstring.study.adapters import write_adapter

NAME = "verdicts"
WIDTH = 64
PARTS = (600, 500, 300, 397)
"""Examples for the base, for fine-tunes, for the verdict, and held out."""


class Counting(ws.ModuleProblem):
    """Counts the evaluations that a verdict needs, and the CPU seconds in them and in gradients of matching."""

    count, seconds, _inside = 0.0, 0.0, False

    @contextmanager
    def _counted(self, models: int) -> Iterator[None]:
        if self._inside:
            yield
            return
        self._inside, started = True, time.process_time()
        try:
            yield
        finally:
            self._inside = False
            self.seconds += time.process_time() - started
            self.count += models

    def gradient(self, thetas: Tensor, rows: Tensor | None) -> Gradient:
        """Timed; no evaluation."""
        with self._counted(0):
            return super().gradient(thetas, rows)

    def measure(self, thetas: Tensor, quantities: Sequence[str] = ("loss",)) -> dict[str, Tensor]:
        """Counted."""
        with self._counted(len(thetas)):
            return super().measure(thetas, quantities)

    def measure_along(
        self, a: Tensor, b: Tensor, ts: Tensor, quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Tensor]:
        """Counted."""
        with self._counted(len(ts)):
            return super().measure_along(a, b, ts, quantities)

    def measure_segments(self, stretches: Sequence[Any], quantities: Sequence[str] = ("loss",)) -> dict[str, Tensor]:
        """Counted."""
        with self._counted(sum(len(stretch[2]) for stretch in stretches)):
            return super().measure_segments(stretches, quantities)


def digits() -> list[tuple[Tensor, Tensor]]:
    """The four parts, in an order that depends on no one."""
    from sklearn.datasets import load_digits

    found = load_digits()
    inputs, targets = torch.tensor(found.images, dtype=torch.float32) / 16, torch.tensor(found.target)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    parts = torch.split(order, list(PARTS))
    return [(inputs[rows].flatten(1), targets[rows]) for rows in parts]


def shifted(inputs: Tensor, by: int) -> Tensor:
    """Images moved sideways."""
    return inputs.view(-1, 8, 8).roll(by, 2).flatten(1)


def network(width: int = WIDTH) -> nn.Sequential:
    """A perceptron with two hidden layers."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def train(net: nn.Module, data: tuple[Tensor, Tensor], seed: int, steps: int, rate: float = 1e-3) -> None:
    """Descend by Adam on minibatches of 64, whatever of the net is trainable."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([each for each in net.parameters() if each.requires_grad], lr=rate)
    for _ in range(steps):
        rows = torch.randint(len(data[0]), (64,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data[0][rows]), data[1][rows]).backward()
        optimizer.step()


def fresh(seed: int, data: tuple[Tensor, Tensor], width: int = WIDTH, steps: int = 600) -> nn.Sequential:
    """A network trained from its own start."""
    torch.manual_seed(seed)
    net = network(width)
    train(net, data, seed, steps)
    return net


def tuned(
    base: nn.Sequential, data: tuple[Tensor, Tensor], seed: int, steps: int = 200, rate: float = 1e-3
) -> nn.Sequential:
    """A copy of the base that went on, all its weights."""
    net = network()
    net.load_state_dict(base.state_dict())
    train(net, data, seed, steps, rate)
    return net


class Adapted(nn.Module):
    """A linear layer that stays, and a thin product beside it, as LoRA's is."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.lower = nn.Parameter(torch.randn(rank, layer.in_features) / math.sqrt(layer.in_features))
        self.raise_ = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer, and 2 B A."""
        return self.layer(inputs) + 2 * inputs @ self.lower.T @ self.raise_.T


def adapter(base: nn.Sequential, data: tuple[Tensor, Tensor], seed: int, rank: int) -> Lora:
    """A LoRA fine-tune of the base: both hidden layers."""
    torch.manual_seed(seed)
    net = network()
    net.load_state_dict(base.state_dict())
    net.requires_grad_(False)
    for place in (0, 2):
        layer = net[place]
        assert isinstance(layer, nn.Linear)
        net[place] = Adapted(layer, rank)
    train(net, data, seed, 300, 3e-3)
    products = {}
    for place in (0, 2):
        each = net[place]
        assert isinstance(each, Adapted)
        products[str(place)] = Product(each.lower.detach(), each.raise_.detach(), 2.0)
    return Lora(products, {})


def cases(store: Path) -> Iterator[tuple[str, nn.Sequential, list[Any], int]]:
    """Each kind: its name, a net of the problem, its models, and steps that a search for a string may take."""
    first, second, *_ = digits()
    base = fresh(0, first)
    views = [(shifted(second[0], by), second[1]) for by in (-1, 1)]
    mixed = (torch.cat([second[0], *(view[0] for view in views)]), second[1].repeat(3))

    folders = []
    for seed, rank in ((1, 2), (2, 4)):
        folders.append(store / f"adapter-{seed}")
        write_adapter(folders[-1], adapter(base, mixed, seed, rank), {"base_model_name_or_path": "base"})
    net = network()
    net.load_state_dict(base.state_dict())
    yield (
        "two LoRA fine-tunes, ranks 2 and 4",
        ws.adapters_only(net, *folders),
        [ws.read_checkpoint(f) for f in folders],
        0,
    )
    yield "two full fine-tunes", network(), [tuned(base, mixed, seed) for seed in (1, 2)], 0
    yield "two full fine-tunes, opposite shifts", network(), [tuned(base, views[i], i, 1000, 3e-3) for i in (0, 1)], 0
    whole = (torch.cat([first[0], mixed[0]]), torch.cat([first[1], mixed[1]]))
    yield "two trained apart", network(), [fresh(seed, whole) for seed in (11, 12)], 0
    wide = [fresh(seed, whole, 512, 400) for seed in (11, 12)]
    yield "two trained apart, width 512", network(512), wide, 0
    yield "two trained apart, with a search", network(), [fresh(seed, whole) for seed in (11, 12)], 3000
    soup = [tuned(base, mixed, seed, 200, rate) for seed in range(8) for rate in ((3e-4, 1e-3, 3e-3)[seed % 3],)]
    soup += [tuned(base, mixed, seed, 200, 0.05) for seed in (8, 9)]
    yield "ten soup candidates, two of them by a rate of .05", network(), soup, 0


def measured(net: nn.Module, models: Sequence[Any], search: int) -> dict[str, Any]:
    """The verdict, and what the held-out part says of it."""
    first, second, third, fourth = digits()
    fit = (torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
    metrics = {"error": lambda scores, labels: (scores.argmax(1) != labels).float().mean()}
    problem = Counting(net, nn.functional.cross_entropy, fit, third, metrics=metrics, engine="loop")
    truth = ws.ModuleProblem(net, nn.functional.cross_entropy, fit, fourth, metrics=metrics, engine="loop")
    thetas = [problem.flatten(model) for model in models]
    problem.count = problem.seconds = 0.0
    started = time.process_time()
    found = ws.mergeable(problem, thetas, search=search, blame=True)
    seconds = time.process_time() - started
    names = ("loss", "error")
    own = truth.measure(torch.stack(thetas), names)
    ways = []
    for way in found.ways:
        held = None if way.theta is None else truth.measure(way.theta[None], names)
        ways.append(
            {
                "way": way.name,
                "members": len(way.members),
                "said": way.values["loss"],
                "barrier": way.barrier,
                "held out": None if held is None else {name: float(held[name]) for name in names},
            }
        )
    return {
        "merges": found.merges,
        "best": found.best.name,
        "verdict": found.verdict,
        "models": [values["loss"] for values in found.models.values()],
        "models held out": {name: own[name].tolist() for name in names},
        "ways": ways,
        "untried": dict(found.untried),
        "parameters": problem.size,
        "evaluations": problem.count,
        "gradients of matching": found.learn if any(way.name == "learned average" for way in found.ways) else 0,
        "CPU seconds": seconds,
        "of which evaluations": problem.seconds,
        "blame": None if found.blame is None else found.blame.worst.name,
    }


def main() -> None:
    """Judge each kind that is not yet judged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first two kinds, whose results are not kept")
    given = parser.parse_args()
    done = set() if given.quick else {row["part"] for row in lines_of(NAME)}
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        for number, (kind, net, models, search) in enumerate(cases(Path(folder))):
            if given.quick and number == 2:
                break
            if kind in done:
                continue
            row = {"part": kind, **measured(net, models, search)}
            print(f"{kind}: {row['verdict'].splitlines()[0]}; {row['CPU seconds']:.1f} CPU seconds", flush=True)
            if not given.quick:
                RESULTS.mkdir(exist_ok=True)
                with (RESULTS / f"{NAME}.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
