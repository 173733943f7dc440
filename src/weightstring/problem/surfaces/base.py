"""What all losses given by a formula have in common."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Rows, Theta, Thetas, Values
from weightstring.errors import InvalidCheckpoint, InvalidSetting, Unsupported
from weightstring.problem.bernstein import upper_bound
from weightstring.problem.hessian import products
from weightstring.protocol import Gradient
from weightstring.recipe import Recipe

NO_PASS = -math.inf
"""Height of the pass between two points that nothing separates."""


@dataclass(frozen=True, kw_only=True)
class Surface(ABC):
    """An analytic loss over θ ∈ R^P with a known Γ; a subclass is one formula.

    Args:
        size: P ≥ 2.
        dtype: floating dtype of θ, in which the formula is evaluated.
        device: where θ lives.

    Raises:
        InvalidSetting: P < 2, a dtype that is not floating, or a number out of its range.
    """

    size: int = 2
    dtype: torch.dtype = torch.float64
    # Where a loss is computed is no part of what it is, so repr and fingerprint leave it out.
    device: torch.device = field(default=torch.device("cpu"), repr=False)

    quantities: ClassVar[tuple[str, ...]] = ("loss",)
    evaluation: ClassVar[str] = "evaluate"
    train_size: ClassVar[int] = 1
    batch_size: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.size < 2:
            raise InvalidSetting(f"{self._name}: size = {self.size}, but a surface needs P >= 2; give size=2 or more")
        if not self.dtype.is_floating_point:
            raise InvalidSetting(f"{self._name}: dtype = {self.dtype} is not floating; give torch.float64 or float32")

    @property
    @abstractmethod
    def ends(self) -> tuple[Theta, Theta]:
        """A natural pair of ends, each (P,)."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """A bound on the largest eigenvalue of the Hessian between the ends."""

    @abstractmethod
    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The formula, row by row, in the dtype of θ and differentiable."""

    @abstractmethod
    def pass_height(self, a: Theta, b: Theta) -> float:
        """The loss that every path from a (P,) to b (P,) must climb to between them; −inf if nothing is between."""

    @property
    def recipe(self) -> Recipe:
        """Plain gradient descent at 1/curvature: it never climbs, and commutes with shifts and reflections."""
        return Recipe("sgd", {"lr": 1 / self.curvature}, check_every=5, patience=20, max_steps=5_000)

    def upper_bounds(
        self, a: Theta, b: Theta, low: Float64[Tensor, " I"], high: Float64[Tensor, " I"]
    ) -> Float64[Tensor, " I"]:
        """No less than the loss on (1 − t) a + t b for t in each interval [low, high]: the surface's enclosure.

        Raises:
            InvalidCheckpoint: the ends do not have P parameters of the surface's dtype.

        >>> from weightstring.problem.surfaces import Spike
        >>> spike, whole = Spike(), torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> bool(spike.upper_bounds(*spike.ends, whole[:1], whole[1:])[0] >= spike.chord_maximum)
        True
        """
        self._check(torch.stack([a, b]))
        first, last = a.double(), b.double()
        # Rounding, of the place and of each of the formula's terms, which are of degree 4 at most.
        reach = max(1.0, self._reach(first), self._reach(last))
        slack = 2.0**-44 * self._magnitude * self.size * reach**4
        return self._enclosed(first, last, low, high) + slack

    def _enclosed(self, a: Theta, b: Theta, low: Tensor, high: Tensor) -> Tensor:
        """As :meth:`upper_bounds`, but for rounding. Unless overridden: for a formula of degree 4 in θ."""
        at = torch.linspace(0, 1, 5, dtype=torch.float64, device=a.device).unsqueeze(1)
        ts = (low + (high - low) * at).unsqueeze(-1)
        points = a * (1 - ts) + b * ts
        return upper_bound(self.loss(points.flatten(0, 1)).view(5, -1))

    def _reach(self, theta: Theta) -> float:
        """The largest coordinate."""
        return float(theta.abs().amax())

    @property
    def _magnitude(self) -> float:
        """No less than any term of the formula where all coordinates are at most 1 in size."""
        raise Unsupported(f"{self._name} gives no enclosure of its own: its strings can be sampled but not certified")

    def gamma(self, a: Theta, b: Theta) -> float:
        """Γ(a, b), Eq. (3): the lowest maximum of the loss on any continuous path from a (P,) to b (P,).

        Exact up to the rounding of the formula in ``dtype``.

        Raises:
            InvalidCheckpoint: an end does not have P parameters of the surface's dtype.

        >>> from weightstring.problem.surfaces import TwoWells
        >>> surface = TwoWells(saddle=2.0)
        >>> surface.gamma(*surface.ends)
        2.0
        """
        losses = [self.measure(end[None])["loss"].item() for end in (a, b)]
        return max(*losses, self.pass_height(a, b))

    def measure(self, thetas: Thetas, quantities: Sequence[str] = ("loss",)) -> dict[str, Values]:
        """Measure B models (B, P): float64 values (B,) on the CPU, by name.

        Raises:
            InvalidCheckpoint: the models do not have P parameters of the surface's dtype.
            InvalidSetting: a quantity other than ``"loss"``.

        >>> from weightstring.problem.surfaces import Ring
        >>> surface = Ring()
        >>> surface.measure(torch.zeros(1, 2, dtype=torch.float64))
        {'loss': tensor([1.], dtype=torch.float64)}
        """
        self._check(thetas)
        for name in quantities:
            if name not in self.quantities:
                raise InvalidSetting(f"{self._name} cannot measure {name!r}; an analytic surface has only 'loss'")
        with torch.no_grad():
            values = self.loss(thetas).to("cpu", torch.float64)
        return dict.fromkeys(quantities, values)

    def gradient(self, thetas: Thetas, rows: Rows | None = None) -> Gradient:
        """Losses (B,) of B models (B, P) and their gradients (B, P).

        ``rows`` changes nothing: a surface is its own only training example.

        Raises:
            InvalidCheckpoint: the models do not have P parameters of the surface's dtype.
        """
        self._check(thetas)
        with torch.enable_grad():
            leaf = thetas.detach().requires_grad_()
            losses = self.loss(leaf)
            (gradients,) = torch.autograd.grad(losses.sum(), leaf)
        return Gradient(losses.detach(), gradients)

    def hessian_products(self, theta: Theta, vectors: Thetas, rows: Int64[Tensor, " n"] | None = None) -> Thetas:
        """The products H v (k, P) of the Hessian at θ (P,) with vectors (k, P); ``rows`` changes nothing.

        Raises:
            InvalidCheckpoint: θ or the vectors do not have P numbers of the surface's dtype.

        >>> from weightstring.problem.surfaces import Ring
        >>> axes = torch.eye(2, dtype=torch.float64)
        >>> Ring(radii=(1.0, 2.0)).hessian_products(axes[0], axes)
        tensor([[8., 0.],
                [0., 0.]], dtype=torch.float64)
        """
        self._check(theta[None])
        self._check(vectors)
        return products(lambda leaf: self.loss(leaf[None])[0], theta, vectors)

    def fingerprint(self) -> str:
        """SHA-256 of the formula's name, its numbers and the recipe.

        >>> from weightstring.problem.surfaces import Ring, TwoWells
        >>> TwoWells().fingerprint() == TwoWells(saddle=1.0).fingerprint() != Ring().fingerprint()
        True
        """
        return hashlib.sha256(f"{self!r} {self.recipe!r}".encode()).hexdigest()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check(self, thetas: Thetas) -> None:
        if thetas.ndim != 2 or thetas.shape[1] != self.size or thetas.dtype != self.dtype:
            raise InvalidCheckpoint(
                f"{self._name}: θ has shape {tuple(thetas.shape)} and dtype {thetas.dtype}, expected models as rows "
                f"(B, {self.size}) of {self.dtype}; reshape or convert them"
            )

    def _require_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InvalidSetting(
                    f"{self._name}: {name} = {value} is not positive and finite; give a number above 0"
                )

    def _point(self, *first: float) -> Theta:
        """The θ (P,) that begins with these coordinates; the others are 0."""
        return torch.tensor([*first, *[0.0] * (self.size - len(first))], dtype=self.dtype, device=self.device)
