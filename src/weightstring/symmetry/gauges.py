"""Circuits in balanced gauges: of all models that linear maps of units make of one, one that is unique up to turns.

Between what produces units, P (n, K), and what consumes them, C (n, L), only Pᵀ C matters: any invertible M may stand
between, M P and M⁻ᵀ C. The gauge with M P Pᵀ Mᵀ = M⁻ᵀ C Cᵀ M⁻¹ is unique but for an orthogonal map on the left: MᵀM is
the geometric mean of (P Pᵀ)⁻¹ and C Cᵀ. Two balanced models are compared by orthogonal maps alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.symmetry.maps import Maps, complex_map, folded_by, nearest_turn, outers_of, rows
from weightstring.symmetry.moves import Move, unfoldable
from weightstring.symmetry.places import places
from weightstring.symmetry.rescaling import canonical
from weightstring.symmetry.spec import Symmetry

SINGULAR = 1e-10
"""Smallest over largest eigenvalue below which units depend on each other: then they are not balanced."""

ROUNDS = 100
"""Turns of factors and circuits after which a gauge is taken as it is."""

SETTLED = 1e-9
"""How far from 1 the last maps are where it has converged."""

ORTHOGONAL = ("orthogonal", "centred")


def foldable(symmetry: Symmetry, *models: Theta) -> Symmetry:
    """A symmetry without rotations of streams where a vector that must become 1 has zeros in one of the models."""
    if not any(unfoldable(symmetry, theta) for theta in models):
        return symmetry
    groups = {
        name: replace(group, fixed=group.fixed or group.kind in ORTHOGONAL)
        for name, group in symmetry.maps.groups.items()
    }
    return replace(symmetry, maps=replace(symmetry.maps, groups=groups, unit=()))


class Gauged(NamedTuple):
    """A model in its gauge, in float64, and the maps (…, n, n) that brought its circuits there, by group."""

    theta: Theta
    maps: Maps


def gauged(symmetry: Symmetry, theta: Theta) -> Gauged:
    """A model with its circuits balanced, what must be 1 so, and all else that scales balanced too.

    Each turn makes ‖θ‖ least over one kind of move with all others held; it is convex along these, so that the end is
    the same for all copies of a model, up to turns and signs.
    """
    held = held_by_maps(symmetry)
    whole = folded(symmetry, theta)
    total: dict[str, Tensor] = {}
    for _ in range(ROUNDS):
        whole = Move(held, factors=canonical(held, whole).factors).apply_(whole)
        maps = balancing(symmetry, whole)
        if not maps:
            break
        whole = Move(symmetry, maps=maps).apply_(whole)
        total = {name: own @ total[name] if total else own for name, own in maps.items()}
        if max(float((own - torch.eye(own.shape[-1]).to(own)).abs().max()) for own in maps.values()) < SETTLED:
            break
    return Gauged(whole, total)


def held_by_maps(symmetry: Symmetry) -> Symmetry:
    """The same without factors that fold, or that linear maps do already."""
    folding = {folded_by(symmetry.scales, name) for name in symmetry.maps.unit}
    free = {name for name, group in symmetry.maps.groups.items() if not group.fixed}
    mapped = [own for name, own in places(symmetry, symmetry.mapped).items() if name in free]
    folding |= {name for name, own in places(symmetry, symmetry.scaled).items() if own in mapped}
    scales = {
        name: replace(group, fixed=group.fixed or name in folding) for name, group in symmetry.scales.groups.items()
    }
    return replace(symmetry, scales=replace(symmetry.scales, groups=scales))


def folded(symmetry: Symmetry, theta: Theta) -> Theta:
    """A model in float64 whose vectors that must be 1 are; a copy."""
    groups = symmetry.maps.groups
    still = {
        name: torch.eye(group.size, dtype=torch.float64)
        for name, group in groups.items()
        if group.kind in ORTHOGONAL and not group.fixed
    }
    views = symmetry.layout.views(theta)
    ones = {name: torch.ones_like(views[name]) for name in symmetry.maps.unit}
    return Move(symmetry, maps=still, unfolded=ones).apply_(theta.to(torch.float64, copy=True))


def balancing(symmetry: Symmetry, theta: Theta) -> dict[str, Tensor]:
    """The maps that balance each circuit of a folded model, of those that need not keep lengths."""
    groups = symmetry.maps.groups
    return {
        name: _balancing(symmetry, name, theta)
        for name, group in groups.items()
        if not group.fixed and group.kind not in ORTHOGONAL
    }


def _balancing(symmetry: Symmetry, name: str, theta: Theta) -> Tensor:
    sums = products(symmetry, name, theta, theta)
    if symmetry.maps.groups[name].kind == "complex":
        sizes = [_halves(sums[exponent].diagonal(0, -2, -1)) for exponent in (1, -1)]
        usable = (sizes[0] > 0) & (sizes[1] > 0)
        return complex_map(torch.where(usable, sizes[1] / torch.where(usable, sizes[0], 1.0), 1.0) ** 0.25 + 0j)
    made, used = sums[1], sums[-1]
    singular = torch.zeros(made.shape[:-2], dtype=torch.bool)
    for each in (made, used):
        values = torch.linalg.eigvalsh(each)
        singular |= values[..., 0] <= SINGULAR * values[..., -1]
    identity = torch.eye(made.shape[-1], dtype=torch.float64).expand_as(made)
    made, used = (torch.where(singular[..., None, None], identity, each) for each in (made, used))
    root, inverse = power(made, 0.5), power(made, -0.5)
    return power(inverse @ power(root @ used @ root, 0.5) @ inverse, 0.5)


def nearest_maps(symmetry: Symmetry, a: Theta, b: Theta, names: list[str]) -> Maps:
    """The maps M_a⁻¹ R M_b of groups that bring ``b`` to ``a`` where M_a and M_b balance them and R turns them."""
    ours, theirs = (balancing(symmetry, theta) for theta in (a, b))
    maps: dict[str, Tensor] = {}
    for name in names:
        group, sums = symmetry.maps.groups[name], products(symmetry, name, a, b)
        one, other = (own.get(name, torch.eye(group.size, dtype=torch.float64)) for own in (ours, theirs))
        similarity = one @ sums[1] @ other.mT + torch.linalg.inv(one).mT @ sums[-1] @ torch.linalg.inv(other)
        maps[name] = torch.linalg.inv(one) @ nearest_turn(group.kind, similarity) @ other
    return maps


def products(symmetry: Symmetry, name: str, one: Theta, other: Theta) -> dict[int, Float64[Tensor, ...]]:
    """Σ X Yᵀ (…, n, n) over all that produces a group's units (1), and over all that consumes them (−1)."""
    spec = symmetry.maps
    size = spec.groups[name].size
    sums = {exponent: torch.zeros(*spec.copies(name), size, size, dtype=torch.float64) for exponent in (1, -1)}
    views = [symmetry.layout.views(theta) for theta in (one, other)]
    for block in symmetry.mapped:
        for dim in block.dims(name):
            dims = [*outers_of(block, dim, spec), dim]
            x, y = (rows(block.view(own[block.parameter]), dims).to("cpu", torch.float64) for own in views)
            sums[block.factors[dim].exponent] += x @ y.mT
    return sums


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A symmetric positive matrix (…, n, n) to a power."""
    values, vectors = torch.linalg.eigh(matrix)
    scaled: Tensor = vectors * values.clamp(min=torch.finfo(values.dtype).tiny)[..., None, :] ** exponent
    product: Tensor = scaled @ vectors.mT
    return product


def _halves(sizes: Tensor) -> Tensor:
    """What real and imaginary parts (…, 2n) have together."""
    one, other = sizes.chunk(2, -1)
    return one + other
