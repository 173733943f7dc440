"""What certificates cost against depth: by radii alone, and as a rehearsal chooses; beside the best case of an adjoint.

python -m benchmarks depth [--layers 4 8 12 16] [--seconds 60]

Networks of layers of 64 with ReLU on digits, trained to a loss of .05: the line between two independent ones, and its
first twentieth, as of a string; to 1e-3 of the largest sample, or as far as some wall seconds lead. What was reached
is proved again by ``verify``, its own trace included.

The best case of an adjoint pass is what weighing each operation's own remainder by the loss's derivative there, at the
middle of an interval, would leave: as if errors were so small that the derivative were the same all over them. Of
intervals around t = ½, the widest that either way, forwards or by that best case, bounds near enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from unittest import mock

import torch
from torch import Tensor
from torch.fx import Interpreter, Node

import weightstring as ws
from benchmarks.certificates import deep, digits
from benchmarks.measuring import asked, keep, parser, timed
from weightstring.proof.enclose.enclosing import Enclosing, enclosing
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.looseness import _alone
from weightstring.proof.enclose.native import choosing
from weightstring.proof.enclose.products import Kept, Products
from weightstring.proof.enclose.rules import Call
from weightstring.proof.enclose.values import Bounds, Rows, highest
from weightstring.proof.enclose.walking import Stretch, Walk
from weightstring.proof.verify.replay import Replay

TOLERANCE = 1e-3
EVERY = 24
"""Of as many examples one is looked at for the best case."""


@dataclass(frozen=True, eq=False)
class Remaining(Walk):
    """A walk that keeps each operation's own remainder: what it makes of polynomials without errors."""

    own: dict[str, object] = field(default_factory=dict)

    def _result(self, call: Call, values: dict[str, object]) -> object:
        self.own[call.step.name] = super()._result(call, {name: _alone(value) for name, value in values.items()})
        return super()._result(call, values)


class Recording(Interpreter):
    """A graph's run that keeps results whose derivatives are wanted."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, Tensor] = {}

    def run_node(self, node: Node) -> object:
        """As it is called."""
        result = super().run_node(node)
        if isinstance(result, Tensor) and result.requires_grad:
            result.retain_grad()
            self.seen[node.name] = result
        return result


def sensitivities(of: Enclosing, problem: ws.ModuleProblem, theta: Tensor) -> dict[str, Tensor]:
    """The loss's derivative by each operation's result, at θ (P,)."""
    trace = of.program.traces[len(of.examples)]
    names, views = {**trace.parameters, **trace.buffers}, problem.layout.views(theta)
    held = {name: views.get(names.get(name, "").removeprefix("net."), value) for name, value in trace.held.items()}
    held |= zip(trace.given, (of.examples.targets, *of.examples.leaves), strict=True)
    given = [value.detach().double() if value.is_floating_point() else value for value in map(held.get, trace.inputs)]
    recording = Recording(trace.exported.graph_module)
    with torch.enable_grad():
        (loss,) = recording.run(*(v.requires_grad_() if v.is_floating_point() else v for v in given))
        loss.backward()
    return {name: value.grad for name, value in recording.seen.items() if value.grad is not None}


def excesses(of: Enclosing, few: ws.ModuleProblem, sensitive: dict[str, Tensor], half: float) -> tuple[float, float]:
    """How far the bound around t = ½ lies above the largest loss there: as it is, and in the best case."""
    places = torch.tensor([[0.5 - half], [0.5], [0.5 + half]], dtype=torch.float64)
    base = float(few.measure(torch.lerp(of.beads[:1], of.beads[1:], places))["loss"].max())
    walk = Remaining(of.program, of.examples, of.walk.derived, of.degree)
    walk.__dict__["grouped"] = of.degree == 2  # with the length of errors, of which plain networks keep none
    at = Intervals(torch.tensor([0]), *(torch.tensor([0.5 + s * half], dtype=torch.float64) for s in (-1, 1)))
    stretch = Stretch(at, of.weights(of.beads), Products(Kept(0), [0, 1]), {})
    found = walk.result(stretch, Rows(of.population, torch.arange(len(of.examples))))
    alone = walk.own.pop(of.program.result)
    assert isinstance(found, Bounds)
    assert isinstance(alone, Bounds)
    best = float(highest(alone.nodes)) - base
    for name, own in walk.own.items():
        if isinstance(own, Enclosure) and name in sensitive and own.shape[1:] == sensitive[name].shape:
            best += float((sensitive[name].abs() * own.radius[0]).sum())
    return float(highest(found.nodes)) - base, best


def widest(excess: Callable[[float], float], room: float) -> float:
    """Half the widest interval, to a quarter of an octave, on which an excess is within the room."""
    low, high = -30.0, -2.0
    while high - low > 0.25:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(2.0**middle) <= room else (low, middle)
    return 2.0**low


def best_case(problem: ws.ModuleProblem, hidden: int, ends: Tensor) -> dict[str, float | None]:
    """Intervals a line would take if all were like the one around its middle, forwards and in the best case."""
    _, _, examples, _ = problem.traceable("loss")
    some = slice(None, None, EVERY)
    few = ws.ModuleProblem(
        deep(hidden),
        torch.nn.functional.cross_entropy,
        (examples.leaves[0][some].double(), examples.targets[some]),
        dtype=torch.float64,
    )
    of = enclosing(few, ends, "loss", 1 << 28)
    with torch.no_grad():
        sensitive = sensitivities(of, few, of.beads.mean(0))
        room = TOLERANCE * float(few.measure(of.beads.mean(0, keepdim=True))["loss"])
        found: dict[str, float | None] = {}
        for name, degree in (("radii alone", 1), ("with lengths, degree 2", 2)):
            own = replace(of, degree=degree)
            for way, index in (("forwards", 0), ("best case", 1)):
                half = widest(lambda h: excesses(own, few, sensitive, h)[index], room)  # noqa: B023
                found[f"{name}: {way}"] = 1 / (2 * half) if half > 2.0**-29 else None  # more than is known
    return found


def row(problem: ws.ModuleProblem, ends: Tensor, seconds: float, rehearsed: bool) -> dict[str, object]:
    """A proof of the line between two models, and what it takes to verify it."""
    string = ws.WeightString(problem, ends)
    with mock.patch.object(choosing, "GENERATORS", choosing.GENERATORS if rehearsed else ()):
        certificate, cost = timed(lambda: ws.certify(problem, string, tol=TOLERANCE, seconds=seconds))
    gap = certificate.upper_bound / certificate.largest_sample - 1
    found = {
        "intervals": certificate.intervals,
        "bound over largest sample": gap,
        "reached": gap <= TOLERANCE * (1 + 1e-6),
        "CPU seconds": cost.cpu,
        "verified": None,
        "verify, CPU seconds": None,
    }
    if found["reached"]:
        verification, again = timed(lambda: ws.verify(problem, string, certificate))
        found |= {"verified": verification.ok, "verify, CPU seconds": again.cpu}
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure all depths; what is done is kept at once."""
    options = parser(__doc__)
    options.add_argument("--layers", type=int, nargs="*", default=[4, 8, 12, 16])
    options.add_argument("--seconds", type=float, default=60.0, help="wall seconds of one proof")
    chosen = asked(options, arguments)
    layers = (4,) if chosen.quick else chosen.layers
    problems = {hidden: digits(deep(hidden), 64) for hidden in layers}
    ends = {hidden: (problem.fit(0, 0.05), problem.fit(1, 0.05)) for hidden, problem in problems.items()}
    rows, cases = list[dict[str, object]](), list[dict[str, object]]()
    notes = [f"Proofs end after {chosen.seconds:g} wall seconds, on a machine that others used."]
    Replay(problems[layers[0]], "loss")  # torch's first trace of a process takes longer
    for pair, share in (("a twentieth of the way", 0.05), ("independent", 1.0)):
        for hidden, problem in problems.items():
            a, b = ends[hidden]
            line = torch.stack([a, torch.lerp(a, b, share)])
            enclosing(problem, line, "loss", 1 << 28)  # which traces the module, once
            for way in ("rehearsed", "radii alone"):
                found = row(problem, line, chosen.seconds, way == "rehearsed")
                rows.append({"hidden layers": hidden, "pair": pair, "way": way, **found})
                print(rows[-1], flush=True)
            if share == 1:
                cases.append({"hidden layers": hidden, **best_case(problem, hidden, line)})
                print(cases[-1], flush=True)
            both = {"proofs": rows, "intervals of independent pairs, in the best case": cases}
            keep("depth", {"tolerance": TOLERANCE, "notes": notes, **both}, chosen.quick, silent=True)
