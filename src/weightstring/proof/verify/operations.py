"""What verification knows of torch's ATen operators: a table. What is not in it cannot be verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from weightstring.proof.verify.curves import Array, Curve, constant
from weightstring.registry import Registry


class At(NamedTuple):
    """Where an operation stands.

    Args:
        name: the operator.
        shape: of its result.
        share: of the examples of a mean, those at hand.
        part: what a sum over those at hand is times: 1, or the share where no example enters what is summed.
        total: of all examples, how many.
        dtype: of the parameters.
        entire: an argument by its place, of all examples of the mean.
        target: the operator itself.
        generators: how many a :class:`~weightstring.proof.verify.zonotopes.Zonotope` may have.
    """

    name: str
    shape: tuple[int, ...]
    share: float
    part: float
    total: int
    dtype: torch.dtype
    entire: Callable[[int], Any]
    target: Any
    generators: int = 0


class Loss(NamedTuple):
    """Upper bounds of a mean: the part that the examples at hand have in it.

    Args:
        above: (3,) a polynomial in s, u₀ + u₁ s + u₂ s², nowhere below the part.
        printed: by how much more rounding may put what torch computes in float64 in its own way.
    """

    above: Array
    printed: float = 0.0

    @property
    def size(self) -> float:
        """Of its terms together."""
        return float(np.abs(self.above).sum())

    @property
    def most(self) -> float:
        """No less than it is anywhere."""
        middle, steep, bend = map(float, self.above)
        inside = bend < 0 and abs(steep) < -2 * bend
        return middle + (abs(steep) * (abs(steep) / (-4 * bend)) if inside else abs(steep) + bend)


OPERATIONS: Registry[Callable[..., Any]] = Registry("verification rule", group="weightstring.verification_rules")
"""What operators do to curves, by their names as in certificate rules: ``linear.default``."""


class NotVerifiable(Exception):
    """An operation that verification does not know."""


class Deferred:
    """What is better taken as it is said, and is a curve for everything else."""

    def curve(self) -> Curve:
        """It."""
        raise NotImplementedError


def curve_of(x: Any) -> Curve:
    """A curve, or numbers as one that does not move."""
    if isinstance(x, Curve):
        return x
    if isinstance(x, Deferred):
        return x.curve()
    if isinstance(x, np.ndarray | int | float):
        return constant(x)
    raise NotVerifiable(f"it takes a {type(x).__name__}")


def data_of(x: Any, what: str = "an argument") -> Any:
    """Numbers that do not depend on θ."""
    if not isinstance(x, np.ndarray):
        raise NotVerifiable(f"{what} depends on θ")
    return x


def array(tensor: torch.Tensor) -> Any:
    """A tensor's numbers: those with a point as float64, which holds all of them."""
    numbers = tensor.detach().cpu()
    return (numbers.double() if numbers.is_floating_point() else numbers).numpy()


def tensor(values: Any) -> torch.Tensor:
    """Numbers as a tensor."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))
