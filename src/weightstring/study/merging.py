"""What can be made of the two models that a string joins, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from weightstring.notebook import Viewable
from weightstring.path.quantities import holdout_prefixes

TIE = 1e-6
"""Losses that differ by less than this share are equal: other batches round in other ways."""


@dataclass(frozen=True)
class Point:
    """A model on a string.

    Args:
        s: where, as a share of the arc length.
        values: every quantity measured there, by name.
    """

    s: float
    values: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The evaluation loss; +inf where it is not finite."""
        loss = self.values["loss"]
        return loss if math.isfinite(loss) else math.inf


@dataclass(frozen=True)
class Ensemble:
    """The average of several models' predictions, as if it were one model.

    Args:
        average: what was averaged, a name of :data:`weightstring.problem.averaging.predictions.AVERAGES`, and
        words: the same in words.
        values: quantities of the average, by name.
        models: the single models with the same quantities.
    """

    average: str
    words: str
    values: Mapping[str, float]
    models: tuple[Point, ...]

    @property
    def mean(self) -> dict[str, float]:
        """The mean of the single models' values, by name."""
        return {name: math.fsum(m.values[name] for m in self.models) / len(self.models) for name in self.values}

    @property
    def verdict(self) -> str:
        """Whether the average helps: it is compared with each of its models, and with their mean."""
        loss, best = self.values["loss"], min(model.loss for model in self.models)
        what = f"averaging the {self.words} of {len(self.models)} models"
        if below(loss, best):
            return f"{what} helps: {loss:.4g}, lower than each of them alone (lowest {best:.4g})"
        if below(loss, self.mean["loss"]):
            mean = f"lower than their mean {self.mean['loss']:.4g}"
            return f"{what} does not beat the best of them: {loss:.4g}, {mean}, but one alone has {best:.4g}"
        return f"{what} does not help: {loss:.4g}, and one of them alone has {best:.4g}"


@dataclass(frozen=True, repr=False)
class Merging(Viewable):
    """What can be made of two models that a string joins.

    Args:
        ends: the two models.
        midpoint: the model at half the arc length.
        best: the model with the least *sampled* evaluation loss.
        ensemble: the average of predictions along the string; None: there is none, and
        missing: why there is none.
        evaluation: what the loss is measured on: ``"evaluate"``, or ``"train"`` where there is no evaluation set.
        warning: what the choice of ``best`` does to its own value; None for a formula, which has no data.
    """

    ends: tuple[Point, Point]
    midpoint: Point
    best: Point
    ensemble: Ensemble | None
    missing: str | None
    evaluation: str
    warning: str | None

    @property
    def verdict(self) -> str:
        """In plain words: what the midpoint, the best point and the ensemble are worth beside the ends, a line each."""
        lines = [self._of_the_midpoint(), self._of_the_best()]
        lines.append(f"no ensemble: {self.missing}" if self.ensemble is None else self.ensemble.verdict)
        return "\n".join(lines)

    def _of_the_midpoint(self) -> str:
        middle, better = self.midpoint.loss, min(end.loss for end in self.ends)
        mean = sum(end.loss for end in self.ends) / 2
        name = "train" if self.evaluation == "train" else "evaluation"
        value = f"the midpoint's {name} loss {middle:.4g}"
        if no_worse(middle, better):
            return f"merging costs nothing: {value} is no worse than the better end's {better:.4g}"
        if no_worse(middle, mean):
            beside = f"the mean of the ends {mean:.4g}, but worse than the better end's {better:.4g}"
            return f"{value} is no worse than {beside}"
        return f"merging at the midpoint costs: {value} is worse than the mean of the ends {mean:.4g}"

    def _of_the_best(self) -> str:
        best, better = self.best, min(end.loss for end in self.ends)
        if not below(best.loss, better):
            return f"no sampled point of the string is better than the better end ({better:.4g}): keep that model"
        return f"best sampled point: s = {best.s:.4f} with {best.loss:.4g}, better than either end ({better:.4g})"

    @property
    def held_out(self) -> str | None:
        """The loss of each on the hold-out sets, in a line a set; None where there is none."""
        return "\n".join(map(self._on, holdout_prefixes(self.midpoint.values))) or None

    def _on(self, prefix: str) -> str:
        quantity = f"{prefix}loss"
        first, last = (end.values[quantity] for end in self.ends)
        parts = [f"ends {first:.4g} and {last:.4g}"]
        for name, point in (("midpoint", self.midpoint), ("best", self.best)):
            parts.append(f"{name} {point.values[quantity]:.4g}")
        if self.ensemble is not None:
            parts.append(f"ensemble {self.ensemble.values[quantity]:.4g}")
        name = {"holdout_": "hold-out"}.get(prefix, prefix.removesuffix("_"))
        return f"{name} loss: {', '.join(parts)}"

    def __str__(self) -> str:
        return "\n".join(line for line in (self.verdict, self.held_out, self.warning) if line is not None)


def no_worse(loss: float, other: float) -> bool:
    """Whether a loss is at most another, or equal to it but for rounding."""
    return math.isfinite(loss) and loss <= other + TIE * abs(other)


def below(loss: float, other: float) -> bool:
    """Whether a loss is less than another by more than rounding."""
    return math.isfinite(loss) and loss < other - TIE * abs(other)
