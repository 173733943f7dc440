"""Running statistics that are functions of θ, on an interval: means over the chunks of the training inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from torch.fx import Node

from weightstring.problem.capabilities import Recalibration
from weightstring.problem.datasets.data import Examples
from weightstring.proof.verify.batch_norm import estimated
from weightstring.proof.verify.curves import Curve, add, constant, scale
from weightstring.proof.verify.marks import name_of
from weightstring.proof.verify.of_data import Made
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.running import Course, Run

EPS = {"batch_norm.default": 7, "_native_batch_norm_legit_no_training.default": 6}
"""Which argument an operator's ε is."""


class Estimating(Run):
    """A module's operations on one chunk of training examples, BatchNorm by the chunk's own statistics."""

    def begin(self, moving: Mapping[str, str]) -> None:
        """Before the first operation.

        Args:
            moving: names of the inputs that are statistics, and the buffers that they are.
        """
        self.moving = moving
        self.found: dict[str, list[Curve]] = {}
        norms = [node.name for node in self._nodes if any(used.name in moving for used in node.all_input_nodes)]
        self._last = norms[-1] if norms else ""

    def follow(self) -> bool:
        """Up to the last layer with statistics; whether all is finite."""
        for node in self._nodes:
            value = self._values[node.name] = self._made(node)
            first = value[0] if isinstance(value, list) and value else value
            if isinstance(first, Curve) and not first.finite:
                return False
            if node.name == self._last:
                break
            self._forget(node)
        return all(curve.finite for curves in self.found.values() for curve in curves)

    def _made(self, node: Node) -> Any:
        if not any(used.name in self.moving for used in node.all_input_nodes):
            return self._value(node)
        name = name_of(node)
        if name not in EPS:
            raise NotVerifiable(f"{name}: it takes running statistics that are functions of θ")
        x, weight, bias = (self._filled(one) for one in node.args[:3])
        found = estimated(x, weight, bias, float(node.args[EPS[name]]))  # type: ignore[arg-type]
        for place, estimate in ((3, found.mean), (4, found.variance)):
            given = node.args[place]
            assert isinstance(given, Node)
            self.found.setdefault(self.moving[given.name], []).append(estimate)
        return found.output if name == "batch_norm.default" else [found.output]


class Calibration:
    """The statistics of a module's layers.

    Args:
        recalibration: how they come from θ.
        course: what is run, on the examples that are measured.
        along: see :class:`Made`.
    """

    def __init__(self, recalibration: Recalibration, course: Course, along: Mapping[str, tuple[int, int]]) -> None:
        examples = recalibration.examples
        leaves = tuple(leaf.cpu() for leaf in examples.leaves)
        held = Examples(leaves, examples.targets.cpu(), examples.keys)
        chunks = [len(part) for part in held.chunks(recalibration.chunk)]
        program = next(iter(course.programs.values()))
        buffers = program.graph_signature.inputs_to_buffers
        self._moving = {
            name: full for name, full in buffers.items() if full.removeprefix("net.") in recalibration.names
        }
        made = Made(course.programs, chunks, held, along, course.dtype)
        self._course = replace(course, examples=held, blocks=chunks, made=made)
        self._starts = [0, *accumulate(chunks)]

    @property
    def moving(self) -> frozenset[str]:
        """Names of the inputs that are statistics."""
        return frozenset(self._moving)

    def statistics(self, parameters: Mapping[str, Curve]) -> dict[str, Curve] | None:
        """By the input's name, at parameters on an interval; None: they are infinite."""
        found: dict[str, list[Curve]] = {}
        for index, size in enumerate(self._course.blocks):
            run = Estimating(self._course, parameters, index, slice(0, size))
            run.begin(self._moving)
            if not run.follow():
                return None
            for full, curves in run.found.items():
                found.setdefault(full, []).extend(curves)
        means = {full: _mean(curves) for full, curves in found.items()}
        return {name: means[full] for name, full in self._moving.items() if full in means}


def _mean(curves: list[Curve]) -> Curve:
    total = constant(np.zeros_like(curves[0].value))
    for curve in curves:
        total = add(total, curve)
    return scale(total, 1 / len(curves))
