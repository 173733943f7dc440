"""Memory and time of each phase on GPT-2 layouts of a given size, beside a plain loop that does the same.

    python -m benchmarks scale 1M 10M 30M          # what results/scale.json lacks; --again measures anew
    python -m benchmarks scale 10M --phases "align,,connect, stuck"

Linux only. Every phase runs in a process of its own, on one thread. Its peak is of anonymous memory (RssAnon, every
2 ms), beyond what there was when it began: the user's net, the data and the two ends, whose files are mapped. What is
counted is the whole phase, its problem included. MALLOC_MMAP_THRESHOLD_ gives freed memory back to the system at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from benchmarks import plain
from benchmarks.measuring import HERE, RESULTS, asked, machine, parser
from benchmarks.memory import Peak, anonymous
from weightstring.protocol import Gradient
from weightstring.store.beads import read_beads, write_beads

NOTES = [
    "Each phase runs in a process of its own. Its peak counts what its problem holds (two copies: the problem's own "
    "module and the one that computes), beads in flight and activations; of `problem` itself, the peak while it is "
    "built. Some 25 MB are there at any size.",
    "Plain is a loop (benchmarks/plain.py) over as many evaluations, gradient steps and products with the Hessian, all "
    "these by one graph, without a search, checks or a record; an alignment's plain loop has its evaluations, but no "
    "matching. CPU seconds are those of the phase; building is that of its problem, once for all that is done with it. "
    "Both sides by turns, medians. `stuck` writes its page too. An evaluation is of 4 sequences of 32 tokens, so that "
    "all that takes time with the parameters shows.",
]
EXAMPLES, TOKENS = 4, 32
NOISE = 1e-3
"""Of the copy that a straight line reaches, relative to each parameter's own size."""


class Size(NamedTuple):
    """Width, layers, heads and vocabulary."""

    width: int
    layers: int
    heads: int
    vocabulary: int
    context: int = 64


SIZES = {
    "1M": Size(128, 4, 4, 2048),
    "10M": Size(384, 5, 6, 2048),
    "30M": Size(512, 8, 8, 8192),
    "125M": Size(768, 12, 12, 50257, 1024),
    "350M": Size(1024, 24, 16, 50257, 1024),
}


class Block(nn.Module):
    """Attention and a hidden layer, each after a LayerNorm and added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attention, self.projection = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) → the same."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attention(self.ln_1(x)).split(width, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    """The layout of GPT-2, output weights tied to the embedding."""

    evaluated = 0

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(size.vocabulary, size.width), nn.Embedding(size.context, size.width)
        self.h = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.ln_f = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) → logits (B, T, vocabulary); sequences that are only evaluated are counted."""
        GPT2.evaluated += 0 if torch.is_grad_enabled() else len(tokens)
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return self.head(self.ln_f(x))


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """The mean over all tokens."""
    return functional.cross_entropy(output.flatten(0, 1), targets.flatten())


def initialise(net: nn.Module) -> None:
    """GPT-2's: normal with 0.02, biases 0."""
    for name, parameter in net.named_parameters():
        if "ln_" not in name:
            nn.init.zeros_(parameter) if parameter.ndim == 1 else nn.init.normal_(parameter, std=0.02)


def data(size: Size) -> tuple[Tensor, Tensor]:
    """Random tokens, each sequence's next ones as targets."""
    tokens = torch.randint(size.vocabulary, (EXAMPLES, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def net_of(size: Size) -> GPT2:
    torch.manual_seed(0)
    net = GPT2(size)
    initialise(net)
    return net


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
    return {"outcome": reason, "in flight": most, "beads": len(result.string)}


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


def measured(name: str, phase: str, folder: Path) -> Told:
    """One phase in this process."""
    torch.set_num_threads(1)
    warm_up()
    size = SIZES[name]
    net = net_of(size)
    theta = 4 * sum(parameter.numel() for parameter in net.parameters())
    case, before = Case(size, net, folder), anonymous()
    with case.peak:
        told = PHASES[phase](case)
    seconds = time.process_time() - case.started
    row = {"size": name, "phase": phase, "copies of θ": round((case.peak.bytes - before) / theta, 2)}
    if "held" in told:
        told["held"] = round((int(str(told["held"])) - before) / theta, 2)
    row |= {"MB": (case.peak.bytes - before) >> 20, "CPU seconds": round(seconds, 2)}
    if case.built is not None:
        row |= {"building": round(case.building, 2), "evaluations": round(GPT2.evaluated / EXAMPLES)}
        row |= {"gradients": case.built.gradients, "products": case.built.products}
    return {**row, **told}


def warm_up() -> None:
    """What is imported and allocated once is no part of a phase."""
    size = Size(8, 1, 1, 16)
    small = problem_of(net_of(size), size)
    a, b = small.initial(0), small.initial(1)
    with tempfile.TemporaryDirectory() as folder:
        ws.connect(small, a, b, 100.0, store=Path(folder) / "run")
        ws.write_report(Path(folder) / "run")
        ws.merge(small, ws.load(Path(folder) / "run", problem=small).string)
    ws.align(small, a, b)


def compared(name: str, row: Told, folder: Path) -> Told:
    """CPU seconds of plain PyTorch for as many evaluations, gradient steps and products with the Hessian."""
    size, net = SIZES[name], net_of(SIZES[name])
    a, b = (read_beads(folder / f"{end}.safetensors")[0] for end in "ab")
    models, steps, products = (int(str(row[each])) for each in ("evaluations", "gradients", "products"))
    torch.set_num_threads(1)
    started = time.process_time()
    plain.walked(net, loss, data(size), a, b, [i / models for i in range(models)])
    if steps:
        plain.descended(net, loss, data(size), -math.inf, steps)
    if products:
        plain.multiplied(net, loss, data(size), products)
    return {"plain CPU seconds": round(time.process_time() - started, 2)}


def main(arguments: Sequence[str]) -> None:
    options = parser(__doc__)
    options.add_argument("sizes", nargs="*", choices=[*SIZES, []], default=["1M"])
    options.add_argument("--phases", default=",,".join(PHASES), help="separated by two commas")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "weightstring-scale")
    options.add_argument("--repeats", type=int, default=1, help="of each phase and its plain loop, by turns")
    options.add_argument("--again", action="store_true", help="measure what was measured before, too")
    options.add_argument("--one", choices=["prepare", "phase", "plain"], help=argparse.SUPPRESS)
    options.add_argument("--row", default="{}", help=argparse.SUPPRESS)
    chosen = asked(options, arguments)
    phases, name = chosen.phases.split(",,"), chosen.sizes[0]
    folder = chosen.folder / name
    if chosen.one == "prepare":
        return prepare(name, folder)
    if chosen.one:
        row = json.loads(chosen.row)
        print(json.dumps(measured(name, phases[0], folder) if chosen.one == "phase" else compared(name, row, folder)))
        return None
    for name in [] if chosen.quick else chosen.sizes:
        rows(name, phases, chosen.folder / name, chosen.again, chosen.repeats)
    if chosen.quick:
        folder = chosen.folder / "1M"
        prepared("1M", folder)
        for phase in phases[:2]:
            print(_in_process("1M", folder, "--one", "phase", "--phases", phase))
    return None


def prepared(name: str, folder: Path) -> None:
    """The checkpoints of a size, made by a process of their own."""
    if not (folder / "near.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _in_process(name, folder, "--one", "prepare")


def by_turns(name: str, phase: str, folder: Path, repeats: int) -> Told:
    """A phase and its plain loop, each time in processes of their own: medians of seconds, the most of memory."""
    found: list[Told] = []
    for _ in range(repeats):
        row = json.loads(_in_process(name, folder, "--one", "phase", "--phases", phase))
        if row.get("evaluations") and row.get("phase") != "trial":
            row |= json.loads(_in_process(name, folder, "--one", "plain", "--row", json.dumps(row)))
        found.append(row)
    row = dict(found[0])
    for column in ("CPU seconds", "building", "plain CPU seconds"):
        if column in row:
            row[column] = round(statistics.median(float(str(each[column])) for each in found), 2)
    for column in ("copies of θ", "MB"):
        row[column] = max(each[column] for each in found)
    if "plain CPU seconds" in row:
        ours, building, alone = (float(str(row[each])) for each in ("CPU seconds", "building", "plain CPU seconds"))
        row |= {"times plain": round(ours / alone, 2), "with building": round((ours + building) / alone, 2)}
    return row


def rows(name: str, phases: Sequence[str], folder: Path, again: bool, repeats: int) -> None:
    """Measure the phases of a size, each in a process of its own, and keep each row at once."""
    prepared(name, folder)
    for phase in phases:
        known = kept()
        if not again and any((row["size"], row["phase"]) == (name, phase) for row in known):
            continue
        row, known = by_turns(name, phase, folder, repeats), kept()
        others = [each for each in known if (each["size"], each["phase"]) != (name, phase)]
        order = {key: i for i, key in enumerate((size, each) for size in SIZES for each in PHASES)}
        found = sorted([*others, row], key=lambda each: order[each["size"], each["phase"]])
        columns = dict.fromkeys(column for each in found for column in each)
        found = [{column: each.get(column, "") for column in columns} for each in found]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "scale.json").write_text(
            json.dumps({"machine": machine(), "notes": NOTES, "rows": found}, indent=1, ensure_ascii=False) + "\n"
        )
        print(json.dumps(row, ensure_ascii=False), flush=True)


def kept() -> list[dict[str, str]]:
    path = RESULTS / "scale.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _in_process(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", "scale", name, "--folder", str(folder.parent), *arguments]
    surroundings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=HERE.parent, env=surroundings, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
