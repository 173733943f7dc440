"""How many directions have no effect on the loss (Section IV): the whole spectrum of the Hessian at a model.

Of small networks every eigenvalue; of larger ones their density, by Lanczos quadrature: for a random unit vector v the
eigenvalues of Lanczos' tridiagonal matrix after k products, weighed with the squared first components of its
eigenvectors, are the Gauss quadrature of the density vᵀδ(λ − H)v, whose mean over v is the spectrum's, 1/P Σ δ(λ − λᵢ)
(Lin, Saad & Yang 2016, arXiv:1308.5467; Ghorbani et al. 2019, arXiv:1901.10159).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path.lanczos import DENSE, Multiply
from weightstring.path.sharpness import products_of
from weightstring.protocol import LossProblem
from weightstring.randomness import generator

EXACT = 1024
"""Parameters up to which every eigenvalue is computed unless told otherwise: P products, and P² numbers."""

TOGETHER = 64
"""Products that share the graph of one gradient."""

ZERO = 1e-12
"""The part of a vector's product that is left of it once it lies in the space already known: then Lanczos ends."""


@dataclass(frozen=True)
class HessianSpectrum:
    """The eigenvalues of a Hessian, or a quadrature of their density.

    Args:
        values: λ (n,), rising.
        weights: the share of directions at each, (n,), with the sum 1; 1/P each where exact.
        exact: whether these are all the eigenvalues.
        products: Hessian products spent.

    >>> half = torch.full((2,), 0.5, dtype=torch.float64)
    >>> spectrum = HessianSpectrum(torch.tensor([0.001, 4.0], dtype=torch.float64), half, True, 2)
    >>> spectrum.flat_share(1e-2), spectrum.flat_share(1e-4)
    (0.5, 0.0)
    """

    values: Float64[Tensor, " n"]
    weights: Float64[Tensor, " n"]
    exact: bool
    products: int

    @property
    def largest(self) -> float:
        """The largest |λ|."""
        return float(self.values.abs().amax())

    def flat_share(self, relative: float) -> float:
        """The share of directions whose curvature is at most so large in size, relative to the largest: |λ| ≤ r |λ|max.

        Along such a direction the loss changes, to second order, by at most r of what the same step changes it by
        along the sharpest one. Neither scaling the loss nor measuring all of θ in another unit changes the share.

        Args:
            relative: r ∈ [0, 1).

        Raises:
            InvalidSetting: r is not in [0, 1).
        """
        return self.flat_below(self._cut("flat_share", relative))

    def flat_below(self, curvature: float) -> float:
        """The share of directions with |λ| ≤ ``curvature``: a step of length r there changes the loss by ≤ ½ λ r²."""
        return float(self.weights[self.values.abs() <= curvature].sum())

    def negative_share(self, relative: float) -> float:
        """The share of directions that curve down, λ < −r |λ|max.

        Raises:
            InvalidSetting: r is not in [0, 1).
        """
        return float(self.weights[self.values < -self._cut("negative_share", relative)].sum())

    def _cut(self, where: str, relative: float) -> float:
        if not 0 <= relative < 1:
            raise InvalidSetting(f"{where}: relative = {relative} is not in [0, 1): give a share of the largest |λ|")
        return relative * self.largest


def hessian_spectrum(
    problem: LossProblem,
    theta: Theta,
    *,
    exact: bool | None = None,
    probes: int = 8,
    steps: int = 64,
    seed: int = 0,
) -> HessianSpectrum:
    """The spectrum of the Hessian of the training loss on all training examples at θ.

    Exact: H column by column, P Hessian products of about three gradients each, and P² float64 numbers. Otherwise the
    mean of ``probes`` quadratures of ``steps`` products each, with steps · P numbers: a quadrature resolves the large
    eigenvalues first, a flat share of it has an error of the order of 1/√(probes · P) from the draw, and what lies
    within about |λ|max/steps² of a cut may be counted on either side. Kinks (ReLU) have no part in H.

    Args:
        problem: the loss, with exact Hessian products, as a :class:`~weightstring.problem.ModuleProblem` has.
        theta: the model (P,).
        exact: every eigenvalue, or a density; None: by whether P is at most :data:`EXACT`. Of very few parameters a
            density costs more, so that they are always exact.
        probes: random vectors.
        steps: products for each.
        seed: of the vectors.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        InvalidSetting: no probes or steps, or a product that is not finite.
        Unsupported: the problem has no Hessian products, or autograd cannot differentiate it twice.

    >>> from weightstring.problem import ModuleProblem
    >>> data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1)
    >>> problem = ModuleProblem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data)
    >>> hessian_spectrum(problem, torch.ones(2)).values.tolist()  # of the loss (9 θ₁² + θ₂²) / 2
    [1.0, 9.0]
    """
    for name, value in (("probes", probes), ("steps", steps)):
        if not isinstance(value, int) or value < 1:
            raise InvalidSetting(f"hessian_spectrum({name}={value!r}): give a whole number, at least 1")
    multiply = products_of(problem, theta, "hessian_spectrum")
    size = problem.size
    if size <= (DENSE if exact is False else EXACT) or exact:
        matrix = torch.cat([multiply(axes) for axes in torch.split(torch.eye(size, dtype=torch.float64), TOGETHER)])
        values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
        return HessianSpectrum(values, torch.full((size,), 1 / size, dtype=torch.float64), True, size)
    draws = []
    for probe in range(probes):
        draw = generator(seed, "hessian spectrum", str(probe))
        draws.append(
            _quadrature(
                lambda vector: multiply(vector[None])[0], torch.randn(size, generator=draw, dtype=torch.float64), steps
            )
        )
    values, weights = (torch.cat(parts) for parts in zip(*draws, strict=True))
    order = values.argsort()
    spent = sum(len(nodes) for nodes, _ in draws)
    return HessianSpectrum(values[order], weights[order] / probes, False, spent)


def _quadrature(
    multiply: Multiply, first: Float64[Tensor, " P"], steps: int
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Nodes and weights of Gauss' rule for the density seen by one vector, by Lanczos, orthogonalized in full."""
    basis = [first / first.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        product = multiply(basis[-1])
        size = float(product.norm())
        diagonal.append(float(basis[-1] @ product))
        for _ in range(2):  # once is not enough in floating point
            known = torch.stack(basis)
            product = product - known.T @ (known @ product)
        rest = float(product.norm())
        if len(basis) == min(steps, len(first)) or rest <= ZERO * size:
            break
        beside.append(rest)
        basis.append(product / rest)
    inner = torch.tensor(diagonal, dtype=torch.float64).diag()
    outer = torch.tensor(beside, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(inner + torch.diag(outer, 1) + torch.diag(outer, -1))
    return values, vectors[0].square()
