"""What is done with GPT-2 layouts, phase by phase, between checkpoints that are made once."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import weightstring as ws
from benchmarks import plain
from benchmarks.gpt2 import EXAMPLES, GPT2, SIZES, Size, data, initialise, loss, net_of
from benchmarks.memory import Peak, anonymous
from weightstring.protocol import Gradient
from weightstring.store.beads import read_beads, write_beads

GRID = 33
"""Points on each segment that a plain loop looks at."""
NOISE = 1e-3
"""Of the copy that a straight line reaches, relative to each parameter's own size."""


class Counted(ws.ModuleProblem):
    """A problem that counts its gradients and products with the Hessian."""

    gradients = products = 0

    def gradient(self, thetas: Tensor, rows: Tensor | None) -> Gradient:
        """As its parent does."""
        self.gradients += len(thetas)
        return super().gradient(thetas, rows)

    def hessian_products(self, theta: Tensor, vectors: Tensor, rows: Tensor | None) -> Tensor:
        """As its parent does."""
        self.products += len(vectors)
        return super().hessian_products(theta, vectors, rows)


def problem_of(net: nn.Module, size: Size, **recipe: int) -> Counted:
    options = ws.Recipe("adam", {"lr": 1e-3}, **{"check_every": 2, **recipe})
    return Counted(net, loss, data(size), batch_size=EXAMPLES, recipe=options, engine="loop")


def prepare(name: str, folder: Path) -> None:
    """The models of a size: two trained a little on their own, a neighbour of the first; and the losses of the line."""
    size, net = SIZES[name], net_of(SIZES[name])
    until, ends = math.log(size.vocabulary) - 1, []
    for seed in (0, 1):
        torch.manual_seed(seed)
        initialise(net)
        plain.descended(net, loss, data(size), until, 100)
        ends.append(nn.utils.parameters_to_vector(net.parameters()).detach())
        write_beads(folder / f"{'ab'[seed]}.safetensors", [ends[-1]])
    heights = plain.walked(net, loss, data(size), *ends, [0.0, 0.25, 0.5, 0.75, 1.0])
    (folder / "line.json").write_text(json.dumps(heights))
    noise = torch.randn(len(ends[0]), generator=torch.Generator().manual_seed(2))
    write_beads(folder / "near.safetensors", [noise.mul_(NOISE).mul_(ends[0].abs()).add_(ends[0])])


class Case:
    """What a phase begins with, and what it has taken.

    Args:
        size: of the net.
        net: the user's.
        folder: where the ends lie.
    """

    def __init__(self, size: Size, net: nn.Module, folder: Path) -> None:
        self.size, self.net, self.folder = size, net, folder
        self.built: Counted | None = None
        self.peak, self.started, self.building = Peak(), time.process_time(), 0.0

    def end(self, name: str) -> Tensor:
        """An end, mapped."""
        return read_beads(self.folder / f"{name}.safetensors")[0]

    @property
    def line(self) -> list[float]:
        """Losses at quarters of the line between the two trained models."""
        return json.loads((self.folder / "line.json").read_text())

    def run(self, name: str) -> Path:
        """A run directory, emptied."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def problem(self, **recipe: int) -> Counted:
        """The loss of the net; what building it takes is measured by itself."""
        self.built = problem_of(self.net, self.size, **recipe)
        self.building = time.process_time() - self.started
        self.peak.bytes, self.started, GPT2.evaluated = 0, time.process_time(), 0
        return self.built


Told = dict[str, object]
"""What a phase says of itself."""


def problem(case: Case) -> Told:
    """What a problem holds, and while it was built."""
    found = problem_of(case.net, case.size)
    return {"parameters": found.size, "held": anonymous()}


def trial(case: Case) -> Told:
    """The engines tried beside one another, as ``engine="auto"`` does."""
    found = case.problem()
    found.use_engine("auto")
    return {"engine": found.engine_choice().name}


def line(case: Case) -> Told:
    """A pair that connects by the straight line."""
    a, b, found = case.end("a"), case.end("near"), case.problem()
    return _told(ws.connect(found, a, b, 1.01 * case.line[0], store=case.run("line"), disprove=False))


def bead(case: Case) -> Told:
    """A pair whose line is over the threshold, and that a bead or a few connect."""
    ends, top = max(case.line[0], case.line[-1]), max(case.line)
    a, b, found = case.end("a"), case.end("b"), case.problem()
    return _told(ws.connect(found, a, b, top - 0.2 * (top - ends), store=case.run("bead"), disprove=False))


def stuck(case: Case) -> Told:
    """A pair that cannot be connected, since its descents hardly move."""
    threshold, strategy = 1.0001 * max(case.line[0], case.line[-1]), ws.Greedy(retries=1)
    still = ws.Recipe("sgd", {"lr": 1e-12}, check_every=1, max_steps=1)
    a, b, found, out = case.end("a"), case.end("b"), case.problem(), case.run("stuck")
    told = _told(ws.connect(found, a, b, threshold, strategy=strategy, recipe=still, store=out, disprove=False))
    ws.write_report(out)
    return told


def _told(result: ws.Result) -> Told:
    most = max((each.descents for each in result.history), default=0)
    reason = getattr(result.outcome, "reason", "connected")
    told: Told = {"outcome": reason, "in flight": most, "beads": len(result.string)}
    # Of a string that was found each bead between the ends came of a segment that was looked at before its halves.
    return told | ({"grid": GRID * (2 * len(result.string) - 3)} if result.connected else {})


def align(case: Case) -> Told:
    a, b, found = case.end("a"), case.end("b"), case.problem()
    aligned = ws.align(found, a, b)
    return {"outcome": aligned.chosen.method}


def merge(case: Case) -> Told:
    found = case.problem()
    ws.merge(found, ws.load(case.folder / "bead", problem=found).string)
    return {}


def report(case: Case) -> Told:
    ws.write_report(case.folder / "bead")
    return {}


def reading_back(case: Case) -> Told:
    return {"outcome": f"length {ws.load(case.folder / 'bead').string.normalized_length:.4f}"}


PHASES: dict[str, Callable[[Case], Told]] = {
    "problem": problem,
    "trial": trial,
    "connect, line": line,
    "connect, bead": bead,
    "connect, stuck": stuck,
    "align": align,
    "merge": merge,
    "report": report,
    "reading back": reading_back,
}
