"""Section IV: a permutation of hidden units as the end of a continuous motion, a rotation of the units.

A permutation matrix Π with det Π = 1 lies in SO(n), which is connected: R(s) = exp(s log Π) leads from I to Π. A linear
network does not see R, since what produces the units is multiplied by R and what consumes them by Rᵀ = R⁻¹.
An activation that works unit by unit in general does see an R that is no permutation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.problem import Modular
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.equivalence import check_equivalent, check_move
from weightstring.symmetry.maps import outers_of
from weightstring.symmetry.moves import Move, cycles, odd
from weightstring.symmetry.spec import Symmetry

NODES = 32
"""Nodes of Gauss and Legendre's rule for a length, where the speed is not constant."""

SHOWN = 8
"""Units of a permutation that a message shows."""


def rotation(permutation: Int64[Tensor, " n"]) -> Float64[Tensor, "n n"]:
    """A real logarithm of a permutation's matrix: A (n, n) with Aᵀ = −A and exp(A) = Π, Π[i, permutation[i]] = 1.

    On a cycle of length k Π is a cyclic shift with eigenvalues exp(±iφ_j), φ_j = 2πj/k. Between its places a and b

        A[a, b] = (2/k) Σ_j φ_j sin(φ_j (b − a)),   1 ≤ j < k/2.

    What is left in a cycle of even length is the eigenvalue −1 with eigenvector u[a] = (−1)^a/√k, and −1 has no real
    logarithm by itself: the vectors u and v of two even cycles, the first two, the next two and so on, are turned into
    each other by half a turn, π(uvᵀ − vuᵀ). No logarithm of Π has a smaller norm; where there are even cycles, those of
    other pairs, or in the other sense, have the same.

    Args:
        permutation: unit i of what comes out is unit ``permutation[i]`` of what went in.

    Raises:
        InvalidSetting: not a permutation, or an odd one.

    >>> A = rotation(torch.tensor([1, 2, 0]))
    >>> torch.linalg.matrix_exp(A).round().int().tolist()
    [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    """
    size = len(permutation)
    if not torch.equal(permutation.sort().values.cpu(), torch.arange(size)):
        raise InvalidSetting(
            f"rotation: {_shown(permutation)} is no permutation of 0 to {size - 1}: give every unit exactly once"
        )
    if odd(permutation):
        raise InvalidSetting(
            f"rotation: {_shown(permutation)} is an odd permutation: its matrix has determinant −1, and no rotation "
            "leads there. Draw an even one, permuted_copy(..., even=True)"
        )
    generator = torch.zeros(size, size, dtype=torch.float64)
    unpaired: list[Tensor] = []
    for cycle in cycles(permutation):
        places, length = torch.tensor(cycle), len(cycle)
        steps, turns = torch.arange(length), torch.arange(1, (length + 1) // 2)
        unit = 2 * math.pi / length
        sines = torch.sin(unit * (steps[:, None] * turns % length).double())  # whole turns taken off exactly
        apart = 2 / length * (sines * (unit * turns.double())).sum(1)  # A by (b − a) mod k
        generator[places[:, None], places] = apart[(steps - steps[:, None]) % length]
        if length % 2 == 0:
            flip = torch.zeros(size, dtype=torch.float64)
            flip[places] = (1 - 2 * (steps % 2)).double() / math.sqrt(length)
            unpaired.append(flip)
    for u, v in zip(unpaired[::2], unpaired[1::2], strict=True):
        generator += math.pi * (torch.outer(u, v) - torch.outer(v, u))
    return (generator - generator.T) / 2  # sines of large angles are skew only up to rounding


@dataclass(frozen=True, eq=False)
class RotationPath:
    """The path θ(s) from θ to π(θ) on which each group's units are turned by R(s) = exp(s log π).

    Every axis of a parameter that has a group's units is multiplied by the group's R(s), so that W between hidden
    layers becomes R_out W R_inᵀ. A group over outer ones has a rotation for each of their units, applied after theirs.
    R is orthogonal, so that ‖θ(s)‖ = ‖θ‖, and for a linear network the loss is constant.

    Args:
        symmetry: where the units are.
        theta: θ (P,).
        move: π: an even permutation of each group's units, no factors.
        problem: whose function π(θ) must keep; None: that is not checked.

    Raises:
        InvalidCheckpoint: θ has another size or dtype than the symmetry's layout.
        InvalidSetting: π has factors, an odd permutation, or does not fit the symmetry.
        NotEquivalent: π(θ) computes something else: a symmetry by hand is wrong.

    >>> from torch import nn
    >>> from weightstring.problem import Layout
    >>> from weightstring.symmetry.spec import Group, Spec
    >>> layout = Layout.of(nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 1, bias=False)))
    >>> symmetry = Symmetry(layout, Spec({"h": Group("h", 3)}, {"0.weight": ("h", None), "1.weight": (None, "h")}))
    >>> theta = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> path = RotationPath(symmetry, theta, Move(symmetry, {"h": torch.tensor([1, 2, 0])}))
    >>> path.at(1.0)
    tensor([2., 3., 1., 5., 6., 4.])
    >>> round((path.at(0.3)[:3] @ path.at(0.3)[3:]).item(), 4)  # what the network multiplies with: 4 + 10 + 18
    32.0
    """

    symmetry: Symmetry
    theta: Theta
    move: Move
    problem: Modular | None = None

    def __post_init__(self) -> None:
        self.symmetry.layout.check(self.theta, 1, self.theta.device)
        if others := {**self.move.factors, **self.move.maps}:
            raise InvalidSetting(
                f"RotationPath: the move also scales {', '.join(others)}, and no rotation does that: "
                "give a move of permutations alone"
            )
        _ = self.generators  # refuses what is no rotation
        if self.problem is not None:
            check_move(self.problem, self.move, self.theta, "RotationPath")
            check_equivalent(self.problem, self.theta, self.move(self.theta), "RotationPath")

    @cached_property
    def generators(self) -> Mapping[str, Float64[Tensor, "*copies n n"]]:
        """A = log π by group, (…, n, n); the leading axes are the units of the groups that it is over."""
        spec = self.symmetry.permutations
        generators: dict[str, Tensor] = {}
        for name, permutation in self.move.permutations.items():
            if name not in spec.groups:
                known = ", ".join(spec.groups) or "none"
                raise InvalidSetting(f"RotationPath: the move permutes {name!r}, but the groups are {known}")
            size = spec.groups[name].size
            shape = (*spec.copies(name), size)
            if tuple(permutation.shape) != shape:
                raise InvalidSetting(
                    f"RotationPath: the permutation of {name!r} has shape {tuple(permutation.shape)} where the "
                    f"symmetry needs {shape}: give one index for each unit"
                )
            rows = permutation.reshape(-1, size)
            generators[name] = torch.stack([_of_group(name, row) for row in rows]).reshape(*shape, size)
        return generators

    def at(self, s: float) -> Theta:
        """The model θ(s) (P,) at s ∈ [0, 1]: θ itself at 0, and π(θ) up to rounding at 1.

        Computed in float64 and rounded once to θ's dtype.

        Raises:
            InvalidSetting: s outside [0, 1].
        """
        if s == 0:
            return self.theta.clone()
        turned = self.theta.to(torch.float64, copy=True)
        views, matrices = self.symmetry.layout.views(turned), self._matrices(s)
        for block in self._turned:
            part = block.view(views[block.parameter])
            part.copy_(_product(part, [(dims, matrices[name]) for name, dims in self._places(block)]))
        return turned.to(self.theta)

    def speed(self, s: float) -> float:
        """‖dθ/ds‖ at s ∈ [0, 1]; constant unless units are turned whose outer units are turned too.

        Raises:
            InvalidSetting: s outside [0, 1].
        """
        squares = []
        views, matrices = self.symmetry.layout.views(self.theta.double()), self._matrices(s)
        for block in self._turned:
            part, places = block.view(views[block.parameter]), self._places(block)
            velocity = torch.zeros_like(part)
            for changing in range(len(places)):  # the product rule: dR/ds = A R
                turns = [(dims, matrices[name]) for name, dims in places]
                name, dims = places[changing]
                turns.insert(changing + 1, (dims, self.generators[name].to(part)))
                velocity += _product(part, turns)
            squares.append(float(velocity.square().sum()))
        return math.sqrt(math.fsum(squares))

    @cached_property
    def length(self) -> float:
        """∫₀¹ ‖dθ/ds‖ ds, the arc length over all parameters."""
        groups = self.symmetry.permutations.groups
        if not any(self.generators.keys() & set(groups[name].over) for name in self.generators):
            return self.speed(0.0)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        return math.fsum(w * self.speed(float(1 + x) / 2) / 2 for x, w in zip(nodes, weights, strict=True))

    def _matrices(self, s: float) -> dict[str, Float64[Tensor, "*copies n n"]]:
        """R(s) by group (…, n, n)."""
        if not 0 <= s <= 1:
            raise InvalidSetting(f"s={s} is not on the path: it runs from 0 to 1")
        return {
            name: torch.linalg.matrix_exp(s * generator).to(self.theta.device)
            for name, generator in self.generators.items()
        }

    @cached_property
    def _turned(self) -> tuple[Block, ...]:
        """The parts of θ that move."""
        return tuple(block for block in self.symmetry.permuted if block.groups & self.generators.keys())

    def _places(self, block: Block) -> list[tuple[str, tuple[int, ...]]]:
        """Where a block is turned, outer groups first: the group, and its dimension after those of outer groups."""
        spec = self.symmetry.permutations
        names = sorted(block.groups & self.generators.keys(), key=lambda name: (len(spec.groups[name].over), name))
        return [(name, (*outers_of(block, dim, spec), dim)) for name in names for dim in block.dims(name)]


def _product(part: Tensor, turns: Sequence[tuple[tuple[int, ...], Tensor]]) -> Tensor:
    """A block multiplied by matrices (…, n, n) one after the other, each along the last of its dimensions."""
    for dims, matrix in turns:
        ahead = part.movedim(dims, tuple(range(len(dims))))  # outer dimensions are the batch of the product
        product = matrix @ ahead.reshape(*ahead.shape[: len(dims)], -1)
        part = product.reshape(ahead.shape).movedim(tuple(range(len(dims))), dims)
    return part


def _of_group(name: str, permutation: Int64[Tensor, " n"]) -> Float64[Tensor, "n n"]:
    try:
        return rotation(permutation)
    except InvalidSetting as error:
        raise InvalidSetting(f"group {name!r}: {error}") from None


def _shown(permutation: Tensor) -> str:
    """A permutation, abbreviated for a message."""
    shown = permutation[:SHOWN].tolist()
    return f"[{', '.join(map(str, shown))}{', …' if len(permutation) > SHOWN else ''}]"
