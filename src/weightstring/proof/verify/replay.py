"""A module's operations, traced anew, and run on lines: an upper bound of a mean on one interval of a string."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from weightstring.problem.capabilities import Traceable, certified_inputs
from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify import (  # noqa: F401 - enter their operations
    activations,
    arithmetic,
    attention,
    batch_norm,
    distances,
    layers,
    losses,
    normalising,
    piecewise,
    pooling,
    recurrent,
    shapes,
)
from weightstring.proof.verify.apart import Apart
from weightstring.proof.verify.calibrating import Calibration
from weightstring.proof.verify.curves import LEAST, Array, Curve, gamma
from weightstring.proof.verify.marks import name_of, shape_of
from weightstring.proof.verify.of_data import Made, of_data
from weightstring.proof.verify.operations import OPERATIONS, Loss, NotVerifiable, array
from weightstring.proof.verify.running import Course, Run
from weightstring.proof.verify.tracing import (
    EXAMPLES,
    MORE,
    Whole,
    calls_of,
    each_of,
    exported,
    followed,
    grown_of,
    same,
    same_constants,
    statistics_of,
)

PAGE = "docs/extending/certificate-rule.md"

CHUNK_BYTES = 64 << 20
"""What the widest array of a chunk of examples may take."""

GENERATORS = 8
"""How many an example may have on the average, where several ReLU follow each other."""

ARRAYS = 24
"""Arrays as large as the widest that are alive at once, at most."""


class Replay:
    """A quantity of a problem, to be bounded on intervals; ``generators``: as many may be of use.

    Args:
        problem: whose quantity.
        quantity: its name.
        max_bytes: what a chunk of training inputs, of which running statistics are taken, may use.

    Raises:
        NotVerifiable: an operation is not known, or a chunk is too large.
    """

    def __init__(self, problem: Traceable, quantity: str, max_bytes: int = 1 << 30) -> None:
        (net, criterion, examples, block), self._estimated = certified_inputs(problem, quantity)
        self._whole, self._layout, self._dtype = (
            Whole(net, criterion, examples.keys),
            problem.layout,
            problem.layout.dtype,
        )
        self._blocks = [len(part) for part in examples.chunks(block)]
        self._examples = Examples(tuple(leaf.cpu() for leaf in examples.leaves), examples.targets.cpu(), examples.keys)
        chunks: list[int] = []
        moving = frozenset[str]()
        if self._estimated is not None:
            chunks = [len(part) for part in self._estimated.examples.chunks(self._estimated.chunk)]
            moving = self._estimated.names
        self._programs = {
            size: exported(self._whole, examples, size) for size in {EXAMPLES, MORE, *self._blocks, *chunks}
        }
        nodes = calls_of(self._programs[EXAMPLES])
        free = of_data(self._programs[EXAMPLES], moving)
        for node in nodes:
            if name_of(node) not in OPERATIONS and node.name not in free:
                raise NotVerifiable(f"{name_of(node)} is not an operation that verification knows: add it ({PAGE})")
        grown = grown_of(nodes, calls_of(self._programs[MORE]))
        self._chunk = max(1, CHUNK_BYTES // (8 * max((each_of(node, grown) for node in nodes), default=1)))
        for size in {min(size, self._chunk) for size in self._blocks} | {n % self._chunk for n in self._blocks} - {0}:
            if size not in self._programs:
                self._programs[size] = exported(self._whole, examples, size)
        if chunks:
            _require_room(max(chunks), max(each_of(node, grown) for node in nodes), max_bytes)
        self.generators = GENERATORS if any(map(_follows, nodes)) else 0
        self._course, along = self._course_of(free, grown, problem)
        self._calibration = None if self._estimated is None else Calibration(self._estimated, self._course, along)

    def _course_of(
        self, free: frozenset[str], grown: Mapping[str, tuple[int, int]], problem: Traceable
    ) -> tuple[Course, dict[str, tuple[int, int]]]:
        program = self._programs[EXAMPLES]
        given = [str(name) for name in program.graph_signature.user_inputs]
        varying = self._varying(free, grown)
        few, more = (Apart(calls_of(self._programs[n]), given, n, free, grown) for n in (EXAMPLES, MORE))
        along = {name: place for name, place in grown.items() if name in few.plain & more.plain}
        (result,) = next(node for node in program.graph.nodes if node.op == "output").args[0][-1:]
        if not isinstance(result, Node):
            raise NotVerifiable("the loss returns a number that depends on nothing")
        # Perplexity: e to a mean, which is bounded instead.
        self._exponential = result.op == "call_function" and name_of(result) == "exp.default" and not shape_of(result)
        if self._exponential:
            (result,) = result.all_input_nodes
            if len(self._blocks) > 1:
                raise NotVerifiable("it is a mean of exponentials of several means")
        made = Made(self._programs, self._blocks, self._examples, along, self._dtype)
        course = Course(
            self._programs, self._examples, self._blocks, given, self._constants(problem, program), free,
            varying | few.computed | more.computed, grown.keys() - along.keys(), made, few, result.name, self._dtype,
        )  # fmt: skip
        return course, along

    def _constants(self, problem: Traceable, program: ExportedProgram) -> dict[str, NDArray[Any]]:
        """The numbers of what is no parameter; the names of those that are, by the way."""
        signature = program.graph_signature
        held: Mapping[str, Any] = {**program.state_dict, **program.constants}
        self._entries = {name: entry for entry in problem.layout.entries for name in entry.names}
        inputs = signature.inputs_to_parameters
        given = {name: full.removeprefix("net.") for name, full in inputs.items() if full.startswith("net.")}
        self._parameters = {name: full for name, full in given.items() if full in self._entries}
        fixed = {
            **{name: full for name, full in signature.inputs_to_parameters.items() if name not in self._parameters},
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        return {name: array(held[full]) for name, full in fixed.items()}

    def _varying(self, free: frozenset[str], grown: Mapping[str, tuple[int, int]]) -> set[str]:
        """Results of data alone that are not the same for all numbers of examples; others must be."""
        found: set[str] = set()
        program = self._programs[EXAMPLES]
        nodes = calls_of(program)
        for size in self._programs.keys() - {EXAMPLES}:
            other = self._programs[size]
            others = calls_of(other)
            varying = {one.name for one, two in zip(nodes, others, strict=False) if not same(one, two, size, grown)}
            found |= varying  # what is made of data alone need not be the same, and is then computed
            alike = [one.name for one in nodes] == [two.name for two in others] and varying <= free
            if not alike or not same_constants(program.constants, other.constants):
                raise NotVerifiable(f"what is computed depends on the number of examples, here {EXAMPLES} and {size}")
        return found

    def bound(self, a: Array, b: Array, low: float, high: float, generators: int = 0) -> float:
        """No less than the mean anywhere on (1 − t) a + t b, t ∈ [low, high], by so many generators an example."""
        return self._shown(self._bounds(a, b, low, high, generators)[0])

    def value(self, a: Array, b: Array, t: float) -> float:
        """No less than the mean at t, or what torch prints of it in float64."""
        return self._shown(sum(self._bounds(a, b, t, t)))

    def _shown(self, bound: float) -> float:
        """No less than the quantity, where the mean that it is made of is at most so much."""
        if not self._exponential:
            return bound
        with np.errstate(over="ignore"):
            return float(np.exp(bound)) * (1 + gamma(0)) + LEAST

    def _bounds(self, a: Array, b: Array, low: float, high: float, generators: int = 0) -> tuple[float, float]:
        """The bound, and how far above it torch may print a value in float64."""
        middle, radius = (low + high) / 2, (high - low) / 2
        parameters = {}
        for name, full in self._parameters.items():
            entry = self._entries[full]
            first, last = (end[entry.offset : entry.offset + entry.size].reshape(entry.shape) for end in (a, b))
            value, slope = first * (1 - middle) + last * middle, (last - first) * radius
            error = gamma(0) * (np.abs(first) + np.abs(last) + LEAST)
            parameters[name] = Curve(value, slope, np.zeros_like(value), error)
        found = Loss(np.zeros(3))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # which gives an infinite bound
            if self._calibration is not None:
                statistics = self._calibration.statistics(parameters)
                if statistics is None:
                    return math.inf, 0.0
                parameters |= statistics
            for index, size in enumerate(self._blocks):
                part = self._of_block(parameters, index, generators)
                share = size / len(self._examples)
                found = Loss(found.above + share * part.above, found.printed + share * part.printed)
                found.above[0] += gamma(4) * (share * part.size + LEAST)
            total = found.most + gamma(len(self._blocks)) * found.size
        return total if math.isfinite(total) else math.inf, found.printed

    def printed(self, theta: Tensor) -> tuple[float, float]:
        """The mean at θ (P,) in its own dtype: by the operations as traced, and by the module itself."""
        held = {**self._whole.state_dict(), **dict(self._whole.named_parameters()), **dict(self._whole.named_buffers())}
        held |= {f"net.{name}": value for name, value in self._layout.views(theta).items()}
        if self._estimated is not None:
            held |= statistics_of(self._estimated, self._layout.views(theta), self._dtype)
        by_trace = by_itself = 0.0
        start = 0
        for size in self._blocks:
            part = self._examples.take(slice(start, start + size))
            start += size
            given = [x.to(theta.device) for x in (part.targets, *part.leaves)]
            with torch.no_grad():
                by_trace += size * float(followed(self._programs[size], held, given))
                by_itself += size * float(
                    torch.func.functional_call(self._whole, held, tuple(given), tie_weights=False)
                )
        return by_trace / start, by_itself / start

    def _of_block(self, parameters: Mapping[str, Curve], index: int, generators: int) -> Loss:
        """The mean over a block of examples."""
        size = self._blocks[index]
        sums: dict[str, Loss] = {}
        for start in range(0, size, self._chunk):
            run = Run(self._course, parameters, index, slice(start, min(start + self._chunk, size)), generators)
            if (found := run.losses()) is None:
                return Loss(np.full(3, np.inf))
            for name, part in found.items():
                before = sums.get(name, Loss(np.zeros(3)))
                above = before.above + part.above
                above[0] += gamma(0) * (before.size + part.size + LEAST)
                sums[name] = Loss(above, before.printed + part.printed)
        return run.result(sums)


def _follows(node: Node) -> bool:
    """Whether it is a ReLU of rows, with layers alone between it and another."""
    if name_of(node) != "relu.default" or len(shape_of(node)) != 2:
        return False
    source = node.args[0]
    while isinstance(source, Node) and name_of(source) in ("linear.default", "dropout.default"):
        source = source.args[0]
    return isinstance(source, Node) and name_of(source) == "relu.default" and len(shape_of(source)) == 2


def _require_room(size: int, width: int, max_bytes: int) -> None:
    """Refuse chunks of training inputs that are run as wholes and are too large for that."""
    needed = 8 * ARRAYS * width * size
    if needed > max_bytes:
        raise NotVerifiable(
            f"running statistics are estimated on {size} training inputs at a time, which are bounded together, in "
            f"about {needed / 1e9:.3g} GB where max_bytes allows {max_bytes / 1e9:.3g} GB: pass a larger max_bytes=, "
            "or the problem a smaller chunk="
        )
