r"""The quartic toys as surfaces (Section III.B, Eq. 6; with a ReLU III.C, Eq. 15): losses with a known Γ.

θ = (w₁, w₂): the row vector w₁ (1 × d₂), then the matrix w₂ (d₂ × d₁) row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import NO_PASS, Surface
from weightstring.theory.intervals import Interval, coordinates, total


@dataclass(frozen=True, kw_only=True)
class Quartic(Surface):
    r"""L(w₁, w₂) = ‖w₁ w₂ − a*‖², or the draft's (6) for one example: (w₁ w₂ x − y)².

    The draft's minimisers and paths are those of w₁ w₂ = a*, which is this loss (many examples, white inputs). With
    ``x`` the loss is (6) as printed; the paths are the same. Γ is known for all pairs: the loss is convex in w₁ w₂, so
    that for d₂ ≥ 2 nothing is between two models; for d₂ = 1 a path from w₁ > 0 to w₁ < 0 crosses w₁ = 0.

    Args:
        target: a* (d₁ numbers); with ``x``, y alone.
        width: d₂.
        x: the input (d₁ numbers), or None for the matrix form.

    >>> toy = Quartic(target=(3.0, -1.0), width=1)
    >>> toy.size, toy.gamma(*toy.ends)
    (3, 10.0)
    """

    target: tuple[float, ...] = (1.0,)
    width: int = 2
    x: tuple[float, ...] | None = None
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        numbers = (*self.target, *(self.x or ()))
        if self.width < 1 or not self.target or not all(map(math.isfinite, numbers)):
            raise InvalidSetting(f"Quartic(target={self.target}, width={self.width}, x={self.x}): give finite numbers")
        if self.x is not None and (len(self.target) != 1 or not any(self.x)):
            raise InvalidSetting(f"Quartic(target={self.target}, x={self.x}): with an input that is not 0, give one y")
        object.__setattr__(self, "size", self.width * (1 + len(self.optimum)))
        super().__post_init__()

    @property
    def optimum(self) -> tuple[float, ...]:
        """a*: the product w₁ w₂ of a minimiser; with ``x`` the smallest, y xᵀ/‖x‖²."""
        return self.target if self.x is None else tuple(self.target[0] * x / self.scale**2 for x in self.x)

    @property
    def scale(self) -> float:
        """ξ: ‖x‖; 1 in the matrix form."""
        return 1.0 if self.x is None else math.hypot(*self.x)

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """Two minimisers whose w₁ are all but opposite: w₁ = e₁ and −e₁ + ½ e₂; −e₁ for d₂ = 1."""
        first, optimum = self._point(1.0)[: self.width], self._point(*self.optimum)[: len(self.optimum)]
        last = self._point(-1.0, *[0.5] * (self.width > 1))[: self.width]
        return minimiser(first, optimum), minimiser(last, optimum)

    @property
    def curvature(self) -> float:
        """:meth:`hessian_bound` on the ball about 0 that holds the ends."""
        return self.hessian_bound(max(float(end.norm()) for end in self.ends))

    def hessian_bound(self, radius: float) -> float:
        """M = 3 ξ² R² + 2 ξ ‖a*‖ ≥ |vᵀ H v| / ‖v‖² for ‖θ‖ ≤ R; with ``x``, |y| in place of ‖a*‖."""
        return 3 * (self.scale * radius) ** 2 + 2 * self.scale * math.hypot(*self.target)

    def parts(self, theta: Theta) -> tuple[Float[Tensor, " d2"], Float[Tensor, "d2 d1"]]:
        """w₁ and w₂ of a model (P,)."""
        return theta[: self.width], theta[self.width :].view(self.width, -1)

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        w1, w2 = thetas[:, : self.width, None], thetas[:, self.width :].view(len(thetas), self.width, -1)
        outputs = (w1 * w2).sum(1)
        if self.x is not None:
            outputs = (outputs * thetas.new_tensor(self.x)).sum(1, keepdim=True)
        return (outputs - thetas.new_tensor(self.target)).square().sum(1)

    @property
    def _magnitude(self) -> float:
        outputs = self.width * (1.0 if self.x is None else sum(map(abs, self.x)))
        return sum((outputs + abs(target)) ** 2 for target in self.target)

    def pass_height(self, a: Theta, b: Theta) -> float:
        """‖a*‖² (y²), the loss at w₁ = 0, if d₂ = 1 and w₁ has opposite signs."""
        return sum(t * t for t in self.target) if self.width == 1 and a[0].sign() * b[0].sign() < 0 else NO_PASS

    def over_boxes(self, theta: list[Interval]) -> Interval:
        """The loss in interval arithmetic, of P coordinates: for :func:`weightstring.theory.minimax.decide`.

        >>> import numpy as np
        >>> box = [Interval(np.array([1.0]), np.array([1.0])), Interval(np.array([2.0]), np.array([2.5]))]
        >>> found = Quartic(width=1).over_boxes(box)
        >>> bool(found.low[0] <= 1.0 and 2.25 <= found.high[0] < 2.26)
        True
        """
        w1, w2 = theta[: self.width], theta[self.width :]
        columns = len(self.optimum)
        outputs = [total(w1[i] * w2[i * columns + j] for i in range(self.width)) for j in range(columns)]
        if self.x is not None:
            outputs = [total(output * x for output, x in zip(outputs, self.x, strict=True))]
        return total((output - y).square() for output, y in zip(outputs, self.target, strict=True))


@dataclass(frozen=True, kw_only=True)
class ReluQuartic(Surface):
    r"""L(w₁, w₂) = Σₖ (w₁ max(w₂ xₖ, 0) − yₖ)² for scalar inputs (15): θ = (w₁, w₂), P = 2 d₂.

    The network is c₊ max(x, 0) + c₋ max(−x, 0), c± = Σ w₁ᵢ |w₂ᵢ| over the units with w₂ᵢ ≷ 0, and the loss
    L₊(c₊) + L₋(c₋), both convex. So Γ is known for all pairs: for one example nothing is ever between two models; for
    inputs of both signs one unit cannot change its side but at c₊ = c₋ = 0, two cannot change places but at c₊ = 0 or
    c₋ = 0, and three can.

    Args:
        y: the outputs.
        x: the inputs, as many.
        width: d₂.

    >>> toy = ReluQuartic(x=(1.0, -1.0), y=(2.0, 1.0), width=2)
    >>> toy.gamma(*toy.ends)
    1.0
    """

    y: tuple[float, ...] = (1.0,)
    x: tuple[float, ...] = (1.0,)
    width: int = 1
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.x, *self.y)))
        if self.width < 1 or not self.x or len(self.x) != len(self.y) or not finite:
            raise InvalidSetting(
                f"ReluQuartic(y={self.y}, x={self.x}, width={self.width}): give one finite y for each x"
            )
        object.__setattr__(self, "size", 2 * self.width)
        super().__post_init__()

    @property
    def slopes(self) -> tuple[float, float]:
        """c₊ and c₋ of a minimiser for d₂ ≥ 2; 0 where no input has the sign."""
        return self._slope(1), self._slope(-1)

    def _slope(self, sign: int) -> float:
        pairs = [(x * sign, y) for x, y in zip(self.x, self.y, strict=True) if x * sign > 0]
        return sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs) if pairs else 0.0

    def _lowest(self, *slopes: float) -> float:
        outputs = (slopes[0] * max(x, 0) + slopes[1] * max(-x, 0) for x in self.x)
        return sum((output - y) ** 2 for output, y in zip(outputs, self.y, strict=True))

    @property
    def ends(self) -> tuple[Theta, Theta]:
        """A model and the one with two units exchanged; for one unit, one for each sign of x."""
        plus, minus = self.slopes
        if self.width == 1:
            return self._point(plus, 1.0), self._point(minus, -1.0) if minus else self._point(plus / 2, 2.0)
        rest, ones = [0.0] * (self.width - 2), [1.0] * (self.width - 2)
        return self._point(plus, minus, *rest, 1.0, -1.0, *ones), self._point(minus, plus, *rest, -1.0, 1.0, *ones)

    @property
    def curvature(self) -> float:
        """Σₖ 3 xₖ² R² + 2 |xₖ yₖ|, where the loss has a Hessian, on the ball about 0 that holds the ends."""
        square = max(float(end.square().sum()) for end in self.ends)
        return sum(3 * x * x * square + 2 * abs(x * y) for x, y in zip(self.x, self.y, strict=True))

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula of the class, (B, P) → (B,)."""
        w1, w2, x = thetas[:, : self.width, None], thetas[:, self.width :, None], thetas.new_tensor(self.x)
        return ((w1 * (w2 * x).clamp(min=0)).sum(1) - thetas.new_tensor(self.y)).square().sum(1)

    @property
    def _magnitude(self) -> float:
        return sum((self.width * abs(x) + abs(y)) ** 2 for x, y in zip(self.x, self.y, strict=True))

    def _enclosed(self, a: Theta, b: Theta, low: Tensor, high: Tensor) -> Tensor:
        """Of degree 4 where no w₂ᵢ changes its sign; where one does, the bound of the box about the piece."""
        first, last = (a * (1 - t[:, None]) + b * t[:, None] for t in (low, high))
        kinked = (first[:, self.width :].sign() * last[:, self.width :].sign() < 0).any(1)
        box = coordinates(torch.minimum(first, last).cpu().numpy(), torch.maximum(first, last).cpu().numpy())
        upper = torch.from_numpy(self.over_boxes(box).high).to(a.device)
        return torch.where(kinked, upper, super()._enclosed(a, b, low, high))

    def pass_height(self, a: Theta, b: Theta) -> float:
        """Between opposite w₂ (d₂ = 1) L(0); between (+, −) and (−, +) (d₂ = 2) the lowest loss with c₊ or c₋ = 0."""
        opposite = bool((a[self.width :].sign() * b[self.width :].sign() < 0).all())
        plus, minus = self.slopes
        if opposite and self.width == 1:
            return self._lowest(0.0, 0.0)
        if opposite and self.width == 2 and a[2].sign() * a[3].sign() < 0:
            return min(self._lowest(plus, 0.0), self._lowest(0.0, minus))
        return NO_PASS

    def over_boxes(self, theta: list[Interval]) -> Interval:
        """As :meth:`Quartic.over_boxes`."""
        w1, w2 = theta[: self.width], theta[self.width :]
        outputs = (total(w1[i] * (w2[i] * x).relu() for i in range(self.width)) for x in self.x)
        return total((output - y).square() for output, y in zip(outputs, self.y, strict=True))


def minimiser(
    w1: Float[Tensor, " d2"], a: Float[Tensor, " d1"], orthogonal: Float[Tensor, "d2 d1"] | None = None
) -> Theta:
    """A minimiser θ (P,) of the quartic: w₂ = (w₁ᵀ/‖w₁‖²) a* + what of ``orthogonal`` is orthogonal to w₁ (8).

    Raises:
        InvalidSetting: w₁ = 0, whose product is never a*.

    >>> minimiser(torch.tensor([2.0, 0.0]), torch.tensor([3.0]))
    tensor([2.0000, 0.0000, 1.5000, 0.0000])
    """
    if not w1.any():
        raise InvalidSetting("minimiser: w1 = 0, and w1 w2 = 0 whatever w2 is; give a w1 that is not 0")
    free = torch.zeros(len(w1), len(a)).to(w1) if orthogonal is None else orthogonal
    return join(w1, free + torch.outer(w1, a - w1 @ free) / w1.square().sum())


def join(w1: Tensor, w2: Tensor) -> Theta:
    """θ (P,) of w₁ and w₂."""
    return torch.cat([w1, w2.flatten()])
