"""Elements of a symmetry group as differentiable functions of free numbers, so that a loss can say which is best.

Permutations (with signs where these may change) are straight-through: the model is moved by the assignment of a matrix,
and the derivative with respect to its permutation matrix is taken as that with respect to the matrix. Linear maps are
exp(E) M of the map M that they start from, E in the Lie algebra of their kind: exactly an element for any numbers.
Factors are exponentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.symmetry.assignments import same_units, signed_units
from weightstring.symmetry.blocks import Block
from weightstring.symmetry.gauges import ORTHOGONAL, foldable, folded, held_by_maps
from weightstring.symmetry.maps import centred, complex_map, folding, mapped
from weightstring.symmetry.moves import Move, along
from weightstring.symmetry.places import places
from weightstring.symmetry.spec import Group, Kind, Spec, Symmetry


class Latents:
    """A model moved by numbers that can be learned; at first it is moved as it was.

    A permutation is learned where linear maps neither mix its units nor depend on them: heads stay, their maps within.

    Args:
        start: the move to begin with.
        a: the model to come near to (P,), which says with the other whether norms can be folded.
        b: the model that is moved (P,).
        rescale: learn factors and signs too.
        maps: learn linear maps too.
    """

    def __init__(self, start: Move, a: Theta, b: Theta, *, rescale: bool, maps: bool) -> None:
        symmetry = foldable(start.symmetry, a, b) if maps else start.symmetry
        self._start, self._symmetry, device = start, symmetry, b.device
        self._mixed = [name for name, group in symmetry.maps.groups.items() if maps and not group.fixed]
        learned = _permutable(symmetry, self._mixed or list(start.maps))
        self._signed = _signed(symmetry, learned) if rescale else {}
        self._gated = self._signs_of_gated(learned)
        held = {name: own for name, own in start.permutations.items() if name not in learned}
        base = Move(symmetry, held, dict(self._gated.values()))(b.double())
        unfolded = self._unfolded(base)
        self._base = folded(symmetry, base) if unfolded else base
        self._first = {name: self._map(name).to(device) for name in self._mixed}
        self.orders = {name: self._signed_order(name).to(device).requires_grad_() for name in learned}
        self.turns = {name: _zeros(symmetry.maps, name).to(device).requires_grad_() for name in self._mixed}
        self.stretches = {name: own.to(device).requires_grad_() for name, own in self._stretches(rescale).items()}
        kept = {name: self._size(name) for name in start.factors if name not in self.stretches}
        whole = Move(symmetry, factors=unfolded).apply_(torch.ones_like(self._base))
        self._fixed = Move(symmetry, factors=kept).apply_(whole)

    @property
    def free(self) -> bool:
        """Whether there is anything to learn."""
        return bool(self.orders or self.turns or self.stretches)

    def __call__(self) -> Float64[Tensor, " P"]:
        """The moved model in float64, a differentiable function of the numbers."""
        symmetry, layout = self._symmetry, self._symmetry.layout
        orders = {name: _straight_through(own, name in self._signed) for name, own in self.orders.items()}
        maps, sizes = self._maps(), {name: own.exp() for name, own in self.stretches.items()}
        moved: list[Tensor] = []
        for entry, piece, fixed in zip(
            layout.entries, layout.pieces(self._base), layout.pieces(self._fixed), strict=True
        ):
            piece = _mixed(piece, _of(symmetry.permuted, entry.name), symmetry.permutations, orders)
            piece = _mixed(piece, _of(symmetry.mapped, entry.name), symmetry.maps, maps) * fixed
            moved.append(_scaled(piece, _of(symmetry.scaled, entry.name), symmetry.scales, sizes).reshape(-1))
        return torch.cat(moved)

    def move(self) -> Move:
        """What is done to the model by the numbers as they are."""
        with torch.no_grad():
            orders = {name: _assigned(own, name in self._signed) for name, own in self.orders.items()}
            factors = {name: self._size(name) for name in self._start.factors}
            factors |= {name: own.exp().cpu() for name, own in self.stretches.items()}
            for name, scale in self._signed.items():
                signs = orders[name].sum(-1).cpu()
                factors[scale] = signs * factors.get(scale, torch.ones(()))
            permutations = {name: own.abs().argmax(-1).cpu() for name, own in orders.items()}
            for name, (scale, signs) in self._gated.items():
                factors[scale] = signs.gather(-1, permutations[name]) * factors.get(scale, torch.ones(()))
            maps = {name: own.cpu() for name, own in self._maps().items()}
        factors = {name: own for name, own in factors.items() if bool((own != 1).any())}
        permutations = {**self._start.permutations, **permutations}
        return replace(
            self._start,
            symmetry=self._symmetry,
            permutations=permutations,
            maps={**self._start.maps, **maps},
            factors=factors,
        )

    def _signs_of_gated(self, learned: Sequence[str]) -> dict[str, tuple[str, Tensor]]:
        """Of groups whose signs some tensors alone have, the factors' name and the signs: units take them along."""
        start, found = self._start, {}
        for name, scale in signed_units(self._symmetry).items():
            if name in learned and name not in same_units(self._symmetry) and scale in start.factors:
                signs = start.factors[scale].to(torch.float64).sign()
                order = start.permutations.get(name, torch.arange(signs.shape[-1]).expand(signs.shape))
                found[name] = scale, torch.empty_like(signs).scatter_(-1, order, signs)
        return found

    def _maps(self) -> dict[str, Tensor]:
        groups = self._symmetry.maps.groups
        return {name: _exponential(groups[name].kind, own) @ self._first[name] for name, own in self.turns.items()}

    def _map(self, name: str) -> Tensor:
        spec = self._symmetry.maps
        size = spec.groups[name].size
        identity = torch.eye(size, dtype=torch.float64).expand(*spec.copies(name), size, size)
        return self._start.maps.get(name, identity).to(torch.float64)

    def _signed_order(self, name: str) -> Float64[Tensor, ...]:
        """The matrix of the permutation to begin with, with its signs."""
        spec, start = self._symmetry.permutations, self._start
        size = spec.groups[name].size
        order = start.permutations.get(name, torch.arange(size).expand(*spec.copies(name), size))
        matrix = torch.nn.functional.one_hot(order, size).to(torch.float64)
        signs = start.factors.get(self._signed[name]) if name in self._signed else None
        return matrix if signs is None else matrix * signs.to(matrix).sign()[..., None]

    def _size(self, scale: str) -> Tensor:
        """The factors to begin with, without the signs that permutations have or that units take along."""
        own, along = self._start.factors[scale].to(torch.float64), [scale for scale, _ in self._gated.values()]
        return own.abs() if scale in (*self._signed.values(), *along) else own

    def _stretches(self, rescale: bool) -> dict[str, Tensor]:
        """Logarithms of the factors to begin with, of all that may be positive and are no linear maps' already."""
        if not rescale:
            return {}
        scales = (held_by_maps(self._symmetry) if self._mixed else self._symmetry).scales
        found = {}
        for name, group in scales.groups.items():
            first = self._size(name) if name in self._start.factors else torch.ones(*_shape(scales, name))
            if group.positive and not group.fixed and bool((first > 0).all()):
                found[name] = first.to(torch.float64).log()
        return found

    def _unfolded(self, base: Theta) -> dict[str, Tensor]:
        """The factors that make vectors that were folded what they are to be afterwards."""
        symmetry = self._symmetry
        if not any(symmetry.maps.groups[name].kind in ORTHOGONAL for name in self._mixed):
            return {}
        views = symmetry.layout.views(base)
        after = {name: self._start.unfolded.get(name, views[name]).double() for name in symmetry.maps.unit}
        return dict(folding(symmetry.scales, name, own, 1) for name, own in after.items())


def _permutable(symmetry: Symmetry, mixed: Sequence[str]) -> list[str]:
    """The groups of permutations that linear maps of some groups neither mix nor depend on, nor norms to be folded."""
    permuted, turned = (places(symmetry, blocks) for blocks in (symmetry.permuted, symmetry.mapped))
    groups = symmetry.maps.groups
    within = {name for own in mixed for name in (own, *groups[own].over)}
    taken = {place for name in within for place in turned.get(name, ())}
    unit = symmetry.maps.unit if mixed else ()
    held = {name for name, own in permuted.items() if own & taken or any(place[0] in unit for place in own)}
    spec = symmetry.permutations.groups
    held |= {outer for name in held for outer in spec[name].over}
    return [name for name, group in spec.items() if not group.fixed and name in permuted and name not in held]


def _signed(symmetry: Symmetry, learned: Sequence[str]) -> dict[str, str]:
    """For each group whose units' signs may change too the group of factors that has them."""
    scales = symmetry.scales.groups
    same = {name: scale for name, scale in same_units(symmetry).items() if name in learned}
    return {name: scale for name, scale in same.items() if scales[scale].negative and not scales[scale].fixed}


def _straight_through(latent: Tensor, signed: bool) -> Tensor:
    """The matrix of the assignment, whose derivative is passed on to the latent one."""
    return _assigned(latent, signed) + latent - latent.detach()


def _assigned(latent: Float64[Tensor, ...], signed: bool) -> Float64[Tensor, ...]:
    """Of matrices (…, n, n) the permutation matrices that are largest on them, signed ones where signs may change.

    >>> _assigned(torch.tensor([[0.1, -0.9], [0.2, 0.3]]), True).tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    from scipy.optimize import linear_sum_assignment  # takes .3 seconds to import

    own = latent.detach()
    worth = (own.abs() if signed else own).reshape(-1, *own.shape[-2:]).cpu().numpy()
    orders = torch.stack([torch.as_tensor(linear_sum_assignment(each, maximize=True)[1]) for each in worth])
    matrix = torch.nn.functional.one_hot(orders, own.shape[-1]).reshape(own.shape).to(own)
    return matrix * torch.where(own < 0, -1.0, 1.0) if signed else matrix


def _zeros(spec: Spec, name: str) -> Tensor:
    """The numbers of a group's maps, all 0: the identity."""
    group = spec.groups[name]
    return torch.zeros(*spec.copies(name), *_numbers(group), dtype=torch.float64)


def _numbers(group: Group) -> tuple[int, ...]:
    if group.kind == "complex":
        return 2, group.size // 2
    size = group.size - 1 if group.kind == "centred" else group.size
    return size, size


def _exponential(kind: Kind, numbers: Float64[Tensor, ...]) -> Float64[Tensor, ...]:
    """The linear maps (…, n, n) of a kind that these numbers are the logarithms of.

    >>> turn = _exponential("orthogonal", torch.tensor([[0.0, 1.0], [0.5, 0.0]], dtype=torch.float64))
    >>> torch.allclose(turn @ turn.T, torch.eye(2, dtype=torch.float64))
    True
    """
    if kind == "complex":
        return complex_map(torch.complex(numbers[..., 0, :], numbers[..., 1, :]).exp())
    if kind == "general":
        product: Tensor = torch.linalg.matrix_exp(numbers)
        return product
    turn: Tensor = torch.linalg.matrix_exp(numbers - numbers.mT)
    return centred(turn) if kind == "centred" else turn


def _shape(spec: Spec, name: str) -> tuple[int, ...]:
    return (*spec.copies(name), spec.groups[name].size)


def _of(blocks: Sequence[Block], parameter: str) -> list[Block]:
    return [block for block in blocks if block.parameter == parameter]


def _mixed(piece: Tensor, blocks: Sequence[Block], spec: Spec, matrices: Mapping[str, Tensor]) -> Tensor:
    """A parameter whose units matrices mix, outer ones first."""
    for block in blocks:
        names = sorted(block.groups & matrices.keys(), key=lambda name: (len(spec.groups[name].over), name))
        part = block.view(piece)
        for name in names:
            part = mapped(part, block, spec, {name: matrices[name]})
        piece = _with(piece, block, part) if names else piece
    return piece


def _scaled(piece: Tensor, blocks: Sequence[Block], spec: Spec, factors: Mapping[str, Tensor]) -> Tensor:
    """A parameter whose units are multiplied by factors."""
    for block in blocks:
        part = block.view(piece)
        for name in sorted(block.groups & factors.keys()):
            for dim in block.dims(name):
                values = along(block, dim, spec, factors[name])
                part = part * values if block.factors[dim].exponent == 1 else part / values
        piece = _with(piece, block, part) if block.groups & factors.keys() else piece
    return piece


def _with(piece: Tensor, block: Block, part: Tensor) -> Tensor:
    """A parameter with one block replaced; a copy, since what it was is needed for derivatives."""
    copy = piece.clone()
    block.view(copy).copy_(part)
    return copy
