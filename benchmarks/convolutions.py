"""Convolutional networks by each engine: 128 images measured, and the gradient of one minibatch.

    python -m benchmarks convolutions [--net small-cnn|mnist-cnn|cifar-cnn|resnet8|vgg11]

One model, random images. `limit` are the operations, windows that reach over the border counted whole, at the rate
that a large product had just before: `native` leaves the border out, so that it is no lower bound. `loop` is PyTorch as
it is, `channels-last` PyTorch with weights in that memory format, `native` our code, which knows no BatchNorm. The
paper's network for MNIST goes without its dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.measuring import alternating, asked, keep, parser, peak
from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.problem.engines.threads import BACKWARD
from weightstring.tasks import cifar_networks, networks

IMAGES = 128
ENGINES = ("loop", "channels-last", "native")
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "small-cnn": (networks.small_cnn, (1, 28, 28)),
    "mnist-cnn": (lambda: undrawn(networks.cnn()), (1, 28, 28)),
    "cifar-cnn": (lambda: cifar_networks.cnn(10), (3, 32, 32)),
    "resnet8": (lambda: cifar_networks.resnet(10, 1), (3, 32, 32)),
    "vgg11": (lambda: cifar_networks.vgg(10), (3, 32, 32)),
}


def undrawn(net: nn.Sequential) -> nn.Sequential:
    """The network without dropout."""
    return nn.Sequential(*(layer for layer in net if not isinstance(layer, nn.Dropout)))


def problem_of(name: str) -> ModuleProblem:
    """A network of one seed on random images; running statistics are the network's own."""
    torch.manual_seed(0)
    build, shape = NETS[name]
    inputs, classes = torch.randn(IMAGES, *shape), torch.arange(IMAGES) % 10
    net = build()
    return ModuleProblem(net, nn.CrossEntropyLoss(), (inputs, classes), batch_size=IMAGES, buffers="frozen")


def sides(name: str) -> dict[str, tuple[ModuleProblem, Callable[[], object], Callable[[], object]]]:
    """Each engine that runs the network: its problem, what measures it, and what takes a gradient."""
    found = {}
    for engine in ENGINES:
        problem = problem_of(name)
        try:
            problem.use_engine(engine)
        except InvalidModel as refused:
            print(name, refused)
            continue
        theta, rows = problem.initial(0)[None], torch.arange(IMAGES)[None]
        found[engine] = problem, partial(problem.measure, theta), partial(problem.gradient, theta, rows)
    return found


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("--net", choices=list(NETS), action="append")
    chosen = asked(options, arguments)
    rate, rows = peak(), []
    for name in chosen.net or (["small-cnn"] if chosen.quick else NETS):
        tried = sides(name)
        limit = IMAGES * tried["loop"][0].engine_choice().flops / rate
        for work, place, passes in (("measured", 1, 1), ("gradient", 2, BACKWARD)):
            costs = alternating({engine: calls[place] for engine, calls in tried.items()})
            own = {engine: f"{1e3 * cost.cpu:.1f}" for engine, cost in costs.items()}
            rows.append({"network": name, "work": work, **own, "limit": f"{1e3 * passes * limit:.1f}"})
            print(rows[-1], flush=True)
    keep("convolutions", {"CPU milliseconds of 128 images": rows}, chosen.quick)
