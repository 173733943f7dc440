"""Search for a false certificate: whole proofs of small networks, held to dense samples and to ``verify``.

python experiments/soundness_refining.py --draws 3000 --out FILE.jsonl [--summary experiments/results/NAME.json]

Each draw is a random network, data and string of two or three models, near or far from each other, and a quantity, of
which ``ws.certify`` proves a bound to a random tolerance or threshold. Examples leave intervals as in any proof, and
bounds are foreseen from a few of them even where they are few. Then the quantity is computed in float64 at 33 places of
each interval of the proof: none may lie above that interval's bound. One proof in four is proved again by ``verify``.
Thirty networks serve in turn.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose import refining

ROUNDING = 1e-12
"""What samples in float64 may have lost, relative to 1 + their size."""

PLACES = 33

PROBLEMS = 30
"""Networks with their data, each of which is traced once."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky": nn.LeakyReLU, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "silu": nn.SiLU,
}  # fmt: skip


def error(output: Tensor, target: Tensor) -> Tensor:
    """The share of wrong decisions."""
    return (output.argmax(1) != target).float().mean()


def chooser(draw: torch.Generator) -> Callable[..., Any]:
    """Chooses one of its arguments."""
    return lambda *options: options[int(torch.randint(len(options), (), generator=draw))]


@cache
def problem_of(number: int, seed: int) -> tuple[ws.ModuleProblem, dict[str, Any]]:
    """A network, its data and its loss, and what was chosen."""
    draw = torch.Generator().manual_seed(1_000_003 * seed + number)
    choose = chooser(draw)
    width, depth, count = choose(3, 6, 12), choose(1, 1, 2, 3, 5), choose(24, 60, 150)
    activation, loss = choose("relu", "relu", "relu", *ACTIVATIONS), choose("entropy", "smoothed", "squared", "binary")
    outputs = 1 if loss == "binary" else choose(2, 4)
    sizes = [choose(2, 5), *[width] * depth]
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside), ACTIVATIONS[activation]()]
    net = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
    inputs = torch.randn(count, sizes[0], generator=draw)
    classes = torch.randint(outputs, (count,), generator=draw)
    targets, criterion = {
        "entropy": (classes, nn.CrossEntropyLoss()),
        "smoothed": (classes, nn.CrossEntropyLoss(label_smoothing=0.1)),
        "squared": (torch.randn(count, outputs, generator=draw), nn.MSELoss()),
        "binary": (torch.randint(2, (count, 1), generator=draw).float(), nn.BCEWithLogitsLoss()),
    }[loss]
    metrics = {"error": error} if loss in ("entropy", "smoothed") else None
    dtype = choose(torch.float32, torch.float64)
    problem = ws.ModuleProblem(net, criterion, (inputs, targets), dtype=dtype, metrics=metrics, batch_size=None)
    return problem, {"activation": activation, "loss": loss, "depth": depth}


def drawn(number: int, seed: int) -> tuple[ws.ModuleProblem, ws.WeightString, dict[str, Any]]:
    """One of the problems with a string, and what was chosen."""
    problem, chosen = problem_of(number % PROBLEMS, seed)
    draw = torch.Generator().manual_seed(2_000_003 * seed + 7_919 * number + 1)
    choose = chooser(draw)
    spread, scale, beads = choose(0.03, 0.3, 1.0), choose(0.3, 1.0, 3.0), choose(2, 2, 3)
    centre = torch.randn(problem.size, generator=draw)
    models = [scale * (centre + spread * torch.randn(problem.size, generator=draw)) for _ in range(beads)]
    quantity = choose("loss", "loss", "loss", *problem.quantities)
    string = ws.WeightString(problem, torch.stack(models).to(problem.dtype))
    return problem, string, {**chosen, "spread": spread, "quantity": quantity}


def in_float64(problem: ws.ModuleProblem, thetas: Tensor, quantity: str) -> Tensor:
    """A quantity of models (T, P), computed in float64 by the module itself."""
    net, criterion, examples, _ = problem.traceable(quantity)
    net = net.double()
    data = [x.double() if x.is_floating_point() else x for x in (*examples.leaves, examples.targets)]

    def value(theta: Tensor) -> Tensor:
        return criterion(torch.func.functional_call(net, problem.layout.views(theta), (data[0],)), data[1])

    return torch.func.vmap(value)(thetas)


def check(number: int, seed: int) -> dict[str, Any]:
    """A certificate, and what speaks against it."""
    problem, string, chosen = drawn(number, seed)
    draw = torch.Generator().manual_seed(number)
    quantity = chosen["quantity"]
    highest = float(problem.measure(string.beads, [quantity])[quantity].max())
    tolerance = float(10 ** (-3 + 2 * torch.rand((), generator=draw)))
    # Bounds are foreseen only where no budget may end the proof.
    limit = 100 if number // PROBLEMS % 2 else math.inf
    tolerance = max(tolerance, 0.0 if limit < math.inf else 0.02)
    threshold = highest * (1 + tolerance) + 1e-6 if number // PROBLEMS % 3 == 0 else None
    certificate = ws.certify(problem, string, threshold, tol=tolerance, quantity=quantity, max_intervals=limit)
    shares = torch.cat([torch.linspace(0, 1, PLACES - 8), torch.rand(8, generator=draw)]).double()
    worst = -float("inf")
    for piece in certificate.partition:
        ts = (piece.low + (piece.high - piece.low) * shares).unsqueeze(1)
        a, b = (string[piece.segment + k].double() for k in (0, 1))
        values = in_float64(problem, (1 - ts) * a + ts * b, quantity)
        worst = max(worst, float(((values - piece.bound) / (1 + values.abs())).max()))
    again = (
        ws.verify(problem, string, certificate).ok
        if number // PROBLEMS % 4 == 0 and certificate.holds is not False
        else None
    )
    return {
        "seed": seed, "number": number, **chosen, "intervals": certificate.intervals, "above": worst,
        "false": worst > ROUNDING, "verified": again,
    }  # fmt: skip


def main() -> None:
    """Draw until there are enough, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=2400.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soundness_refining.jsonl"))
    parser.add_argument("--summary", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    refining.MANY, refining.STEP = 20, 5
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    started = time.process_time()
    with options.out.open("a") as file:
        for number in range(len(rows), options.draws):
            rows.append(check(number, options.seed))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            if time.process_time() - started > options.seconds:
                break
    verified = Counter(row["verified"] for row in rows)
    summary = {
        "seed": options.seed,
        "certificates": len(rows),
        "intervals": sum(row["intervals"] for row in rows),
        "samples": PLACES * sum(row["intervals"] for row in rows),
        "false": sum(row["false"] for row in rows),
        "verified again": verified[True],
        "not verified": verified[False],
        "nearest sample to its bound": max(row["above"] for row in rows),
    }
    print(json.dumps(summary, indent=1))
    if options.summary:
        options.summary.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
