"""Linear maps of units: M where they are produced, its inverse transpose where they are consumed.

A map of a group is a matrix (…, n, n), of which the leading axes are the units of the groups that it is over: one for
each head, say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.randomness import generator
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.spec import Group, Kind, Spec

Maps: TypeAlias = Mapping[str, Float64[Tensor, "..."]]
"""For each group (…, n, n): what units become where they are produced."""


def outers_of(block: Block, dim: int, spec: Spec) -> list[int]:
    """The dimensions on whose indices the permutation along ``dim`` depends, in the order of the outer groups."""
    name = block.factors[dim].group
    dims = [block.outer_dim(dim, outer) for outer in spec.groups[name].over] if name is not None else []
    assert None not in dims  # checked when the specification was made
    return [index for index in dims if index is not None]


def folded_by(scales: Spec, name: str) -> str | None:
    """The group of factors that can make a vector 1, number by number; None: there is none."""
    term = scales.axes.get(name, (None,))[0]
    group = scales.groups[term.removeprefix("1/")] if isinstance(term, str) else None
    free = group and group.positive and group.negative and not group.fixed and not group.over
    return group.name if group and free else None


def folding(scales: Spec, name: str, vector: Tensor, power: int) -> tuple[str, Tensor]:
    """The group of factors that multiply a vector by itself to a power, and these."""
    term = scales.axes[name][0]
    assert isinstance(term, str)
    return term.removeprefix("1/"), vector ** (-power if term.startswith("1/") else power)


def mapped(part: Tensor, block: Block, spec: Spec, maps: Maps) -> Tensor:
    """A block with its units mapped; a copy where any are."""
    for name in sorted(block.groups & maps.keys()):
        for dim in block.dims(name):
            matrix = maps[name].to(part)
            if block.factors[dim].exponent == -1:
                matrix = torch.linalg.inv(matrix).mT
            part = turned(part, matrix, [*outers_of(block, dim, spec), dim])
    return part


def turned(part: Tensor, matrix: Tensor, dims: Sequence[int]) -> Tensor:
    """A matrix (…, n, n) times the last of some dimensions, by the indices of the others."""
    front = tuple(range(len(dims)))
    shape = part.movedim(tuple(dims), front).shape
    return (matrix @ rows(part, dims)).reshape(shape).movedim(front, tuple(dims))


def rows(part: Tensor, dims: Sequence[int]) -> Tensor:
    """A block with some dimensions first and all others as one (…, n, K)."""
    ahead = part.movedim(tuple(dims), tuple(range(len(dims))))
    return ahead.reshape(*ahead.shape[: len(dims)], -1)


def random_map(group: Group, copies: Sequence[int], seed: int, largest: float) -> Tensor:
    """Random maps of a group (…, n, n), whose singular values lie between 1/largest and largest."""
    draw = generator(seed, "map", group.name)
    n = group.size

    def normal(*shape: int) -> Tensor:
        return torch.randn(*copies, *shape, generator=draw, dtype=torch.float64)

    def factors(size: int) -> Tensor:
        uniform = torch.rand(*copies, size, generator=draw, dtype=torch.float64)
        return torch.exp((2 * uniform - 1) * math.log(largest))

    if group.kind == "complex":
        turn = normal(n // 2, 2)
        turn = turn / turn.norm(dim=-1, keepdim=True) * factors(n // 2)[..., None]
        return complex_map(torch.complex(turn[..., 0], turn[..., 1]))
    if group.kind == "centred":
        return centred(orthogonal(normal(n - 1, n - 1)))
    first = orthogonal(normal(n, n))
    if group.kind == "orthogonal":
        return first
    return first * factors(n)[..., None, :] @ orthogonal(normal(n, n))


def orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal matrices (…, n, n) nearest to others: U Vᵀ of U S Vᵀ, which makes ⟨R, X⟩ largest (Procrustes)."""
    left, _, right = torch.linalg.svd(matrix)
    product: Tensor = left @ right
    return product


def nearest_turn(kind: Kind, similarity: Tensor) -> Tensor:
    """The orthogonal map R (…, n, n) of a kind that makes ⟨R, Σ A Bᵀ⟩ largest, and so ‖A − R B‖ least (Procrustes).

    >>> nearest_turn("general", torch.tensor([[0.0, 2.0], [1.0, 0.0]])).round().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if kind == "centred":
        basis = mean_zero(similarity.shape[-1]).to(similarity)
        return centred(orthogonal(basis.T @ similarity @ basis))
    if kind != "complex":
        return orthogonal(similarity)
    half = similarity.shape[-1] // 2
    real, other = (similarity.diagonal(k * half, -2, -1) for k in (0, 1))
    numbers = torch.complex(real[..., :half] + real[..., half:], similarity.diagonal(-half, -2, -1) - other)
    return complex_map(torch.where(numbers.abs() > 0, numbers / numbers.abs().clamp(min=1e-300), 1.0))


def centred(inner: Tensor) -> Tensor:
    """An orthogonal map of vectors of mean zero (…, n − 1, n − 1) as one of all that leaves the mean (…, n, n)."""
    basis = mean_zero(inner.shape[-1] + 1).to(inner)
    return (basis @ inner @ basis.T).add_(1 / len(basis))


def mean_zero(size: int) -> Tensor:
    """An orthonormal basis of the vectors of mean zero (n, n − 1): a reflection takes 1/√n to the first axis.

    >>> basis = mean_zero(3)
    >>> bool((basis.sum(0).abs() < 1e-12).all())
    True
    """
    axis = torch.full((size,), size**-0.5, dtype=torch.float64)
    axis[0] += 1
    return (torch.eye(size, dtype=torch.float64) - torch.outer(axis, axis) * (2 / axis.square().sum()))[:, 1:]


def complex_map(numbers: Tensor) -> Tensor:
    """Products with complex numbers (…, n) as matrices (…, 2n, 2n): real parts first.

    >>> complex_map(torch.tensor([2 + 1j])).tolist()
    [[2.0, -1.0], [1.0, 2.0]]
    """
    real, imaginary = torch.diag_embed(numbers.real), torch.diag_embed(numbers.imag)
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)
