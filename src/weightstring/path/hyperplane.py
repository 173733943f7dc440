"""Hessian products at a point of a segment, and the hyperplane across it in which they are looked at."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Theta, is_finite
from weightstring.errors import InvalidSetting
from weightstring.path.segment import Segment, rows_at_once
from weightstring.protocol import Curved, LossProblem

STEP = 0.1
"""h of the differences, in ε^(1/3) · max(‖θ‖, length): of the tanh networks tried, the best to a factor of two."""


@dataclass
class HessianProducts:
    """Products of the Hessian at θ with vectors, in their dtype and on their device, counted."""

    problem: LossProblem
    theta: Theta
    rows: Int64[Tensor, " n"]
    step: float
    exact: bool = True
    """Whether they are exact, as long as the first shows that they can be."""
    evaluations: int = 0

    def __call__(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """H v (P,), a new tensor."""
        self.evaluations += 1
        product = self._at_first(vector) if self.evaluations == 1 else self._exactly(vector) if self.exact else None
        if product is None:
            product = self._by_differences(vector)
        if not is_finite(product):
            raise InvalidSetting("a product of the Hessian there is not finite: give another t or segment")
        return product

    def _at_first(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"] | None:
        """A first exact product; None: some operations have no second derivative, or none at this place."""
        product = None
        if self.exact and isinstance(self.problem, Curved):
            with suppress(RuntimeError):  # lack of memory is reported as a setting
                product = self._exactly(vector)
        self.exact = product is not None and is_finite(product)
        return product if self.exact else None

    def _exactly(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        assert isinstance(self.problem, Curved)
        return self.problem.hessian_products(self.theta, vector.to(self.theta)[None], self.rows)[0].to(vector)

    def _by_differences(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        length = float(vector.double().norm())
        if not length:
            return torch.zeros_like(vector)
        move = vector * (self.step / length)
        theta = self.theta.to(move)
        sides = [(theta + move).to(self.theta), (theta - move).to(self.theta)]
        del move
        there, back = gradients(self.problem, sides, self.rows)
        return there.to(vector).sub_(back.to(vector)).mul_(length / (2 * self.step))


def gradients(problem: LossProblem, thetas: list[Theta], rows: Int64[Tensor, " n"]) -> list[Theta]:
    """The training gradients of models on the same rows; where they are large, one after the other.

    Each model is let go as soon as it has been looked at.
    """
    if rows_at_once(thetas[0]) >= len(thetas):
        return list(problem.gradient(torch.stack(thetas), rows.expand(len(thetas), -1).contiguous()).gradients)
    found = []
    while thetas:
        found.append(problem.gradient(thetas.pop(0)[None], rows[None]).gradients[0])
    return found


class Hyperplane(NamedTuple):
    """The hyperplane perpendicular to n, with coordinates x ∈ R^(P−1): the reflection that takes n to an axis."""

    normal: Float64[Tensor, " P"]
    mirror: Float64[Tensor, " P"]
    """Unit vector w; (1 − 2wwᵀ) n = ∓e₁."""

    @classmethod
    def across(cls, segment: Segment) -> Hyperplane:
        """Perpendicular to a segment."""
        normal = torch.nn.functional.normalize((segment.b.double() - segment.a.double()).cpu(), dim=0)
        mirror = normal.clone()
        mirror[0] += 1.0 if mirror[0] >= 0 else -1.0  # away from n, so that nothing cancels
        return cls(normal, torch.nn.functional.normalize(mirror, dim=0))

    def embed(self, x: Float64[Tensor, " Q"]) -> Float64[Tensor, " P"]:
        """The vector of the hyperplane with coordinates x."""
        return self._reflect(torch.cat([x.new_zeros(1), x]))

    def restrict(self, vector: Float64[Tensor, " P"]) -> Float64[Tensor, " Q"]:
        """Coordinates of a vector's part in the hyperplane."""
        return self._reflect(vector)[1:]

    def _reflect(self, vector: Float64[Tensor, " P"]) -> Float64[Tensor, " P"]:
        return vector - 2 * (self.mirror @ vector) * self.mirror


def step_at(theta: Theta, segment: Segment) -> float:
    """The h of the differences: it balances the third derivative, h², against rounding, ε/h."""
    scale = max(float(theta.double().norm()), segment.length)
    return float(STEP * torch.finfo(theta.dtype).eps ** (1 / 3) * scale)
