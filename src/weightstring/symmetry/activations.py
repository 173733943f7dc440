"""What the units of two networks do on the same data: their activations, standardised, so that products correlate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Interpreter, Node

from weightstring.problem import Modular
from weightstring.problem.copying import announces
from weightstring.problem.live import Live
from weightstring.symmetry.assignments import signed_units, units_of
from weightstring.symmetry.blocks import Block, outer_dim
from weightstring.symmetry.finding import Traced, traced
from weightstring.symmetry.pairs import Assignments, Pair
from weightstring.symmetry.rescaling import Scaled
from weightstring.symmetry.spec import Spec, Symmetry

SAMPLES = 4096
"""Numbers of each unit (examples × places) that are kept; they are taken at even distances."""

HELD = 1 << 24
"""Numbers of all units of a model that are kept in any case; of large models, half as many as they have parameters."""


def recorded(problem: Modular, symmetry: Symmetry, models: Sequence[Scaled]) -> list[Pair]:
    """Activations of two models on the same evaluation examples, before and after every layer with weights.

    Each unit's activations are centred and scaled to norm 1, so that ⟨A_i, B_j⟩ is a Pearson correlation; a unit that
    never changes is 0.

    Args:
        problem: whose models.
        symmetry: names the units.
        models: the two.
    """
    one, other = (activations_of(problem, symmetry, model) for model in models)
    return [replace(a, b=b.b) for a, b in zip(one, other, strict=True)]


def activations_of(problem: Modular, symmetry: Symmetry, model: Scaled) -> list[Pair]:
    """The activations of one model, as :func:`recorded` has them, in pairs with themselves."""
    observed, signed = traced(problem), signed_units(symmetry)
    shapes = {step.name: step.shape for step in observed.trace.steps}
    pairs = []
    for block, numbers in _run(problem, observed, symmetry.permutations, model):
        name = block.parameter
        scaled = symmetry.scales.cut(name, observed.scaled[name], shapes[name])
        units = units_of(block, shapes[name], scaled, signed)
        axes = [factor.axis for factor, group in zip(block.factors, units, strict=True) if group is not None]
        pairs.append(Pair(numbers, numbers, (*(group for group in units if group is not None), None), (*axes, -1)))
    return pairs


def partnered(pairs: Sequence[Pair], assignments: Assignments) -> list[Pair]:
    """How far the units of the one network correlate with their partners in the other, layer by layer.

    That is one number for all samples of a unit, so that these need not be kept: as the second tensor of a pair, since
    units of the second network may still change their signs.
    """
    partners = []
    for pair in pairs:
        matched = pair.made(assignments)
        products = (matched.a * matched.b).sum(-1)
        partners.append(Pair(products, products, pair.groups[:-1], pair.axes[:-1]))
    return partners


def correlations(partners: Sequence[Pair], signs: Assignments, spec: Spec) -> dict[str, Float[Tensor, " n"]]:
    """How far each unit of the one network correlates with its partner in the other, by group.

    The mean over the layers that have the group, and over the units of other groups that it meets there; a family's
    units one outer unit after the other.

    Args:
        partners: what :func:`partnered` found.
        signs: of the second network's units.
        spec: names the units.
    """
    sums: dict[str, list[Tensor]] = {}
    for pair in partners:
        products = pair.made(signs).b
        for dim, name in enumerate(pair.groups):
            assert name is not None
            outer = [outer_dim(pair.groups, pair.axes, dim, dims) for dims in spec.groups[name].over]
            dims = [*(index for index in outer if index is not None), dim]
            rest = [index for index in range(products.ndim) if index not in dims]
            units = products.permute(*dims, *rest).flatten(len(dims)).mean(-1) if rest else products.permute(dims)
            sums.setdefault(name, []).append(units.reshape(-1))
    return {name: torch.stack(each).mean(0) for name, each in sums.items()}


class _Recorder(Interpreter):
    """Runs a traced module and keeps samples of what some operations return, so that activations themselves can go.

    Args:
        observed: the module and the examples.
        spec: names the units.
        samples: how many numbers of each unit are kept.
    """

    def __init__(self, observed: Traced, spec: Spec, samples: int) -> None:
        super().__init__(observed.trace.exported.graph_module)
        self.kept: dict[tuple[str, int], tuple[Block, list[Tensor]]] = {}
        self._wanted, self._spec, self._samples = observed.activations, spec, samples
        self._parts = len(observed.parts)
        self.part = 0
        """Which of the parts is run."""

    def run_node(self, n: Node) -> Any:
        """One operation."""
        value = super().run_node(n)
        if n.name in self._wanted:
            for number, block in enumerate(self._spec.cut(n.name, self._wanted[n.name], value.shape)):
                _, kept = self.kept.setdefault((n.name, number), (block, []))
                kept.append(self._some(_by_unit(value, block)))
        return value

    def _some(self, numbers: Tensor) -> Tensor:
        """Of each unit's numbers, those at even distances in all parts together."""
        count = numbers.shape[-1]
        step = -(-count * self._parts // self._samples)
        some = numbers[..., -self.part * count % step :: step]
        # Copied unless that is all: a slice would hold the activations.
        return some.to(torch.float64 if some.dtype == torch.float64 else torch.float32, copy=step > 1)


def _run(problem: Modular, observed: Traced, spec: Spec, model: Scaled) -> list[tuple[Block, Tensor]]:
    recorder = _Recorder(observed, spec, _affordable(observed, spec, problem.layout.size))
    with torch.no_grad(), _state(problem, model) as state:
        for recorder.part, examples in enumerate(observed.parts):
            recorder.run(
                *observed.trace.arguments({f"net.{name}": value for name, value in state.items()}, examples.leaves)
            )
    return [(block, _standardised(torch.cat(kept, -1))) for block, kept in recorder.kept.values()]


@contextmanager
def _state(problem: Modular, model: Scaled) -> Iterator[Mapping[str, Tensor]]:
    """A model's parameters, and the buffers that are functions of it, by name.

    Where there are none such, parameters are written into the module that computes, one after the other.
    """
    layout, computing = problem.layout, problem.computation.evaluating
    if isinstance(computing, Live) and problem.computation.fixed and not announces(computing.module):
        with computing.written(model.parameter(entry.name) for entry in layout.entries):
            yield layout.named(computing.parameters)
    else:
        theta = model.rounded()
        yield {**layout.named(layout.computed(theta)), **problem.statistics(theta)}


def _affordable(observed: Traced, spec: Spec, parameters: int) -> int:
    """How many numbers of each unit are kept: fewer where there are very many units."""
    units = numbers = 0
    for step in observed.trace.steps:
        terms = observed.activations.get(step.name)
        for block in spec.cut(step.name, terms, step.shape) if terms is not None else ():
            *own, count = _by_unit(torch.empty(step.shape, device="meta"), block).shape
            units += math.prod(own)
            numbers += math.prod(own) * min(SAMPLES, count * len(observed.parts))
    most = max(HELD, parameters // 2)
    return SAMPLES if numbers <= most else max(1, min(SAMPLES, most // units))


def _by_unit(activations: Tensor, block: Block) -> Tensor:
    """A block (units of each group …, all else)."""
    part = block.view(activations)
    units = [dim for dim, factor in enumerate(block.factors) if factor.group is not None]
    rest = [dim for dim in range(part.ndim) if dim not in units]
    return part.permute(*units, *rest).flatten(len(units)) if rest else part.permute(*units).unsqueeze(-1)


def _standardised(samples: Tensor) -> Tensor:
    """Each unit's samples (…, samples), centred and scaled to norm 1."""
    centred = samples - samples.mean(-1, keepdim=True)
    norms = centred.norm(dim=-1, keepdim=True)
    dead = norms <= 1e-6 * samples.norm(dim=-1, keepdim=True)
    return torch.where(dead, 0.0, centred / torch.where(dead, 1.0, norms))
