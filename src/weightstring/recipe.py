"""How models descend: the settings of one gradient descent, and the other forms that a recipe has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from weightstring.errors import InvalidSetting

Schedule = Literal["constant", "linear", "cosine", "one-cycle"]
Manner = Literal["given", "alternative", "even", "fitted"]
"""By which form of a recipe a model descends."""
_FLAT = 1e-6
"""Norm of a gradient from which on even steps get shorter."""
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
"""Of one cycle: the share of steps in which the rate rises, where it begins and ends; as torch.optim has it."""


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
            (``"constant"``), ``"linear"``, along half a ``"cosine"``, or in ``"one-cycle"``, as
            ``torch.optim.lr_scheduler.OneCycleLR`` has it without cycled momentum: it first rises along half a cosine
            from 1/25 of its full value.
        warmup: steps over which it first rises, from 0 and linearly, or in the one cycle, where 0 means three tenths
            of all.
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

    @classmethod
    def one_cycle(cls, steps: int, optimizer: str = "adam", average: float | None = 0.95, **options: Any) -> Recipe:
        """The recipe that trains a random network in so many steps: one cycle of a large learning rate, averaged.

        L. N. Smith and N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
        Rates", 2017, arXiv:1708.07120. The average of the iterates, which is what is measured, is low long before the
        rate has fallen, so that training to a level can end early. It never gives up before the cycle's end.

        Args:
            steps: gradient steps of the cycle.
            optimizer: of torch.optim.
            average: β of the average; None: the last iterate.
            options: of the optimizer, ``lr`` the largest learning rate.

        >>> recipe = Recipe.one_cycle(100, lr=0.01)
        >>> [round(recipe.rate(step), 2) for step in (0, 29, 99)]
        [0.04, 1.0, 0.0]
        """
        often = max(1, steps // 16)
        options = {"lr": 1e-2} | options
        return cls(optimizer, options, often, steps, max_steps=steps, schedule="one-cycle", average=average)

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
        if self.schedule == "one-cycle":
            return self._cycled(step)
        done = step / self.max_steps
        falling = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        return falling[self.schedule] * min(1.0, (step + 1) / (self.warmup + 1))

    def _cycled(self, step: int) -> float:
        """OneCycleLR's, which counts places in either phase from its first step to its last."""
        top = (self.warmup or _RISE * self.max_steps) - 1
        if step <= top:
            return 1 + (_FIRST - 1) * (1 + math.cos(math.pi * step / top)) / 2 if top > 0 else 1.0
        done = min(1.0, (step - top) / max(self.max_steps - 1 - top, 1.0))
        return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * done)) / 2

    def weight(self, step: int) -> float:
        """What the iterate after a step, counted from 1, weighs in the average: a ← a + weight (θ − a), from a = θ_1.

        Raises:
            ValueError: the recipe takes no average.
        """
        if self.average is None:
            raise ValueError("the recipe takes no average")
        return (1 - self.average) / (1 - self.average**step)
