"""The quantity that the threshold binds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from weightstring.arrays import Positions, Theta, Thetas, Values
from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path.segment import Segment
from weightstring.protocol import Along, LossProblem, Screened


def bound_names(bind: str, quantities: Sequence[str]) -> tuple[str, ...]:
    """The measured quantities whose largest a threshold binds: the one place where ``bind`` is understood.

    Args:
        bind: ``"evaluate"`` (the evaluation loss), ``"train"`` (the train loss), ``"both"`` (the larger of the two), or
            the name of a quantity.
        quantities: what is measured; without a train loss the evaluation set is the training set.

    Raises:
        InvalidSetting: ``bind`` is none of these.

    >>> bound_names("train", ("loss", "error")), bound_names("both", ("loss", "train_loss"))
    (('loss',), ('loss', 'train_loss'))
    """
    train = "train_loss" if "train_loss" in quantities else "loss"
    words = {"evaluate": ("loss",), "train": (train,), "both": tuple(dict.fromkeys(["loss", train]))}
    names = words.get(bind, (bind,)) if isinstance(bind, str) else ()
    if not names or not set(names) <= set(quantities):
        choices = ", ".join([*words, *quantities])
        raise InvalidSetting(f"bind={bind!r:.80}: this problem does not measure it; choose one of {choices}")
    return names


def only_quantity(names: Sequence[str], what: str = "a certificate bounds") -> str:
    """The one quantity that a threshold binds.

    Args:
        names: those that it binds.
        what: needs that it is one, in words.

    Raises:
        InvalidSetting: it binds several.
    """
    if len(names) > 1:
        raise InvalidSetting(f"{what} one quantity, not {' and '.join(names)}: bind each by itself")
    return names[0]


@dataclass(frozen=True)
class Bound:
    """The height of models: the larger of the quantities that the threshold binds.

    Args:
        problem: the loss.
        bind: ``"evaluate"`` (the evaluation loss), ``"train"`` (the train loss), ``"both"`` (the larger
            of the two), or one of ``problem.quantities``, such as ``"error"``.

    Raises:
        InvalidSetting: ``bind`` is none of these.
    """

    problem: LossProblem
    bind: str = "evaluate"

    def __post_init__(self) -> None:
        bound_names(self.bind, self.problem.quantities)

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities whose largest is the height."""
        return bound_names(self.bind, self.problem.quantities)

    @property
    def screening(self) -> Bound | None:
        """A cheap estimate of the height, where the problem offers one."""
        problem = self.problem.screening if isinstance(self.problem, Screened) else None
        return None if problem is None else Bound(problem, self.bind)

    def __call__(self, thetas: Thetas) -> Values:
        """Heights of B models, float64 (B,); +inf where a loss is not finite: it is under no threshold."""
        return self._height(self.problem.measure(thetas, self.names))

    @property
    def shares_along(self) -> bool:
        """Whether the models of one segment are measured cheaper together."""
        shares: bool = getattr(self.problem, "shares_along", False)  # isinstance of a protocol takes far longer
        return shares

    def along(self, segment: Segment, ts: Positions) -> Values:
        """Heights at positions ``ts`` (T,) of a segment, float64 (T,), where they are measured together."""
        assert isinstance(self.problem, Along)
        return self._height(self.problem.measure_along(segment.a, segment.b, ts, self.names))

    def _height(self, measured: Mapping[str, Values]) -> Values:
        heights = torch.stack([measured[name] for name in self.names]).amax(0)
        return torch.where(heights.isfinite(), heights, math.inf)


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
    if not bool(theta.isfinite().all()):
        raise InvalidCheckpoint(f"{what} has {int((~theta.isfinite()).sum())} entries that are NaN or infinite")
