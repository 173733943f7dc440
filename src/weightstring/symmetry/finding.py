"""The symmetries of an unmodified module, found by tracing it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn
from torch.export import ExportedProgram

from weightstring.errors import NotEquivalent, Unsupported
from weightstring.problem import Modular
from weightstring.problem.datasets.data import Examples, sample
from weightstring.problem.once import once
from weightstring.symmetry.equivalence import check_move
from weightstring.symmetry.labelling import labelled
from weightstring.symmetry.maps import folded_by
from weightstring.symmetry.moves import Move, random_maps
from weightstring.symmetry.outputs import Read, own_theta, what_is_read
from weightstring.symmetry.rules.base import REMEDY
from weightstring.symmetry.spec import Spec, Symmetry, Term
from weightstring.symmetry.ties import Ties
from weightstring.tracing.faithful import check_faithful
from weightstring.tracing.readings import Reader, readings, same
from weightstring.tracing.steps import Trace, export

OBSERVED = 256
"""Examples on which units are observed, at most."""

AT_ONCE = 1 << 24
"""Numbers of the largest tensor of a pass in which they are observed, unless two examples have more."""


SUBJECT = "symmetry: "
"""Of a refusal."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A module's operations and its symmetry.

    Args:
        trace: the operations, for as many examples as each part has.
        parts: the examples on which units are observed, those of one pass together.
        symmetry: what was found.
        activations: the axes of what each layer with weights takes and returns, by the operation's name.
        scaled: the same, of factors.
    """

    trace: Trace
    parts: Sequence[Examples]
    symmetry: Symmetry
    activations: Mapping[str, tuple[Term, ...]]
    scaled: Mapping[str, tuple[Term, ...]]


def find(problem: Modular) -> Symmetry:
    """The permutations, rescalings and linear maps of units that leave a problem's module the same function.

    Each axis of each tensor gets a label, and each operation ties the axes that can only move together (see
    :mod:`weightstring.symmetry.axes`). Inputs and outputs stay as they are.

    Raises:
        Unsupported: torch cannot trace the module, or an operation has no rule; names the module.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> data = torch.ones(4, 2), torch.ones(4, 1)
    >>> from weightstring.problem import ModuleProblem
    >>> symmetry = find(ModuleProblem(net, torch.nn.functional.mse_loss, data))
    >>> symmetry.permutations.axes["2.weight"], symmetry.scales.axes["2.weight"]
    ((None, '0'), (None, '1/0'))
    """
    return traced(problem).symmetry


@once
def traced(problem: Modular) -> Traced:
    """A problem's module, traced once.

    Raises:
        Unsupported: see :func:`find`.
    """
    examples = sample(problem.observed(), OBSERVED)
    # A trace is of a fixed number of examples; of a single one, operations may do something else.
    count = min(len(examples), max(2, AT_ONCE // max(1, what_is_read(problem).largest)))
    parts = [examples.take(slice(start, start + count)) for start in range(0, len(examples) - count + 1, count)]
    trace, kept = _trace(problem, parts)
    permutations, activations = labelled(problem, trace, Ties())
    scales, scaled = labelled(problem, trace, Ties(rescaling=True))
    maps, _ = labelled(problem, trace, Ties(mixing=True), partial(folded_by, scales))
    maps = maps if maps.groups else Spec({})
    symmetry = _confirmed(problem, Symmetry(problem.layout, permutations, scales, maps))
    return Traced(trace, kept, symmetry, activations, scaled)


def _confirmed(problem: Modular, symmetry: Symmetry) -> Symmetry:
    """A symmetry without the complex numbers that are none: by what both parts are multiplied, only numbers tell."""
    draft, groups = random_maps(symmetry, 0).maps, dict(symmetry.maps.groups)
    turned = [name for name in draft if groups[name].kind == "complex"]
    for name in turned:
        try:
            check_move(problem, Move(symmetry, maps={name: draft[name]}), own_theta(problem), "align")
        except NotEquivalent:
            groups[name] = replace(groups[name], fixed=True)
    return replace(symmetry, maps=replace(symmetry.maps, groups=groups))


class _Reading(nn.Module):
    """A module that returns what a loss reads of another's output."""

    def __init__(self, net: nn.Module, read: Read, examples: Examples) -> None:
        super().__init__()
        self.net = net
        self._read = read
        self._examples = examples

    def forward(self, *leaves: Tensor) -> list[Tensor]:
        """The tensors that are read."""
        args, kwargs = self._examples.with_leaves(leaves).arguments
        return self._read(self.net(*args, **kwargs))


def _trace(problem: Modular, parts: Sequence[Examples]) -> tuple[Trace, Sequence[Examples]]:
    """The operations on the first part, and the parts on which they are the same."""
    net, read = problem.computation.evaluating.module, what_is_read(problem)
    if read.elsewhere:
        raise Unsupported(
            f"symmetry: the loss reads numbers that {type(net).__name__} does not return, such as those of a hook: "
            f"return them, or {REMEDY}"
        )
    leaves = parts[0].leaves
    reading = _Reading(net, read, parts[0])
    exported, told = _exported(reading, leaves)
    check_faithful(Trace.of(exported), reading, leaves, "symmetry")
    exported.graph.eliminate_dead_code()
    if told:
        parts = [part for part in parts if same(told, readings(reading, part.leaves, SUBJECT, REMEDY))]
    return Trace.of(exported), parts


def _exported(reading: _Reading, leaves: Sequence[Tensor]) -> tuple[ExportedProgram, Sequence[object]]:
    """A module traced, if need be for what it reads off these data, which is returned too."""
    refused = None
    try:
        exported = export(reading, leaves, SUBJECT, REMEDY)
        if all(step.settled for step in Trace.of(exported).steps):
            return exported, ()
    except Unsupported as error:
        refused = error
    told = readings(reading, leaves, SUBJECT, REMEDY)
    if not told and refused:
        raise refused
    with Reader(told):
        return export(reading, leaves, SUBJECT, REMEDY), told
