"""κ, the largest curvature of the loss: the largest eigenvalue of its Hessian, often called sharpness (Section IV)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.path.lanczos import spectrum
from weightstring.path.objective import check_theta
from weightstring.path.string import WeightString
from weightstring.protocol import Curved, LossProblem


class Sharpness(NamedTuple):
    """The largest eigenvalue of a Hessian, as Lanczos finds it.

    Args:
        kappa: κ = vᵀHv of the unit vector v found: the largest eigenvalue is at least that.
        residual: ‖Hv − κv‖: some eigenvalue is that near to κ.
        products: Hessian products spent.
    """

    kappa: float
    residual: float
    products: int


def sharpness(problem: LossProblem, theta: Theta, seed: int = 0) -> Sharpness:
    """κ(θ) = max vᵀHv over unit vectors v, H the Hessian of the training loss on all training examples at θ.

    The largest eigenvalue, not the largest in size: it may be negative. H is never formed: Lanczos multiplies −H with
    vectors, each product costs about three gradients. Kinks (ReLU) have no part in H: it is the Hessian of the smooth
    piece of the loss on which θ lies.

    Args:
        problem: the loss, with exact Hessian products, as a :class:`~weightstring.problem.ModuleProblem` has.
        theta: the model (P,).
        seed: of Lanczos' first vector.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        InvalidSetting: a product is not finite, or Lanczos does not converge.
        Unsupported: the problem has no Hessian products, or autograd cannot differentiate it twice.

    >>> import torch
    >>> from weightstring.problem import ModuleProblem
    >>> data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1)
    >>> problem = ModuleProblem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data)
    >>> sharpness(problem, torch.ones(2)).kappa  # of the loss (9 θ₁² + θ₂²) / 2
    9.0
    """
    multiply, spent = products_of(problem, theta, "curvature"), 0

    def downwards(vector: Float64[Tensor, " P"]) -> Float64[Tensor, " P"]:
        """−H v, whose smallest eigenvalue is sought."""
        nonlocal spent
        spent += 1
        return -multiply(vector[None])[0]

    ends = spectrum(downwards, problem.size, seed)
    if ends.smallest is None or ends.residual is None:
        raise InvalidSetting(
            f"curvature: Lanczos did not converge on {problem.size} parameters: try another seed, or a float64 problem"
        )
    return Sharpness(0.0 - ends.smallest, ends.residual, spent)  # 0 of a Hessian that is 0, not −0


@dataclass(frozen=True)
class Place:
    """κ at one place of a string.

    Args:
        s: the share of the string's length before it, in [0, 1].
        bead: the bead's number; None between two.
        sharpness: κ there, of the *training* loss.
    """

    s: float
    bead: int | None
    sharpness: Sharpness


def along(problem: LossProblem, string: WeightString, between: int = 1, seed: int = 0) -> Iterator[Place]:
    """κ at each bead and at places evenly spaced on each segment, from the first end to the last, as they are found.

    Args:
        problem: the loss, with exact Hessian products.
        string: a path.
        between: places on each segment; 0: only the beads.
        seed: of Lanczos' first vector.

    Raises:
        InvalidSetting, InvalidCheckpoint, Unsupported: see :func:`sharpness`.

    >>> import torch
    >>> from weightstring.problem import ModuleProblem
    >>> data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1)
    >>> problem = ModuleProblem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data)
    >>> string = WeightString(problem, torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]]))
    >>> [(place.s, place.bead, place.sharpness.kappa) for place in along(problem, string)]
    [(0.0, 0, 9.0), (0.125, None, 9.0), (0.25, 1, 9.0), (0.625, None, 9.0), (1.0, 2, 9.0)]
    """
    lengths = [float((b.double() - a.double()).norm()) for a, b in zip(string.beads, string.beads[1:], strict=False)]
    whole, passed = sum(lengths), 0.0
    for number, start in enumerate(string.beads):
        yield Place(passed / whole if whole else 0.0, number, sharpness(problem, start, seed))
        if number == len(lengths):
            return
        end = string.beads[number + 1]
        for i in range(1, between + 1):
            share = i / (between + 1)
            theta = start + share * (end - start)
            s = (passed + share * lengths[number]) / whole if whole else 0.0
            yield Place(s, None, sharpness(problem, theta, seed))
        passed += lengths[number]


def products_of(
    problem: LossProblem, theta: Theta, where: str
) -> Callable[[Float64[Tensor, "k P"]], Float64[Tensor, "k P"]]:
    """What multiplies v (k, P) by H: float64 on the CPU, H the Hessian of the loss on all training examples at θ.

    Args:
        problem: the loss.
        theta: the model (P,).
        where: what asks, for messages.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        Unsupported: the problem has no Hessian products. What is returned raises it where autograd cannot
            differentiate the loss twice, and InvalidSetting where a product is not finite.
    """
    check_theta(problem, theta, "the model")
    if not isinstance(problem, Curved):
        raise Unsupported(
            f"{where}: a {type(problem).__name__} has no hessian_products(theta, vectors, rows): give it this method"
        )
    curved = problem

    def multiply(vectors: Float64[Tensor, "k P"]) -> Float64[Tensor, "k P"]:
        try:
            products = curved.hessian_products(theta, vectors.to(theta), None)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise Unsupported(
                f"{where}: autograd cannot differentiate the training loss twice ({reason}): "
                "replace that operation by one that it can"
            ) from error
        if not products.isfinite().all():
            raise InvalidSetting(f"{where}: a product of the Hessian at this θ is not finite: give another θ")
        return products.cpu().double()

    return multiply
