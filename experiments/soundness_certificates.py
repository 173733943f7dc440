"""A search for a certificate that is wrong: bounds of both implementations beside values in extended precision.

python experiments/soundness_certificates.py [--checks 1000000] [--seconds 2400] [--out FILE.jsonl]

Each draw is a network, a loss, data and two models, of ordinary or extreme scale (1e±150, subnormal numbers, zeros,
powers of two, near ties) and dtype. On some intervals of the segment between the models, every output at some places
must lie in its enclosure, and the mean loss must not exceed the bounds that ``proof.enclose`` and ``proof.verify``
give, nor, where the network is plain, those of compiled code in float32 and in float64. The values are computed in
80-bit floating point, whose rounding is 2048 times smaller than float64's, which bounds allow for several times over,
and whose exponents reach 1e±4932; so nothing is allowed for the comparison. Of fully connected networks some outputs
are computed with 60 digits as well. A draw is a function of (seed, number), one JSON line each; what is there is not
drawn again. The summary is kept as ``results/soundness_certificates.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import torch
from soundness_cases import CASES
from soundness_draws import EXAMPLES, INTERVALS, Draw, drawn
from soundness_losses import LOSSES
from soundness_networks import CHUNK, CHUNKS, Case, Long, exact_outputs, module_of, values_of
from torch import nn

from weightstring.errors import InvalidSetting, Unsupported
from weightstring.problem.capabilities import Recalibration
from weightstring.problem.datasets.data import Examples
from weightstring.problem.flat import Layout
from weightstring.problem.losses.means import Criterion
from weightstring.problem.module import ModuleProblem
from weightstring.problem.trace_inputs import TraceInputs
from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.exponential import raised
from weightstring.proof.enclose.native.compiled import Compiled
from weightstring.proof.enclose.native.plain import plain
from weightstring.proof.enclose.rules import GROUPED, RULES, SMOOTH
from weightstring.proof.verify.calibrating import Calibration
from weightstring.proof.verify.marks import name_of
from weightstring.proof.verify.of_data import Made
from weightstring.proof.verify.operations import OPERATIONS, NotVerifiable
from weightstring.proof.verify.replay import Replay
from weightstring.proof.verify.tracing import calls_of
from weightstring.tracing.program import trace_mean

PLACES = 17
COMPILED = ((torch.float32, 0), (torch.float64, 0), (torch.float64, 1), (torch.float64, 8), (torch.float64, 16))
"""Arithmetic and generators of compiled bounds; a single generator soon leaves the rest to the radius."""

RESULTS = Path(__file__).parent / "results" / "soundness_certificates.json"


class Given(ModuleProblem):
    """Of a problem, what verification asks of it."""

    def __init__(self, net: nn.Module, criterion: Criterion, examples: Examples) -> None:
        self._given = TraceInputs(net, criterion, examples, EXAMPLES)
        self._layout = Layout.of(net)

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""
        return self._layout

    # What a problem must have beside, or it is not asked how running statistics come from θ.
    quantities, evaluation = ("loss",), "evaluate"
    size = dtype = device = recipe = batch_size = train_size = None  # type: ignore[assignment]

    def traceable(self, quantity: str) -> TraceInputs:
        """What it was given."""
        return self._given

    def recalibration(self, quantity: str) -> Recalibration | None:
        """How running statistics come from θ, on inputs that are exchanged."""
        net, examples = self._given.module, self._given.examples
        names = running(net)
        return Recalibration(self._given, net, examples, CHUNK, names) if names else None


def running(net: nn.Module) -> frozenset[str]:
    """Names of running statistics."""
    return frozenset(name for name, _ in net.named_buffers() if name.rpartition(".")[2].startswith("running_"))


class Traced:
    """A network traced once for both implementations, whose data and models are exchanged."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = nn.Sequential(*map(module_of, case.layers)).double().eval()
        self.measured = LOSSES[case.loss]
        self.layout = Layout.of(self.net)
        generator = np.random.default_rng(0)
        draw, _ = drawn(case, self.layout.size, self.measured.targets, generator)
        self.examples = Examples((draw.inputs,), draw.targets, None)
        self.replay = Replay(Given(self.net, self.measured.torch, self.examples), "loss")
        self.degree = 1
        try:
            names = running(self.net)
            sizes = {EXAMPLES, *(high - low for low, high in pairwise(CHUNKS))} if names else {EXAMPLES}
            self.program = trace_mean(self.net, self.measured.torch, self.examples, sizes, names)
            self.outputs = trace_mean(self.net, lambda output, _: output, self.examples, sizes, names)
            self.degree = 2 if any(step.op in SMOOTH | GROUPED for step in self.program.steps) else 1
            self.enclosing(self.program, draw, self.examples).rehearse()
        except (Unsupported, InvalidSetting):
            self.program = None  # certify has no rule for it

    def again(self, draw: Draw, examples: Examples) -> np.ndarray:
        """What verification bounds the loss by on each interval: the least, without generators or by some."""
        course = self.replay._course
        made = Made(course.programs, course.blocks, examples, course.made._along, course.dtype)
        self.replay._examples, self.replay._course = examples, replace(course, examples=examples, made=made)
        if (estimated := self.replay._estimated) is not None:
            training = estimated._replace(examples=Examples((draw.training,), draw.targets, None))
            self.replay._calibration = Calibration(training, self.replay._course, course.made._along)
        a, b = draw.beads.numpy()
        edges = zip(draw.intervals.low.tolist(), draw.intervals.high.tolist(), strict=True)
        return np.array([self._bound(a, b, *edge) for edge in edges])

    def _bound(self, a: np.ndarray, b: np.ndarray, low: float, high: float) -> float:
        ways = (0, 1, self.replay.generators) if self.replay.generators else (0,)
        try:
            return min(self.replay.bound(a, b, low, high, generators) for generators in ways)
        except NotVerifiable:  # which says nothing of the loss
            return math.inf

    def enclosing(self, program: Any, draw: Draw, examples: Examples) -> Enclosing:
        """Enclosures of a program for a draw."""
        training = (Examples((draw.training,), draw.targets, None), CHUNKS) if program.statistics else None
        return Enclosing(program, draw.beads, self.layout, examples, [0, EXAMPLES], self.degree, 1 << 28, training)

    @property
    def operators(self) -> dict[str, list[str]]:
        """By whose rules it is bounded: those of both implementations."""
        traced = (node for each in self.replay._programs.values() for node in calls_of(each))
        steps = () if self.program is None else self.program.steps
        own = {step.op for step in steps if step.name not in self.program.of_data} & set(RULES)
        return {
            "certified by": sorted(own),
            "verified by": sorted({name_of(node) for node in traced} & set(OPERATIONS)),
        }


def check(traced: Traced, draw: Draw, generator: np.random.Generator) -> dict[str, int]:
    """Comparisons made and contradictions met."""
    case, intervals = traced.case, draw.intervals
    examples = Examples((draw.inputs,), draw.targets, None)
    sigmas = np.concatenate([[-1.0, 0.0, 1.0], generator.uniform(-1, 1, PLACES - 3)]).astype(Long)
    low, high = (edge.numpy().astype(Long) for edge in (intervals.low, intervals.high))
    ts = ((low + high)[:, None] + (high - low)[:, None] * sigmas) / 2
    first, last = draw.beads.numpy().astype(Long)
    thetas = (first * (1 - ts.reshape(-1, 1)) + last * ts.reshape(-1, 1)).reshape(-1, len(first))
    outputs = values_of(case, thetas, *(part.numpy().astype(Long) for part in (draw.inputs, draw.training)))
    targets = draw.targets.numpy()
    losses = traced.measured.exact(outputs, targets if targets.dtype.kind == "i" else targets.astype(Long))
    outputs, losses = outputs.reshape(INTERVALS, PLACES, *outputs.shape[1:]), losses.reshape(INTERVALS, PLACES)

    counts = _of_certify(traced, draw, examples, (sigmas, outputs, losses), generator)
    again = traced.again(draw, examples)
    return {
        "outputs": INTERVALS * PLACES * EXAMPLES,
        "losses": 2 * INTERVALS * PLACES,
        "wrong verified": int((losses > again.astype(Long)[:, None]).sum()),
        "finite verified": int(np.isfinite(again).sum()),
        **counts,
    }


def _of_certify(
    traced: Traced, draw: Draw, examples: Examples, values: tuple[np.ndarray, ...], generator: np.random.Generator
) -> dict[str, int]:
    """Of the enclosures, the bounds that are made of them, and those of compiled code."""
    if traced.program is None:
        return {"outputs": 0, "losses": INTERVALS * PLACES}
    intervals, (sigmas, outputs, losses) = draw.intervals, values
    found = traced.enclosing(traced.outputs, draw, examples).outputs(intervals)
    nodes = [node.numpy().astype(Long)[:, None] for node in found.nodes]
    at = sigmas.reshape(-1, *(1,) * (outputs.ndim - 2))
    if len(nodes) == 2:
        centre = nodes[0] * (1 - at) / 2 + nodes[1] * (1 + at) / 2
    else:
        centre = nodes[0] * at * (at - 1) / 2 + nodes[1] * (1 - at**2) + nodes[2] * at * (at + 1) / 2
    excess = np.abs(outputs - centre) > found.radius.numpy().astype(Long)[:, None]
    with mpmath.workdps(60):
        exact = list(_held_to_digits(traced.case, draw, found, generator))
    enclosing = traced.enclosing(traced.program, draw, examples)
    mean = enclosing.bounds(intervals)
    bounds = (raised(mean) if traced.program.exponential else mean).numpy()
    network = None if traced.program.exponential else plain(enclosing)
    compiled = [
        Compiled(enclosing, network, dtype, generators).bounds(intervals).numpy()
        for dtype, generators in COMPILED
        if network is not None
    ]
    return {
        "wrong outputs": int(excess.any(-1).sum()),
        "outputs with 60 digits": len(exact),
        "wrong with 60 digits": exact.count(False),
        "losses under compiled bounds": len(compiled) * INTERVALS * PLACES,
        "wrong certified": int((losses > bounds.astype(Long)[:, None]).sum()),
        "wrong compiled": sum(int((losses > each.astype(Long)[:, None]).sum()) for each in compiled),
        "finite compiled": sum(int(np.isfinite(each).sum()) for each in compiled),
        "finite certified": int(np.isfinite(bounds).sum()),
    }


def _held_to_digits(case: Case, draw: Draw, found: Any, generator: np.random.Generator) -> Iterator[bool]:
    """Whether one output in each interval lies in its enclosure, in arithmetic of 60 digits."""
    for i in range(INTERVALS):
        row, sigma = int(generator.integers(EXAMPLES)), mpmath.mpf(float(generator.uniform(-1, 1)))
        low, high = (mpmath.mpf(float(edge[i])) for edge in (draw.intervals.low, draw.intervals.high))
        t = (low + high + (high - low) * sigma) / 2
        theta = [mpmath.mpf(a) * (1 - t) + mpmath.mpf(b) * t for a, b in zip(*draw.beads.tolist(), strict=True)]
        outputs = exact_outputs(case, theta, [mpmath.mpf(v) for v in draw.inputs[row].flatten().tolist()])
        if outputs is None or not bool(found.size[i].isfinite()):
            continue
        for k, value in enumerate(outputs):
            p = [mpmath.mpf(float(node[i, row, k])) for node in found.nodes]
            if len(p) == 2:
                centre = p[0] * (1 - sigma) / 2 + p[1] * (1 + sigma) / 2
            else:
                centre = p[0] * sigma * (sigma - 1) / 2 + p[1] * (1 - sigma**2) + p[2] * sigma * (sigma + 1) / 2
            yield bool(abs(value - centre) <= mpmath.mpf(float(found.radius[i, row, k])))


def campaign(seed: int, done: set[int], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Draws of some cases, each a function of (seed, number), that are not done yet."""
    traced: dict[str, Traced] = {}
    number = 0
    while True:
        if number not in done:
            generator = np.random.default_rng([seed, number])
            name = names[number % len(names)]
            if name not in traced:
                traced[name] = Traced(CASES[name])
            mine = traced[name]
            draw, how = drawn(mine.case, mine.layout.size, mine.measured.targets, generator)
            with np.errstate(all="ignore"):
                found = check(mine, draw, generator)
                yield {"seed": seed, "number": number, "case": name, **how, **found, **mine.operators}
        number += 1


def main() -> None:
    """Draw until there are enough comparisons, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=2400.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("soundness_certificates.jsonl"))
    parser.add_argument("--summary", type=Path, help=f"such as {RESULTS}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    started, checks = time.process_time(), sum(row["outputs"] + row["losses"] for row in rows)
    with options.out.open("a") as file:
        for row in campaign(options.seed, {row["number"] for row in rows}, options.cases):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            checks += row["outputs"] + row["losses"]
            if checks >= options.checks or time.process_time() - started > options.seconds:
                break
    kept = {key for row in rows for key, value in row.items() if isinstance(value, int)} - {"seed", "number"}
    summary = {
        "seed": options.seed,
        "draws": len(rows),
        **{key: sum(row.get(key, 0) for row in rows) for key in sorted(kept)},
        "losses certified": INTERVALS * PLACES * sum(row["outputs"] > 0 for row in rows),
        "losses verified": INTERVALS * PLACES * len(rows),
        "kinds": len({row["case"] for row in rows}),
        **{
            key: sorted({op for row in rows for op in row[key]} & set(known))
            for key, known in (("certified by", RULES), ("verified by", OPERATIONS))
        },
    }
    print(summary)
    if options.summary:
        options.summary.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
