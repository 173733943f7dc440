"""What a loss, a metric or a training step returns, looked at on a few examples."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Real

from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidData, InvalidModel, InvalidSetting, WeightstringError
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet, form
from weightstring.problem.initialise import seeded
from weightstring.problem.losses.folded import Folded
from weightstring.problem.losses.means import Given, Mean
from weightstring.problem.losses.sighted import applied
from weightstring.text import first_line

STEP_EXAMPLES = 8
"""DataSet on which the user's own training step is tried."""


def check_returned(label: str, value: object) -> None:
    """Refuse what is neither a scalar nor (sum, weight).

    Raises:
        InvalidSetting: a loss or metric returned it.
    """
    if isinstance(value, Folded) and label != "loss_fn":
        value = value.value()
        value = value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value
    pair = isinstance(value, tuple | list) and len(value) == 2
    parts = list(value) if pair and isinstance(value, tuple | list) else [value]
    if all(_is_number(part) for part in parts) and (label != "loss_fn" or _is_floating(parts[0])):
        return
    described = form(value) if isinstance(value, Tensor) else f"a {type(value).__name__}"
    if pair:
        described = "(" + ", ".join(form(x) if isinstance(x, Tensor) else f"a {type(x).__name__}" for x in parts) + ")"
    wanted = "one floating tensor without axes" if label == "loss_fn" else "one number"
    raise InvalidSetting(
        f"{label} returned {described}: it must return {wanted}, the mean over examples (reduction='mean'), or (sum, "
        "weight), whose totals' ratio is the value of all"
    )


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex()
    return isinstance(value, Real)


def _is_floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def check_step(computation: Computation, theta: Theta, train: DataSet, loss: Mean) -> Mean | None:
    """What kind of loss the user's training step returns, tried on a few examples; None if there is no step.

    A number is a mean over examples. Where ``loss_fn`` is no plain mean, that need not be one either, and the gradient
    over all takes one call with all.

    Raises:
        InvalidModel: it fails, or returns neither a number nor (sum, weight).
    """
    if computation.step is None:
        return None
    few = train.take(slice(STEP_EXAMPLES))
    try:
        with seeded(0, theta.device):
            returned = computation.step.given(computation.training(theta, few, computation.vectors(theta)), few.targets)
    except WeightstringError:
        raise
    except Exception as error:
        raise InvalidModel(f"training_step fails on {len(few)} examples: {first_line(error)}") from error
    if isinstance(returned, tuple | list):
        return replace(computation.step, kind="ratio")
    return replace(computation.step, kind="mean" if loss.kind == "mean" else "whole")


def returned_by(label: str, criterion: Given, output: object, probe: DataSet, name: str) -> object:
    """What a loss or metric returns on a few examples.

    Raises:
        InvalidData: it cannot take the targets, or what the module gives.
    """
    targets = probe.targets
    try:
        with warnings.catch_warnings():
            # torch warns of targets that broadcast against the output: a loss over pairs of examples.
            warnings.filterwarnings("error", message="Using a target size")
            return applied(criterion, output, probe)
    except Exception as error:
        shape = form(output) if isinstance(output, Tensor) else type(output).__name__
        classes = output.shape[1] if isinstance(output, Tensor) and output.ndim > 1 else None
        if classes is not None and not targets.is_floating_point() and isinstance(error, IndexError | RuntimeError):
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= classes:
                raise InvalidData(
                    f"{name} targets must be in [0, {classes}): found {low}..{high} where the output is {shape}"
                ) from error
        raise InvalidData(
            f"{label} cannot compare the output {shape} with the {name} targets {form(targets)}: {first_line(error)}"
        ) from error
