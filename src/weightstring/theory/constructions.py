"""Paths between two models that theorems give without a search.

Which theorems apply is read from the operations that the problem computes:

- *linear*: a chain of linear layers without biases and a squared loss (Section III.A). With hidden widths above the
  narrower end of the chain there is no barrier; at it, the path through λ*, which is the lowest there is.
- *sub-networks*, *exchange*: one hidden layer and a convex loss (Section III.C), by corners.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.path import WeightString
from weightstring.path.curve import locate_maximum
from weightstring.problem import Traceable
from weightstring.theory import deep_linear, relu
from weightstring.theory.curve import Curve, Piece
from weightstring.theory.deep_linear_barrier import through_barrier
from weightstring.theory.linear_layers import LinearLayers, read_linear

MAX_BEADS = 512
"""Of a string inscribed in a curved path."""


@dataclass(frozen=True, eq=False)
class Construction:
    """A path that a theorem gives.

    Args:
        name: of the theorem.
        bound: the theorem's bound on the loss, in real arithmetic, from the measured losses of corners.
        string: the path; for a curved one a string inscribed in it, which may rise above the bound.
        straight: whether the string is the path.
    """

    name: str
    bound: float
    string: WeightString
    straight: bool


def constructions(
    problem: Traceable, a: Theta, b: Theta, tolerance: float = 1e-3
) -> tuple[tuple[Construction, ...], dict[str, str]]:
    """The paths that theorems give between two models, the lowest first, and why each other theorem does not apply.

    Args:
        problem: the loss; what is bounded is the evaluation loss.
        a: one end (P,).
        b: the other end.
        tolerance: how far a string inscribed in a curved path may rise over the path's bound, as a share of the
            straight line's height.
    """
    ways: dict[str, Callable[[], Construction]] = {
        "linear": lambda: _linear(problem, a, b, tolerance),
        "sub-networks": lambda: _corners("sub-networks", relu.connect(problem, a, b)),
        "exchange": lambda: _corners("exchange", relu.exchange(problem, a, b)),
    }
    paths, refused = [], {}
    for name, way in ways.items():
        try:
            paths.append(way())
        except (InvalidSetting, Unsupported) as refusal:
            refused[name] = str(refusal)
    return tuple(sorted(paths, key=lambda path: (path.bound, path.string.length))), refused


def _corners(name: str, path: relu.VertexPath) -> Construction:
    return Construction(name, path.bound, path.string, straight=True)


def _linear(problem: Traceable, a: Theta, b: Theta, tolerance: float) -> Construction:
    net = read_linear(problem)
    if net is None:
        raise InvalidSetting(
            "not recognised as linear layers without biases under a squared loss: no closed-form path is known"
        )
    layers = [net.program.parameters.get(name) for name in net.names]
    if len(set(layers)) < len(layers) or {entry.name for entry in problem.layout.entries} != set(layers):
        raise InvalidSetting("a layer is frozen or tied: the closed-form path moves each layer by itself")
    ends = torch.stack([a, b])
    if not net.agrees(ends, problem.measure(ends)["loss"]):
        raise InvalidSetting("the formula's losses are not the measured ones: what was traced is not what is computed")
    curve = _in_layout(problem, net, [str(name) for name in layers], _closed_form(net, a, b))
    top = locate_maximum(problem, a, b).value
    slack = tolerance * max(curve.bound, top if math.isfinite(top) else 0.0)
    string = curve.to_string(problem, max(slack, torch.finfo(torch.float64).tiny), MAX_BEADS)
    return Construction("linear", curve.bound, string, straight=False)


def _closed_form(net: LinearLayers, a: Theta, b: Theta) -> Curve:
    """The lowest path between two chains, with its bound in units of the problem's loss."""
    first, second = (tuple(weights.double() for weights in net.layers(theta)) for theta in (a, b))
    inputs, targets = float(net.factor) * net.inputs.double().T, net.targets.double().T
    loss, units = deep_linear.SquaredLoss(inputs, targets), float(net.scale) * len(net.inputs)
    widths = net.widths
    if min(widths[1:-1], default=0) > min(widths[0], widths[-1]):
        path = deep_linear.connect(first, second, loss)
    else:
        path = through_barrier(first, second, inputs, targets)
    return Curve(path.pieces, units * path.bound)


def _in_layout(problem: Traceable, net: LinearLayers, names: list[str], curve: Curve) -> Curve:
    """The same path with the layers where the problem has them, in its dtype."""

    def placed(piece: Piece, u: float) -> Theta:
        layers = deep_linear.unflatten(piece(u), net.widths)
        return problem.layout.flatten(dict(zip(names, layers, strict=True))).to(problem.device, problem.dtype)

    return Curve(tuple(partial(placed, piece) for piece in curve.pieces), curve.bound)
