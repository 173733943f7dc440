"""What the threshold binds, and which models can be measured by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch

from weightstring.arrays import Theta, Thetas, Values, blocks, is_finite
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path.segment import Places
from weightstring.problem.capabilities import Accounted, AlongMany
from weightstring.protocol import Along, LossProblem
from weightstring.text import meant


@dataclass(frozen=True)
class Objective:
    """The height of a model: the larger of the quantities that the threshold binds. Only here is ``bind`` understood.

    Args:
        problem: the loss.
        bind: ``"evaluate"`` (the evaluation loss), ``"train"`` (the train loss), ``"both"`` (the larger of the two), or
            one of ``problem.quantities``, such as ``"error"``. Without a train loss the evaluation set is the training
            set.

    Raises:
        InvalidSetting: ``bind`` is none of these.

    >>> from weightstring.problem.surfaces import Ring
    >>> Objective(Ring(), "train").names  # a formula has one loss, whatever it is called
    ('loss',)
    """

    problem: LossProblem
    bind: str = "evaluate"

    def __post_init__(self) -> None:
        if not self.names or not set(self.names) <= set(self.problem.quantities):
            choices = ", ".join([*self._words, *self.problem.quantities])
            near = meant(str(self.bind), [*self._words, *self.problem.quantities])
            raise InvalidSetting(
                f"bind={self.bind!r:.80}{near}: this problem does not measure it; choose one of {choices}"
            )
        if rising := set(self.names) & getattr(self.problem, "rising", frozenset()):
            raise InvalidSetting(
                f"bind={self.bind!r}: {rising.pop()} is better the higher, and a threshold is an upper bound: bind "
                "what falls, such as an error, or a metric that is 1 minus this one"
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The quantities whose largest is the height."""
        return self._words.get(self.bind, (self.bind,)) if isinstance(self.bind, str) else ()

    @property
    def _words(self) -> Mapping[str, tuple[str, ...]]:
        train = "train_loss" if "train_loss" in self.problem.quantities else "loss"
        return {"evaluate": ("loss",), "train": (train,), "both": tuple(dict.fromkeys(["loss", train]))}

    @cached_property
    def told(self) -> tuple[str, ...]:
        """Those quantities, and all others that the same passes over the same data tell."""
        return self.problem.beside(self.names) if isinstance(self.problem, Accounted) else self.names

    def quantity(self, purpose: str = "a certificate bounds") -> str:
        """The one quantity that is bound.

        Args:
            purpose: what takes one quantity only, in words.

        Raises:
            InvalidSetting: several are bound.
        """
        if len(self.names) > 1:
            raise InvalidSetting(f"{purpose} one quantity, not {' and '.join(self.names)}: bind each by itself")
        return self.names[0]

    @property
    def screening(self) -> Objective | None:
        """A cheap estimate of the height, where the problem offers one."""
        problem = getattr(self.problem, "screening", None)  # isinstance of a protocol takes far longer
        return None if problem is None else Objective(problem, self.bind)

    def __call__(self, thetas: Thetas) -> Values:
        """Heights of B models, float64 (B,); +inf where a loss is not finite: it is under no threshold."""
        return self.height(self.problem.measure(thetas, self.names))

    @property
    def shares_along(self) -> bool:
        """Whether the models of one segment are measured cheaper together."""
        shares: bool = getattr(self.problem, "shares_along", False)  # isinstance of a protocol takes far longer
        return shares

    @property
    def segments_at_once(self) -> int:
        """Of how many segments that is done in one call."""
        at_once: int = getattr(self.problem, "segments_at_once", 1)
        return at_once

    def along(self, stretches: Sequence[Places]) -> Values:
        """Heights at positions of segments, float64 (T,), one after the other, where they are measured together."""
        return self.height(self.measured_along(stretches, self.names))

    def measured_along(self, stretches: Sequence[Places], quantities: Sequence[str]) -> Mapping[str, Values]:
        """Quantities there, by name."""
        ends = [(segment.a, segment.b, ts) for segment, ts in stretches]
        if self.segments_at_once > 1:
            return cast(AlongMany, self.problem).measure_segments(ends, quantities)
        problem = cast(Along, self.problem)  # isinstance of a protocol takes far longer
        parts = [problem.measure_along(*each, quantities) for each in ends]
        return {name: torch.cat([part[name] for part in parts]) for name in quantities}

    def height(self, measured: Mapping[str, Values]) -> Values:
        """Heights (B,) from the quantities (B,) that were measured, by name."""
        first, *others = (measured[name] for name in self.names)
        heights = torch.stack([first, *others]).amax(0) if others else first
        return heights.nan_to_num(math.inf, math.inf, math.inf)


class Noted:
    """An objective that keeps all that its passes tell, model by model, in the order in which they are measured."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.rows: list[dict[str, float]] = []

    def __call__(self, thetas: Thetas) -> Values:
        """Heights of B models."""
        return self._kept(self._objective.problem.measure(thetas, self._objective.told))

    @property
    def shares_along(self) -> bool:
        """That of the objective."""
        return self._objective.shares_along

    @property
    def segments_at_once(self) -> int:
        """That of the objective."""
        return self._objective.segments_at_once

    def along(self, stretches: Sequence[Places]) -> Values:
        """Heights at positions of segments."""
        return self._kept(self._objective.measured_along(stretches, self._objective.told))

    def _kept(self, measured: Mapping[str, Values]) -> Values:
        columns = [values.tolist() for values in measured.values()]
        self.rows += [dict(zip(measured, row, strict=True)) for row in zip(*columns, strict=True)]
        return self._objective.height(measured)


def check_theta(problem: LossProblem, theta: Theta, what: str) -> None:
    """Refuse a θ that is not one of ``problem``'s.

    Raises:
        InvalidCheckpoint: its shape, dtype or device is another, or it is not finite.
    """
    if not isinstance(theta, torch.Tensor):
        raise InvalidCheckpoint(
            f"{what} is a {type(theta).__name__}: pass problem.flatten(...) of a module or state dict"
        )
    if theta.shape != (problem.size,):
        raise InvalidCheckpoint(
            f"{what} has shape {tuple(theta.shape)}, the problem's θ has ({problem.size},): "
            "is it a model of another architecture? problem.flatten(net) makes a θ"
        )
    if theta.dtype != problem.dtype:
        raise InvalidCheckpoint(f"{what} is {theta.dtype}, the problem {problem.dtype}: convert one of them")
    if theta.device != problem.device:
        raise InvalidCheckpoint(f"{what} is on {theta.device}, the problem on {problem.device}: move it with .to()")
    if not is_finite(theta):
        finite = sum(int(theta[part].isfinite().sum()) for part in blocks(len(theta)))
        raise InvalidCheckpoint(f"{what} has {len(theta) - finite} entries that are NaN or infinite")
