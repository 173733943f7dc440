"""The contract between a loss and everything that explores it.

A loss is a function of a flat θ. Descent, paths and searches need a :class:`LossProblem` and no more. What else a
problem can do it offers by having the members of a capability: one of the protocols below, or, where modules and data
come in, of :mod:`weightstring.problem.capabilities`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Positions, Rows, Theta, Thetas, Values
from weightstring.errors import InvalidSetting

Schedule = Literal["constant", "linear", "cosine"]
Manner = Literal["given", "alternative", "even", "fitted"]
"""By which form of a recipe a model descends."""
_FLAT = 1e-6
"""Norm of a gradient from which on even steps get shorter."""


@dataclass(frozen=True)
class Recipe:
    """How models of a problem are trained: the settings of one gradient descent.

    Args:
        optimizer: name of a ``torch.optim`` class, case ignored (``"adam"``, ``"rmsprop"``, ``"sgd"``).
        options: its keyword arguments; ``lr`` is required.
        check_every: gradient steps between two measurements of the loss.
        patience: measurements without improvement after which a model stops; a quarter of it once the
            model is low enough to count.
        max_steps: gradient steps after which a model stops whatever it has reached.
        clip: the largest norm of one model's gradient, by which longer ones are cut; None: any.
        schedule: how the learning rate falls from its full value to 0 over ``max_steps``: not at all
            (``"constant"``), ``"linear"``, or along half a ``"cosine"``.
        warmup: steps over which it first rises from 0, linearly.
        average: β of the average of the iterates that is measured and kept in place of the last one; None: the last
            one. After k steps it is Σ (1 − β) β^(k−i) θ_i / (1 − β^k), i from 1 to k: of the iterates where they were
            put, without the start. The steps themselves are those that they would be without it. Models that move
            together (breadth-first evolution, fitted curves, elastic bands) are kept as they are.

    Raises:
        InvalidSetting: a number is out of range. Whether torch.optim knows the optimizer and its options
            is found out before the first descent.

    >>> Recipe("sgd", {"lr": 0.1}).options["lr"]
    0.1
    >>> Recipe("sgd", {"lr": 0.1}, average=0.9).weight(1), round(Recipe(average=0.9).weight(2), 4)
    (1.0, 0.5263)
    """

    optimizer: str = "adam"
    options: Mapping[str, float | bool | Sequence[float]] = field(default_factory=lambda: {"lr": 1e-3})
    check_every: int = 20
    patience: int = 20
    max_steps: int = 10_000
    clip: float | None = None
    schedule: Schedule = "constant"
    warmup: int = 0
    average: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, str) or not isinstance(self.options, Mapping):
            raise InvalidSetting(
                f"Recipe({self.optimizer!r}, ...): give the optimizer's name and a dict of its options"
            )
        for name in ("check_every", "patience", "max_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InvalidSetting(f"Recipe({name}={value!r}): no descent can follow it; give at least 1")
        if self.clip is not None and not (isinstance(self.clip, int | float) and self.clip > 0):
            raise InvalidSetting(f"Recipe(clip={self.clip!r}): give a positive norm, or None to clip nothing")
        if self.tunes and (self.options or self.schedule != "constant" or self.warmup):
            raise InvalidSetting(
                f"Recipe({self.optimizer!r}, {dict(self.options)!r}, ...) finds its own step: it takes no options, "
                "schedule or warmup; name an optimizer to set them"
            )
        if self.schedule not in get_args(Schedule):
            raise InvalidSetting(f"Recipe(schedule={self.schedule!r}): choose one of {', '.join(get_args(Schedule))}")
        if not isinstance(self.warmup, int) or self.warmup < 0:
            raise InvalidSetting(f"Recipe(warmup={self.warmup!r}): give a number of steps, 0 for none")
        if self.average is not None and not (isinstance(self.average, float) and 0 < self.average < 1):
            raise InvalidSetting(f"Recipe(average={self.average!r}): give β in (0, 1), or None for the last iterate")

    def __repr__(self) -> str:
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.plain().items())})"

    def plain(self) -> dict[str, Any]:
        """Its fields, as they are written: one that has been added since is left out where it changes nothing."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return fields if self.average is not None else {k: v for k, v in fields.items() if k != "average"}

    @classmethod
    def tuned(cls) -> Recipe:
        """The recipe that finds its own step, see :mod:`weightstring.descent.tuned`; the default of modules.

        >>> Recipe.tuned().optimizer
        'auto'
        """
        return cls("auto", {}, check_every=5, average=0.95)

    @property
    def tunes(self) -> bool:
        """Whether it finds its own step."""
        return self.optimizer.lower() == "auto"

    @property
    def untuned(self) -> Recipe:
        """The recipe of models that cannot find their own step; itself, where it gives one."""
        return replace(Recipe(), max_steps=self.max_steps, clip=self.clip) if self.tunes else self

    @property
    def alternative(self) -> Recipe:
        """The recipe to try where this one fails: SGD instead of an adaptive optimizer, Adam instead of SGD.

        >>> Recipe("adam").alternative.optimizer, Recipe("sgd", {"lr": 0.1}).alternative.options
        ('sgd', {'lr': 0.01})
        """
        if self.tunes or self.optimizer.lower() == "sgd":
            return replace(self.untuned, optimizer="adam", options={"lr": 0.01})
        return replace(self, optimizer="sgd", options={"lr": 0.1})

    @property
    def even(self) -> Recipe:
        """The recipe whose steps along the gradient have one length, each start's rate, whatever the gradient's norm.

        By SGD, whose gradients are cut at a norm that all exceed but where the loss is flat. The loss is measured four
        times as often, since each step counts, and one that has stopped falling circles about the valley's floor.

        >>> recipe = Recipe("adam", check_every=20).even
        >>> recipe.optimizer, recipe.options["lr"] * recipe.clip, recipe.check_every
        ('sgd', 1.0, 5)
        """
        given = self.untuned
        often = max(1, given.check_every // 4)
        return replace(
            given,
            optimizer="sgd",
            options={"lr": 1 / _FLAT},
            clip=_FLAT,
            check_every=often,
            patience=max(1, given.patience // 4),
            schedule="constant",
            warmup=0,
            average=None,
        )

    @property
    def fitted(self) -> Recipe:
        """The recipe of fitted curves and elastic bands: itself, and SGD with momentum where it finds its own step.

        As both are fitted in T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", 2018,
        and F. Draxler et al., "Essentially No Barriers in Neural Network Energy Landscape", 2018, at a constant rate.

        >>> Recipe.tuned().fitted.options, Recipe("adam").fitted.optimizer
        ({'lr': 0.05, 'momentum': 0.9}, 'adam')
        """
        return replace(self.untuned, optimizer="sgd", options={"lr": 0.05, "momentum": 0.9}) if self.tunes else self

    def by(self, manner: Manner) -> Recipe:
        """The recipe itself, its :attr:`alternative`, the :attr:`even` one, or that of what is :attr:`fitted`."""
        forms = {"given": self, "alternative": self.alternative, "even": self.even, "fitted": self.fitted}
        return forms[manner]

    def rate(self, step: int) -> float:
        """The share of the learning rate in force at a step, counted from 0.

        >>> [Recipe(max_steps=4, schedule="linear").rate(step) for step in range(4)]
        [1.0, 0.75, 0.5, 0.25]
        """
        done = step / self.max_steps
        falling = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        return falling[self.schedule] * min(1.0, (step + 1) / (self.warmup + 1))

    def weight(self, step: int) -> float:
        """What the iterate after a step, counted from 1, weighs in the average: a ← a + weight (θ − a), from a = θ_1.

        Raises:
            ValueError: the recipe takes no average.
        """
        if self.average is None:
            raise ValueError("the recipe takes no average")
        return (1 - self.average) / (1 - self.average**step)


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
