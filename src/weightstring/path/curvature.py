"""Whether a point of the string is a pass: slope and smallest curvature across it.

A search that is stuck at the maximum of a segment either stands on a slope that its descent did not follow, on a
saddle that a small push would leave, or on a pass, from which nothing leads down but the string itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Theta, dot, is_finite
from weightstring.errors import InvalidSetting
from weightstring.path.hyperplane import HessianProducts, Hyperplane, step_at
from weightstring.path.lanczos import spectrum
from weightstring.path.objective import check_theta
from weightstring.path.segment import Segment
from weightstring.path.thin import Projection, spectrum_in_passing
from weightstring.problem.capabilities import units_of
from weightstring.protocol import LossProblem
from weightstring.randomness import generator, some_of

REACH = 0.1
"""The longest step across the string for which the slope there is trusted, in lengths of the segment."""

GAIN = 0.01
"""The part of the barrier that such a step must take off to count as a way down: less is the noise of a sample."""

FLAT = 1e-6
"""The slope that is nothing but rounding: of that which the largest curvature makes on such a step."""

CURVED = 1e-4
"""How negative a curvature must be to count, relative to the largest: products in float32 are known to 1e-5."""

VECTORS = 20
"""What Lanczos keeps, each of P float64 numbers."""

KEPT_BYTES = 1 << 28
"""What these may take."""

FEW_EXAMPLES = 64
"""Training examples looked at, at most, where they would take more."""

Verdict = Literal["gradient", "curvature", "none"]


@dataclass(frozen=True)
class Curvature:
    """Slope and curvature of the training loss at a point of a segment with unit direction n.

    Args:
        gradient: ‖∇L‖.
        across: ‖∇L − (n·∇L) n‖, the slope across the string.
        along: nᵀHn, the curvature along it: negative at a maximum.
        smallest: λ, the smallest eigenvalue of H on the hyperplane perpendicular to n, as vᵀHv of a unit vector
            v in it: the true one is at most that. Of a large model v is never formed: λ is the smallest eigenvalue of
            Lanczos' tridiagonal matrix, which is vᵀHv up to rounding. None where Lanczos did not converge, or P = 1.
        residual: ‖Hv − λv‖ in the hyperplane, of a large model as that matrix tells it; some eigenvalue is that near
            to λ. None where λ is.
        largest: the largest |eigenvalue| of H on the hyperplane, to a few percent.
        gain: by how much a step down the slope across lowers the loss: max over 0 ≤ s ≤ :data:`REACH` · length of
            s‖g‖ − ½ s² gᵀHg/‖g‖², g the gradient across. As the curvature, by the quadratic model.
        barrier: how far the loss stands above the lower of the segment's ends.
        length: of the segment.
        examples: training examples, or batches, on which all of this is measured.
        evaluations: Hessian products spent.
        exact: whether the products are exact, and not differences of gradients.
        units: which of the two they are.

    >>> from weightstring.problem.surfaces import Ring
    >>> surface = Ring()  # its centre is a maximum in both directions
    >>> curvature_across(surface, Segment(*torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double()), 0.5).verdict
    'curvature'
    """

    gradient: float
    across: float
    along: float
    smallest: float | None
    residual: float | None
    largest: float
    gain: float
    barrier: float
    length: float
    examples: int
    evaluations: int
    exact: bool
    units: str = "examples"

    @property
    def verdict(self) -> Verdict:
        """Which descent direction across the string there is.

        - ``"gradient"``: a step down the slope takes more than :data:`GAIN` off the barrier, and the slope is more
          than rounding, :data:`FLAT` · largest · :data:`REACH` · length;
        - ``"curvature"``: there is no such slope, but λ < −:data:`CURVED` · largest; where the products are
          differences also λ < −residual;
        - ``"none"``: neither was found.

        All three stay the same where the loss is multiplied by a number or raised by one, and where θ is
        measured in another unit.
        """
        rounding = FLAT * self.largest * REACH * self.length
        if self.gain > GAIN * self.barrier and self.across > rounding:
            return "gradient"
        if self.smallest is None or self.residual is None:
            return "none"
        # A unit vector with vᵀHv < 0 is a way down, whatever the residual, if Hv is what it says.
        noise = max(CURVED * self.largest, 0.0 if self.exact else self.residual)
        return "curvature" if self.smallest < -noise else "none"

    def __str__(self) -> str:
        """One sentence to act on."""
        seen = f"(slope {self.across:.3g}, {self._bend}, on {self.examples} training {self.units})"
        if self.verdict == "gradient":
            return (
                f"the training loss falls across the string, by {self.gain:.3g} in one step where the barrier is "
                f"{self.barrier:.3g}: descend further from here, with more steps or another learning rate {seen}"
            )
        if self.verdict == "curvature":
            return (
                "no slope across the string, but the training loss curves down there: push the model off at random, a "
                f"little, and descend again {seen}"
            )
        if self.smallest is None:
            return f"no slope across the string, and no smallest curvature found: nothing is decided {seen}"
        return (
            "no way down across the string, neither by slope nor by curvature: raise the threshold, or start from "
            f"further off to go another way {seen}"
        )

    @property
    def _bend(self) -> str:
        if self.smallest is None:
            return f"largest curvature {self.largest:.3g}"
        return f"smallest curvature {self.smallest:.3g} ± {self.residual:.1g}, largest in size {self.largest:.3g}"


def curvature_across(
    problem: LossProblem, segment: Segment, t: float, *, examples: int = 1000, seed: int = 0
) -> Curvature:
    """Slope and curvature of the training loss across a segment, at Θ(a, b, t).

    The smallest eigenvalue is found by Lanczos (ARPACK), on the hyperplane alone: a reflection takes n to the first
    axis, which is then left out, so that no eigenvalue of n has to be told from the others. It holds about
    twenty vectors of P float64 numbers, and costs tens to hundreds of Hessian products. Where twenty such vectors take
    more than :data:`KEPT_BYTES`, Lanczos keeps none of them instead (:mod:`weightstring.path.thin`): four vectors like
    θ and at most two dozen products, on :data:`FEW_EXAMPLES` examples at most; λ is then further from the true
    eigenvalue, as the residual says, and both are those of Lanczos' tridiagonal matrix.

    Where the problem has no exact products (:class:`~weightstring.protocol.Curved`), or autograd cannot
    differentiate it twice, they are central differences of gradients, (∇L(θ + hv) − ∇L(θ − hv)) / 2h with
    h = ε^(1/3) · max(‖θ‖, length) / 10, ε of θ's dtype: right to about 1e-10 in float64 and 1e-4 in float32 on
    smooth networks. Kinks (ReLU) have no part in an exact Hessian, but those between θ ± hv do in the
    differences, which in float32 are then little more than a hint.

    Args:
        problem: the loss.
        segment: of the string.
        t: where on it, usually its maximum.
        examples: training examples to measure on, in one piece: of a larger training set, a sample drawn once. Of
            batches and for large models no more than :data:`FEW_EXAMPLES`.
        seed: of the sample and of Lanczos' first vector.

    Raises:
        InvalidCheckpoint: the segment's ends are not models of this problem.
        InvalidSetting: t outside [0, 1], no examples, equal ends, a loss or gradient that is not finite, or
            examples that do not fit into memory.

    >>> from weightstring.problem.surfaces import TwoWells
    >>> surface = TwoWells(size=5, bend=0.0)  # over the saddle at the origin, with curvature 4 across
    >>> found = curvature_across(surface, Segment(*surface.ends), 1 / 2.4)
    >>> print(f"{found.smallest:.3f}", found.along < 0, found.verdict)
    4.000 True none
    """
    _check(problem, segment, t, examples)
    theta = segment.point(t)
    units = units_of(problem)
    if (large := VECTORS * 8 * len(theta) > KEPT_BYTES) or units == "batches":  # which may be large each
        examples = min(examples, FEW_EXAMPLES)
    rows = _rows(problem, examples, seed)
    across: Hyperplane | Projection = Projection(segment) if large else Hyperplane.across(segment)
    losses, slope = (_slope_apart if large else _slope)(problem, segment, theta, rows)
    gradient, down = float(slope.norm()), across.restrict(slope)
    del slope
    hessian = HessianProducts(problem, theta, rows, step_at(theta, segment))
    along = _bend(hessian, across.normal)
    slant = float(down.norm())
    gain = _gain(hessian, across.embed(down), REACH * segment.length)
    size = len(down)
    del down

    def multiply(x: Float[Tensor, " Q"]) -> Float[Tensor, " Q"]:
        return across.restrict(hessian(across.embed(x)))

    def draw() -> Theta:
        noise = torch.randn(size, generator=generator(seed, "curvature", "start"))
        return across.restrict(noise.to(theta))

    ends = spectrum_in_passing(multiply, draw) if large else spectrum(multiply, size, seed)
    return Curvature(
        gradient=gradient,
        across=slant,
        along=along,
        smallest=ends.smallest,
        residual=ends.residual,
        largest=ends.largest,
        gain=gain,
        barrier=losses[0] - min(losses),
        length=segment.length,
        examples=len(rows),
        evaluations=hessian.evaluations,
        exact=hessian.exact,
        units=units,
    )


def _check(problem: LossProblem, segment: Segment, t: float, examples: int) -> None:
    for end, name in ((segment.a, "the segment's first end"), (segment.b, "the segment's last end")):
        check_theta(problem, end, name)
    if not 0 <= t <= 1:
        raise InvalidSetting(f"t={t!r} is not on the segment: give a position in [0, 1]")
    if not isinstance(examples, int) or examples < 1:
        raise InvalidSetting(f"examples={examples!r}: give a number of training examples, at least 1")
    if not segment.length:
        raise InvalidSetting("the segment's ends are one model, so that it has no direction: give two different ones")


def _rows(problem: LossProblem, examples: int, seed: int) -> Int64[Tensor, " n"]:
    """The training examples, always by number: dropout draws from these, so that nearby models see equal masks."""
    count = problem.train_size
    if count <= examples:
        return torch.arange(count)
    rows: Tensor = some_of(count, examples, generator(seed, "curvature", "rows")).sort().values
    return rows


def _slope(
    problem: LossProblem, segment: Segment, theta: Theta, rows: Int64[Tensor, " n"]
) -> tuple[list[float], Float64[Tensor, " P"]]:
    """Training losses of θ and of the segment's ends on the same examples, and the gradient at θ."""
    models = torch.stack([theta, segment.a, segment.b])
    losses, gradients = problem.gradient(models, rows.expand(3, -1).contiguous())
    return _finite(losses.cpu().double().tolist(), gradients[0].cpu().double())


def _slope_apart(
    problem: LossProblem, segment: Segment, theta: Theta, rows: Int64[Tensor, " n"]
) -> tuple[list[float], Theta]:
    """The same, one model after the other, the gradient as it is."""
    ends = [float(problem.gradient(end[None], rows[None]).losses) for end in (segment.a, segment.b)]
    loss, gradient = problem.gradient(theta[None], rows[None])
    return _finite([float(loss), *ends], gradient[0])


def _finite(losses: list[float], gradient: Theta) -> tuple[list[float], Theta]:
    """Both, refused where they are not finite."""
    if not (all(map(math.isfinite, losses)) and is_finite(gradient)):
        raise InvalidSetting(
            f"the training losses there and at the segment's ends are {losses}, with a gradient of norm "
            f"{float(gradient.norm())}: curvature needs finite numbers; give another t or segment"
        )
    return losses, gradient


def _bend(hessian: HessianProducts, unit: Float[Tensor, " P"]) -> float:
    """uᵀHu of a unit vector."""
    return dot(unit, hessian(unit))


def _gain(hessian: HessianProducts, down: Float[Tensor, " P"], reach: float) -> float:
    """What the best step down a slope, of length at most ``reach``, gains by the quadratic model."""
    slope = float(down.norm())
    if not slope:
        return 0.0
    bend = _bend(hessian, down / slope)
    step = min(reach, slope / bend) if bend > 0 else reach
    return step * slope - bend * step**2 / 2
