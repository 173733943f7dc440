"""What an engine is, and what all engines share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Rows, Thetas, aligned
from weightstring.descent.stepping import Update
from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.memory import DoesNotFit, is_out_of_memory
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.digests.digest import tensor_bytes
from weightstring.problem.engines.parts import in_parts
from weightstring.problem.initialise import seeded
from weightstring.problem.live import pure
from weightstring.problem.losses.means import REMEDY, Kind, Number, Wanted, Weighed
from weightstring.protocol import Gradient
from weightstring.registry import Registry

BESIDE = 2
"""The least models in one call of those that compute several: PyTorch treats one otherwise."""

SALT = b"weightstring training draws"


class Unavailable(InvalidModel):
    """The engine could compute this on another machine: what it needs is not on this one."""


Losses = Callable[[Thetas, Rows | None, DataSet], Weighed]
"""Training losses (B,) of B models (B, P) on their rows (None: on all examples), differentiable, and weights (B,)."""

Differentiate = Callable[[Thetas, Rows | None, DataSet], tuple[Gradient, Number]]
"""Losses and gradients of B models on their rows (None: on all examples) by one pass, and the losses' weights."""


@dataclass(frozen=True, eq=False)
class Workload:
    """What an engine computes.

    Args:
        computation: the loss as pure functions of one θ.
        train: training examples.
        elements: numbers that one example has on its way in or out, whichever are more.
    """

    computation: Computation
    train: DataSet
    elements: int


@dataclass(frozen=True, eq=False)
class Engine(ABC):
    """One way to compute many models. Results do not depend on it, up to rounding.

    Args:
        work: what is computed.

    Raises:
        InvalidModel: the engine cannot compute this.
    """

    work: Workload

    gain: ClassVar[float | None] = None
    """How many times as fast as the loop it must be for ``engine="auto"`` to take it; None: never unnamed."""
    rival: ClassVar[bool] = False
    """Whether ``engine="auto"`` tries it beside the first that pays, and takes it where it is faster still."""
    joint: ClassVar[bool] = True
    """Whether torch computes several models in one call, whose threads then divide them: rounding may depend on how."""
    without: ClassVar[str] = ""
    """What is lost where it is :class:`Unavailable`, in words; empty: nothing to speak of."""
    steady: ClassVar[bool | None] = None
    """Whether the numbers of a model are the same, bit for bit, whoever is beside it; None: found out by trying."""

    def __post_init__(self) -> None:
        if self.joint and not self.work.train.together:
            raise InvalidModel(
                f"engine={ENGINES.name_of(type(self))!r} computes several models in one call, but batches of any form "
                "go through one model at a time: pass engine='loop' or 'auto'"
            )

    @abstractmethod
    def measure(self, thetas: Thetas, wanted: Wanted) -> Float64[Tensor, "B Q"]:
        """What is wanted of B models (B, P), by :meth:`Computation.measure` of each: one column a criterion."""

    @abstractmethod
    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Training losses and gradients of B models (B, P), each on its own rows (None: on all examples)."""

    @property
    def strides(self) -> bool:
        """Whether it takes several steps of a descent in one call; see :mod:`weightstring.descent.stepping`."""
        return False

    @property
    def ties(self) -> bool:
        """Whether models that are tied to each other, too."""
        return False

    def stride(self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, update: Update) -> None:
        """Take k steps with each of B models, in place; without rows on all examples."""
        raise NotImplementedError

    @property
    def computation(self) -> Computation:
        """What is computed for one θ, as pure functions that ``torch.func`` can map and differentiate."""
        return pure(self.work.computation)


ENGINES: Registry[type[Engine]] = Registry("engine", group="weightstring.engines")
"""The engines by name, in the order in which ``engine="auto"`` tries those with a ``gain``."""

REFERENCE = "loop"
"""The engine with which all others must agree."""


def engine_named(engine: str) -> str:
    """An engine by its name.

    Raises:
        InvalidSetting: there is none of that name.
    """
    if engine in ENGINES:
        return engine
    choices = ", ".join(map(repr, ENGINES))
    raise InvalidSetting(
        f"engine={engine!r}: pass one of {choices} (a problem also takes 'auto'), or import first what registers it"
    )


def brought(train: DataSet, rows: Rows | None) -> tuple[DataSet, Rows | None]:
    """The examples of a minibatch in memory, and where its rows are among them; without rows all, if it is there."""
    if rows is None or train.in_memory:
        return train, rows
    wanted, places = torch.unique(rows, return_inverse=True)
    return train.take(wanted), places


def weighed_slopes(
    differentiate: Differentiate, thetas: Thetas, rows: Rows | None, train: DataSet, chunk: int, kind: Kind = "mean"
) -> tuple[Gradient, Number]:
    """Losses and gradients of models whose losses are computed together, and weights; without rows, chunk by chunk.

    Args:
        differentiate: gives the gradients of one pass.
        thetas: models (B, P).
        rows: (B, n); None: all examples.
        train: the training set.
        chunk: the most examples in one pass.
        kind: how the loss of all comes from that of chunks; a ``whole`` one takes one pass.

    Raises:
        InvalidModel: the loss does not depend on θ.
        DoesNotFit: one pass over all does not fit into memory.
    """
    if rows is not None:
        return differentiate(thetas, rows, train)
    if len(train) <= chunk:
        return differentiate(thetas, None, train.held())
    if kind == "whole":
        return _at_once(differentiate, thetas, train)
    mean = Gradient(torch.zeros_like(thetas[:, 0]), torch.zeros_like(thetas))
    total = torch.zeros_like(mean.losses, dtype=torch.float64)
    for piece in train.chunks(chunk):
        part, weights = differentiate(thetas, None, piece)
        # Divided by the number of examples at once, so that half precision does not overflow.
        shares = torch.as_tensor(weights).to(total) / len(train) if kind != "sum" else torch.ones_like(total)
        total += shares
        mean.losses.addcmul_(part.losses, shares.to(mean.losses))
        mean.gradients.addcmul_(part.gradients, shares.to(mean.gradients).reshape(-1, 1))
    if kind == "ratio":
        divisor = torch.where(total == 0, 1.0, total)  # without any weight 0, as in one pass
        mean.losses.div_(divisor)
        mean.gradients.div_(divisor.unsqueeze(1))
    return mean, total * len(train)


def _at_once(differentiate: Differentiate, thetas: Thetas, train: DataSet) -> tuple[Gradient, Number]:
    try:
        return differentiate(thetas, None, train.held())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DoesNotFit(
            f"the training loss is no mean over examples, and one pass over all {len(train)} does not fit into memory: "
            f"{REMEDY}, or pass a batch_size= to the problem"
        ) from None


def slopes_beside(
    differentiate: Differentiate, thetas: Thetas, rows: Rows | None, train: DataSet, chunk: int, kind: Kind
) -> Gradient:
    """Gradients of :func:`weighed_slopes`, two models at least in each call: torch computes a single one differently.

    Raises:
        InvalidModel: the loss does not depend on θ.
    """
    count = len(thetas)
    if count < BESIDE and rows is not None:
        rows = rows.expand(BESIDE, -1)
    gradient, _ = weighed_slopes(differentiate, aligned(thetas, BESIDE), rows, train, chunk, kind)
    return Gradient(gradient.losses[:count], gradient.gradients[:count])


def by_autograd(losses: Losses) -> Differentiate:
    """Differentiate losses that are computed from the models' matrix itself."""

    def differentiate(thetas: Thetas, rows: Rows | None, examples: DataSet) -> tuple[Gradient, Number]:
        # What was made in inference mode takes no part in a graph.
        leaf = (thetas.clone() if thetas.is_inference() else thetas).detach().requires_grad_()
        with torch.enable_grad(), without_fallback_warnings():
            values, weights = losses(leaf, rows, examples)
            require_slope(values)
            # Each loss depends on its own model only, so that the gradient of the sum holds the gradient of each.
            (gradients,) = torch.autograd.grad(values.sum(), leaf)
        # Autograd may hand back an expanded tensor, which cannot be written to.
        return Gradient(values.detach().to(leaf.dtype), gradients.contiguous()), weights

    return differentiate


def require_slope(losses: Tensor) -> None:
    """Refuse losses that have no gradient.

    Raises:
        InvalidModel: autograd does not know how they depend on θ.
    """
    if not losses.requires_grad:
        raise InvalidModel(
            "the training loss does not depend on any trainable parameter: net or loss_fn leaves autograd "
            "(.item(), .detach(), numpy, torch.no_grad); keep to tensor operations"
        )


def seeded_by(arguments: Tensor, device: torch.device) -> AbstractContextManager[None]:
    """Seed a device's generators by a tensor's numbers, wherever that is, and restore them afterwards."""
    return seeded(int.from_bytes(sha256(SALT + tensor_bytes(arguments)).digest()[:7]), device)


def gradient_in_parts(thetas: Thetas, at_once: int, compute: Callable[[slice], Gradient]) -> Gradient:
    """Gradients of B models, ``at_once`` at a time, written straight into the result.

    Raises:
        InvalidSetting: not even one model fits into memory.
    """
    if len(thetas) == 1:
        return in_parts(1, 1, compute)[0]
    whole = Gradient(torch.empty_like(thetas[:, 0]), torch.empty_like(thetas))

    def fill(part: slice) -> None:
        losses, gradients = compute(part)
        whole.losses[part] = losses
        whole.gradients[part] = gradients

    in_parts(len(thetas), at_once, fill)
    return whole


@contextmanager
def without_fallback_warnings() -> Iterator[None]:
    """Silence vmap's warnings of slow fallbacks: the trial has timed them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
