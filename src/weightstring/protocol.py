"""The contract between a loss and everything that explores it.

A loss is a function of a flat θ. Descent, paths and searches need a :class:`LossProblem` and no more. What else a
problem can do it offers by having the members of a capability: one of the protocols below, or, where modules and data
come in, of :mod:`weightstring.problem.capabilities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Positions, Rows, Theta, Thetas, Values
from weightstring.recipe import Recipe


class Gradient(NamedTuple):
    """Losses (B,) of a batch of models on their minibatches and the gradients (B, P) of each."""

    losses: torch.Tensor
    gradients: Thetas


@runtime_checkable
class LossProblem(Protocol):
    """A loss over flat parameters θ ∈ R^P, measured on one or several data sets.

    ``quantities`` names everything that can be measured: ``"loss"`` (on the evaluation set) comes
    first; then, where they exist, each metric under its own name, and the same on the other sets
    with a prefix: ``"train_loss"``, ``"train_error"``, ``"holdout_loss"``, or what a hold-out set is called.
    """

    @property
    def size(self) -> int:
        """P, the number of trainable parameters."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of θ."""

    @property
    def device(self) -> torch.device:
        """Where θ lives."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what :meth:`measure` can measure."""

    @property
    def evaluation(self) -> str:
        """What ``"loss"`` is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set."""

    @property
    def recipe(self) -> Recipe:
        """How to descend this loss unless told otherwise."""

    @property
    def train_size(self) -> int:
        """N, the number of training examples (1 for an analytic surface)."""

    @property
    def batch_size(self) -> int | None:
        """Examples in a minibatch; None: every gradient is that of the whole training set."""

    def fingerprint(self) -> str:
        """A digest of all that determines the loss, equal in every process."""

    def measure(self, thetas: Thetas, quantities: Sequence[str] = ("loss",)) -> dict[str, Values]:
        """Measure B models: float64 values (B,) on the CPU, by name. A pure function of θ."""

    def gradient(self, thetas: Thetas, rows: Rows | None) -> Gradient:
        """Training losses and gradients of B models, each on its own rows (None: on all)."""


@runtime_checkable
class Along(Protocol):
    """Can measure the models of one segment cheaper together than one by one."""

    @property
    def shares_along(self) -> bool:
        """Whether it is cheaper for this problem."""

    def measure_along(
        self, a: Theta, b: Theta, ts: Positions, quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """Measure the models (1 − t) a + t b at positions ``ts`` (T,): float64 values (T,) on the CPU, by name."""


@runtime_checkable
class Screened(Protocol):
    """Offers a cheap first look."""

    @property
    def screening(self) -> LossProblem | None:
        """The same loss measured on a fixed part of the data; None where that would gain nothing."""


@runtime_checkable
class Independent(Protocol):
    """Knows whether the numbers of a model depend on the models computed beside it."""

    @property
    def independent(self) -> bool:
        """Whether they are the same, bit for bit, in any company; then searches share batches."""


@runtime_checkable
class Curved(Protocol):
    """Can multiply the Hessian of its training loss with vectors."""

    def hessian_products(self, theta: Theta, vectors: Thetas, rows: Int64[Tensor, " n"] | None) -> Thetas:
        """Exact H v (k, P) of vectors (k, P): H that of what ``gradient`` differentiates at θ (P,) on these rows."""


@runtime_checkable
class Enclosed(LossProblem, Protocol):
    """Bounds its own loss on whole intervals of a segment, so that its strings can be certified."""

    def upper_bounds(
        self, a: Theta, b: Theta, low: Float64[Tensor, " I"], high: Float64[Tensor, " I"]
    ) -> Float64[Tensor, " I"]:
        """No less than the loss on (1 − t) a + t b for t in each interval [low, high], rounding included."""

    def loss(self, thetas: Thetas) -> Float[Tensor, " B"]:
        """The loss of B models (B, P) in their own dtype, which may be float64 whatever the problem's is."""


@dataclass(frozen=True)
class EngineChoice:
    """Which engine computes several models, and why.

    Args:
        name: of the engine, such as ``"loop"``, ``"vmap"``, ``"stack"`` or ``"native"``.
        reason: one sentence.
        speedup: time of the loop over time of this engine; None where it was not measured.
        agreement: largest relative difference between the two; None where it was not measured.
        threads: CPU threads for large calls; None: as many as the caller has set.
        flops: operations in one forward pass of one example.

    >>> EngineChoice("loop", "loop: set by the caller").name
    'loop'
    """

    name: str
    reason: str
    speedup: float | None = None
    agreement: float | None = None
    threads: int | None = None
    flops: float = 0.0


@runtime_checkable
class Engined(Protocol):
    """Computes by one of several engines."""

    def engine_choice(self) -> EngineChoice:
        """The engine and the number of threads in use, and why."""

    def use_engine(self, name: str) -> None:
        """Compute by this engine from now on."""

    def computing_by(self, name: str, threads: int | None = None) -> AbstractContextManager[None]:
        """Compute by this engine, large calls on so many threads, while the context lasts."""


def lacking(problem: object, *capabilities: type) -> str:
    """Says which members a problem would need for a capability, or for one of several.

    >>> lacking(3, Curved)
    'int has no hessian_products(): see weightstring.protocol.Curved'
    """
    options = [f"{_missing(problem, each)}: see {each.__module__}.{each.__qualname__}" for each in capabilities]
    return f"{type(problem).__name__} has no {'; nor '.join(options)}"


def _missing(problem: object, capability: type) -> str:
    members = {name: member for base in capability.__mro__ for name, member in vars(base).items() if name[0] != "_"}
    return ", ".join(
        name if isinstance(member, property) else f"{name}()"
        for name, member in members.items()
        if not hasattr(problem, name)
    )
