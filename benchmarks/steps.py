"""A gradient step of 1 to 256 models: what it takes by each engine, beside its products alone and PyTorch's own loop.

    python -m benchmarks steps [--net polynomial|digits|mnist]

A step is minibatch, loss, gradient and optimizer (SGD with momentum, the average of the iterates kept), 20 at a time
as a descent takes them between two measurements. ``products`` are its matrix products alone, of each model one after
the other by torch.mm into memory that is there; ``limit`` is the same operations at the rate of a large product.
``overhead`` is a step on one example, of which a vector's lanes are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from benchmarks.measuring import alternating, asked, keep, parser, peak
from weightstring.descent import Descents, Start
from weightstring.problem import ModuleProblem
from weightstring.recipe import Recipe
from weightstring.tasks.networks import mlp

WIDTHS = {"polynomial": [1, 4, 4, 1], "digits": [64, 64, 64, 10], "mnist": [784, 256, 128, 10]}
EXAMPLES, BATCH, STEPS = 1024, 128, 20
COUNTS = (1, 4, 16, 64, 256)
RECIPE = Recipe("sgd", {"lr": 1e-3, "momentum": 0.9}, check_every=STEPS, patience=10**9, max_steps=10**9, average=0.9)


def problem_of(name: str, batch: int) -> ModuleProblem:
    """Random examples: what a step takes does not depend on them."""
    widths, draw = WIDTHS[name], torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, widths[0], generator=draw)
    if widths[-1] == 1:
        return ModuleProblem(mlp(widths), nn.MSELoss(), (inputs, inputs.square()), batch_size=batch)
    classes = torch.randint(widths[-1], (EXAMPLES,), generator=draw)
    return ModuleProblem(mlp(widths), nn.CrossEntropyLoss(), (inputs, classes), batch_size=batch)


def library(name: str, engine: str, models: int, batch: int = BATCH) -> Callable[[], None]:
    """The steps between two measurements of ``models`` beads; the measurements are left out."""
    problem = problem_of(name, batch)
    problem.use_engine(engine)
    descents = Descents(problem, lambda thetas: torch.ones(len(thetas)).double(), seed=0, recipe=RECIPE, width=models)
    for model in range(models):
        descents.add(Start(problem.initial(model), 0.0, 0.0, f"bead {model}"), model)
    return descents.advance  # type: ignore[return-value]


def plain(name: str) -> Callable[[], None]:
    """The same steps of one model as a training loop takes them."""
    problem = problem_of(name, BATCH)
    (train, loss_fn), net = problem.fitted(), mlp(WIDTHS[name])
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    inputs, targets = train.inputs, train.targets

    def run() -> None:
        for _ in range(STEPS):
            rows = torch.randint(EXAMPLES, (BATCH,))
            optimizer.zero_grad()
            loss_fn(net(inputs[rows]), targets[rows]).backward()
            optimizer.step()

    return run


def products(name: str, models: int) -> Callable[[], None]:
    """The matrix products of the same steps: forward, weights' gradients, and activations' but the inputs'."""
    calls = []
    for layer, (inputs, outputs) in enumerate(zip(WIDTHS[name], WIDTHS[name][1:], strict=False)):
        weight, hidden, slopes = torch.randn(outputs, inputs), torch.randn(BATCH, inputs), torch.randn(BATCH, outputs)
        calls += [(hidden, weight.T, torch.empty(BATCH, outputs)), (slopes.T, hidden, torch.empty(outputs, inputs))]
        calls += [(slopes, weight, torch.empty(BATCH, inputs))] if layer else []

    def run() -> None:
        for _ in range(STEPS * models):
            for left, right, out in calls:
                torch.mm(left, right, out=out)

    return run


def operations(name: str) -> int:
    """Of the products of one step of one model."""
    sizes = [inputs * outputs for inputs, outputs in zip(WIDTHS[name], WIDTHS[name][1:], strict=False)]
    return 2 * BATCH * (3 * sum(sizes) - sizes[0])


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--net", choices=list(WIDTHS), action="append")
    chosen = asked(options, arguments)
    counts = COUNTS[::2] if chosen.quick else COUNTS
    rate, found = peak(), {}
    for name in chosen.net or WIDTHS:
        for models in counts if name != "mnist" else [count for count in counts if count <= 16]:
            engines = ("native", "stack", "loop") if models <= 16 else ("native", "stack")
            sides = {engine: library(name, engine, models) for engine in engines}
            sides |= {"products": products(name, models), "overhead": library(name, "native", models, batch=1)}
            sides |= {"plain": plain(name)} if models == 1 else {}
            row = {side: round(1e6 * cost.cpu / STEPS, 1) for side, cost in alternating(sides).items()}
            row["limit"] = round(1e6 * models * operations(name) / rate, 1)
            found[f"{name}, {models} models"] = row
            print(name, models, row, flush=True)
    keep("steps", {"CPU microseconds a step of all models": found}, chosen.quick)
