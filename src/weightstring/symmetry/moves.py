"""Elements of a symmetry group: permutations of units, and factors that scale them, applied to θ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import BLOCK, Theta
from weightstring.randomness import generator
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.maps import Maps, folding, mapped, outers_of, random_map
from weightstring.symmetry.spec import Spec, Symmetry

Permutations = Mapping[str, Int64[Tensor, "..."]]
"""For each group (…, n): unit i of what comes out is unit ``permutation[…, i]`` of what went in. The leading axes are
the units of the groups that it is over, as they lie in what comes out."""

Vectors = Mapping[str, Tensor]
"""Parameters by name."""

Factors = Mapping[str, Float64[Tensor, "..."]]
"""For each group (…, n): by what each unit is multiplied where it is produced, after the permutation."""


@dataclass(frozen=True, eq=False)
class Move:
    """A permutation of units, then linear maps, then factors, which leave the network's function unchanged.

    Args:
        symmetry: whose.
        permutations: by group; a group left out stays.
        factors: by group; likewise.
        maps: by group; likewise. Before them vectors that must be 1 are multiplied into what reads them.
        unfolded: what these vectors are afterwards, by name; what they were, if it is not given.
    """

    symmetry: Symmetry
    permutations: Permutations = field(default_factory=dict)
    factors: Factors = field(default_factory=dict)
    maps: Maps = field(default_factory=dict)
    unfolded: Vectors = field(default_factory=dict)

    def __call__(self, theta: Theta) -> Theta:
        """The moved model (P,), a copy."""
        return self.apply_(theta.clone())

    def apply_(self, moved: Theta) -> Theta:
        """Move a model (P,) in place."""
        if self.maps and moved.dtype != torch.float64:  # each number is rounded once
            return moved.copy_(self.apply_(moved.to(torch.float64)))
        views = self.symmetry.layout.views(moved)
        for block in self.symmetry.permuted:
            for part in self._apart(block, block.view(views[block.parameter])):
                part.copy_(permuted(part, block, self.symmetry.permutations, self.permutations))
        if self.maps:
            self._map(views)
        self._scale(views, self.factors)
        return moved

    def _scale(self, views: Vectors, factors: Factors) -> None:
        for block in self.symmetry.scaled:
            part = block.view(views[block.parameter])
            for name in sorted(block.groups & factors.keys()):
                for dim in block.dims(name):
                    values = along(block, dim, self.symmetry.scales, factors[name]).to(part)
                    part.mul_(values if block.factors[dim].exponent == 1 else 1 / values)

    def _map(self, views: Vectors) -> None:
        spec, scales = self.symmetry.maps, self.symmetry.scales
        stretched = any(spec.groups[name].kind in ("orthogonal", "centred") for name in self.maps)
        unit = spec.unit if stretched else ()
        before = {name: views[name].clone() for name in unit}
        self._scale(views, dict(folding(scales, name, before[name], -1) for name in unit))
        for block in self.symmetry.mapped:
            part = block.view(views[block.parameter])
            part.copy_(mapped(part, block, spec, self.maps))
        after = {**before, **self.unfolded}
        self._scale(views, dict(folding(scales, name, after[name].to(torch.float64), 1) for name in unit))

    def _apart(self, block: Block, part: Tensor) -> Sequence[Tensor]:
        """A block in parts of few numbers that are permuted by themselves, as far as a dimension stays as it is."""
        spec, dims = self.symmetry.permutations, range(part.ndim)
        moving = {dim for dim in dims if block.factors[dim].group in self.permutations}
        still = [dim for dim in dims if dim not in moving.union(*(outers_of(block, each, spec) for each in moving))]
        if not still or part.numel() <= BLOCK:
            return [part]
        longest = max(still, key=lambda dim: part.shape[dim])
        return torch.split(part, max(1, BLOCK * part.shape[longest] // part.numel()), longest)


def along(block: Block, dim: int, spec: Spec, values: Tensor) -> Tensor:
    """Values (…, n) of a group's units, shaped so that they broadcast over a block's dimension ``dim``."""
    name = block.factors[dim].group
    assert name is not None
    dims = [*outers_of(block, dim, spec), dim]
    order = sorted(range(len(dims)), key=dims.__getitem__)
    shape = [1] * len(block.factors)
    for axis, position in enumerate(dims):
        shape[position] = values.shape[axis]
    return values.permute(order).reshape(shape)


def permuted(part: Tensor, block: Block, spec: Spec, permutations: Permutations) -> Tensor:
    """A block with its units permuted, outer ones first; a copy where any is."""
    for name in sorted(block.groups & permutations.keys(), key=lambda group: (len(spec.groups[group].over), group)):
        for dim in block.dims(name):
            order = permutations[name].to(part.device)
            if order.ndim == 1:
                part = part.index_select(dim, order)
            else:
                part = part.take_along_dim(along(block, dim, spec, order), dim)
    return part


def random_permutation(symmetry: Symmetry, seed: int, *, even: bool = False) -> Move:
    """A random permutation of every group's units.

    Args:
        symmetry: the groups.
        seed: of the draw.
        even: draw only even permutations, which the rotation path needs.
    """
    permutations: dict[str, Tensor] = {}
    for name, group in symmetry.permutations.groups.items():
        if group.fixed:
            continue
        copies = symmetry.permutations.copies(name)
        draw = generator(seed, "permutation", name)
        rows = torch.stack([torch.randperm(group.size, generator=draw) for _ in range(math.prod(copies))])
        if even:
            for row in rows:
                if odd(row):
                    row[:2] = row[:2].flip(0)
        permutations[name] = rows.reshape(*copies, group.size)
    return Move(symmetry, permutations)


def odd(permutation: Int64[Tensor, " n"]) -> bool:
    """Whether a permutation is a product of an odd number of exchanges."""
    return (len(permutation) - len(cycles(permutation))) % 2 == 1


def cycles(permutation: Int64[Tensor, " n"]) -> list[list[int]]:
    """The cycles of a permutation, those of length 1 among them.

    >>> cycles(torch.tensor([1, 0, 2]))
    [[0, 1], [2]]
    """
    ahead, left, loops = permutation.tolist(), set(range(len(permutation))), []
    while left:
        cycle = [min(left)]
        left.discard(cycle[0])
        while ahead[cycle[-1]] in left:
            cycle.append(ahead[cycle[-1]])
            left.discard(cycle[-1])
        loops.append(cycle)
    return loops


def random_factors(symmetry: Symmetry, seed: int, largest: float = 2.0) -> Move:
    """Random factors from 1/largest to largest for all units that may be scaled, random signs where they may change."""
    drawn: dict[str, Tensor] = {}
    for name, group in symmetry.scales.groups.items():
        if group.fixed:
            continue
        draw = generator(seed, "factors", name)
        shape = (*symmetry.scales.copies(name), group.size)
        factors = torch.ones(shape, dtype=torch.float64)
        if group.positive:
            uniform = torch.rand(shape, generator=draw, dtype=torch.float64)
            factors = torch.exp((2 * uniform - 1) * math.log(largest))
        if group.negative:
            factors = factors * (2.0 * torch.randint(2, shape, generator=draw) - 1)
        drawn[name] = factors
    return Move(symmetry, factors=drawn)


def random_maps(symmetry: Symmetry, seed: int, largest: float = 2.0) -> Move:
    """A random linear map of each group that has any, of singular values from 1/largest to largest."""
    spec = symmetry.maps
    drawn = {
        name: random_map(group, spec.copies(name), seed, largest)
        for name, group in spec.groups.items()
        if not group.fixed
    }
    return Move(symmetry, maps=drawn)


def unfoldable(symmetry: Symmetry, theta: Theta) -> list[str]:
    """The vectors with zeros among those that must be 1 before units are mapped: no factor makes these 1."""
    views = symmetry.layout.views(theta)
    return [name for name in symmetry.maps.unit if not bool(views[name].all())]
