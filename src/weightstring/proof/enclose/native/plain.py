"""Whether a program is one that compiled code encloses: linear layers with ReLU between them, then cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.products import in_chunks
from weightstring.tracing.program import Program
from weightstring.tracing.steps import Ref, Step

MOST_CLASSES = 32
"""Classes up to which differences of outputs are cheap beside the layers before them."""

FEW = 0.4
"""Share of inputs up to which it pays to compute what differs from the usual ones alone."""

SOME = 256
"""Examples, about, that tell what is usual."""

RESHAPES = {"flatten.using_ints", "view.default", "reshape.default"}
"""What may stand between the data and the first layer."""


@dataclass(frozen=True, eq=False)
class Plain:
    """A plain network.

    Args:
        enclosing: what it was found in.
        steps: its linear layers.
        inputs: (N, in) of all examples.
        classes: how many there are.
    """

    enclosing: Enclosing
    steps: Sequence[Step]
    inputs: Tensor
    classes: int

    @cached_property
    def usual(self) -> Tensor | None:
        """(in,) the commonest value of each input in float64, where few of the inputs differ from it; else None."""
        if self.inputs.dtype != torch.float32 or not self.inputs.is_contiguous():
            return None
        usual = self.inputs[:: max(1, len(self.inputs) // SOME)].mode(0).values
        differing = sum(int((part != usual).sum()) for part in in_chunks(self.inputs))
        return usual.double() if differing <= FEW * self.inputs.numel() else None

    def layers(self, beads: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Weight (K, out, in) and bias (K, out) of each layer at beads (K, P), in float64."""
        constants, moving = self.enclosing.program.constants, self.enclosing.weights(beads)

        def of(given: Ref) -> Tensor:
            if given.name in moving:
                return moving[given.name].beads.contiguous()
            fixed = constants[given.name].double()
            return fixed.expand(len(beads), *fixed.shape).contiguous()

        return [(of(weight), None if bias is None else of(bias)) for _, weight, bias in map(_filled, self.steps)]


def plain(enclosing: Enclosing) -> Plain | None:
    """The network of a program that is nothing but one, of inputs that do not depend on θ; else None."""
    program = enclosing.program
    steps = [step for step in program.steps if step.name not in program.of_data]
    layers, between = steps[::2], steps[1::2]
    if not len(layers) == len(between) > 1 or not all(_is(step, "linear.default") for step in layers):
        return None
    if not (all(_is(step, "relu.default") for step in between[:-1]) and _is(between[-1], "cross_entropy_loss.default")):
        return None
    chained = all(step.args[0] == Ref(before.name) for before, step in pairwise(steps))
    given = [part for step in layers for part in _filled(step)[1:] if part is not None]
    numbers = {*program.constants, *program.parameters}
    if not chained or not all(isinstance(part, Ref) and part.name in numbers for part in given):
        return None
    if between[-1].args[1:] != (Ref(program.targets),) or between[-1].name != program.result:
        return None
    return _of_data(enclosing, layers)


def _of_data(enclosing: Enclosing, layers: Sequence[Step]) -> Plain | None:
    """Whether inputs and targets are such as the code reads."""
    inputs, targets = _inputs(enclosing.program, enclosing, layers[0].args[0]), enclosing.examples.targets
    if inputs is None or targets.dtype != torch.int64 or targets.ndim != 1 or enclosing.beads.device.type != "cpu":
        return None
    classes = layers[-1].shape[-1]
    few = classes <= MOST_CLASSES and bool(((targets >= 0) & (targets < classes)).all())
    return Plain(enclosing, layers, inputs, classes) if few else None


def _inputs(program: Program, enclosing: Enclosing, given: Ref) -> Tensor | None:
    """(N, in) all examples, where nothing but their shape is changed before the first layer."""
    steps = {step.name: step for step in program.steps}
    name = given.name
    while name in steps and steps[name].op in RESHAPES:
        name = steps[name].args[0].name
    if name not in program.leaves:
        return None
    leaf = enclosing.examples.leaves[program.leaves.index(name)]
    shape = steps[given.name].shape if given.name in steps else leaf.shape
    flat = leaf.flatten(1) if leaf.ndim > 1 else leaf
    return flat if len(shape) == flat.ndim == 2 and shape[1] == flat.shape[1] else None


def _filled(step: Step) -> tuple[Any, Any, Any]:
    """A layer's arguments, with None for a bias that is missing."""
    inputs, weight, bias = (*step.args, None)[:3]
    return inputs, weight, bias


def _is(step: Step, op: str) -> bool:
    """Whether a step is an operation of matrices, or of a loss, with no settings by name."""
    return step.op == op and not step.kwargs and len(step.shape) in (0, 2)
