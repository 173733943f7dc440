"""What the predictions are that a loss reads of an output, and how they are averaged over models.

Which tensor of an output they are, and what the loss takes it for, is seen while the loss runs on two examples. Where
that does not tell, nothing is averaged unless the caller says what.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.averaging.predictions import (
    AVERAGES,
    BY_MEANING,
    LIKELIHOODS,
    OUTPUTS,
    Averaging,
    Predict,
    Predictions,
    classes_on,
)
from weightstring.problem.averaging.watching import Watch
from weightstring.problem.datasets.data import Examples, form
from weightstring.problem.losses.means import Given, Mean
from weightstring.problem.losses.sighted import applied
from weightstring.problem.outputs import leaves_of, paths_of, rebuilt
from weightstring.randomness import generator
from weightstring.text import first_line

SAY = f"say what: average= one of {', '.join(AVERAGES)}"

ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
"""By how much of its size a sum may miss zero; by more in half precision."""


class NotShownError(InvalidModel):
    """Nothing tells which tensor of an output is to be averaged, or how."""


def predictions_of(
    output: object,
    examples: Examples,
    loss: Mean,
    metrics: Mapping[str, Given],
    average: str | None = None,
    predict: Predict | None = None,
) -> Predictions:
    """Find out what is averaged.

    Args:
        output: of the module on some examples.
        examples: these.
        loss: as the problem has it.
        metrics: by name.
        average: one of :data:`AVERAGES`; None: as the loss reads it.
        predict: where the predictions are: a tensor of the output, or one computed from it; None: what the loss reads.

    Raises:
        InvalidSetting: an unknown name, or a ``predict`` that returns no tensor or fails.
        NotShownError: nothing tells what to average.
        InvalidModel: it cannot be averaged, or a metric reads something else.
    """
    if average is not None and (not isinstance(average, str) or average not in AVERAGES):
        raise InvalidSetting(f"average={average!r}: choose one of {', '.join(AVERAGES)}, or None to go by the loss")
    if average == LIKELIHOODS.name or (average is None and predict is None and _is_gaussian(output, examples, loss)):
        _check_single(examples)
        return Predictions(LIKELIHOODS, None, None)
    place = _read(output, examples, loss) if predict is None else _predicted(output, predict)
    found = Predictions(OUTPUTS if average is None else AVERAGES[average], place, predict)
    _check_others(found, output, examples, {"loss_fn": loss.given, **metrics})
    return found if average is not None else Predictions(_by(found, output, examples, loss), place, predict)


def _floating(output: object) -> list[int]:
    """The places of an output's floating tensors."""
    leaves = leaves_of(output)
    return [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _fresh(output: object) -> tuple[object, list[Tensor], list[int]]:
    """A copy of an output whose floating tensors are leaves of autograd, these, and their places."""
    leaves, places = leaves_of(output), _floating(output)
    fresh = [leaf.detach().clone().requires_grad_() for place, leaf in enumerate(leaves) if place in places]  # type: ignore[attr-defined]
    for place, leaf in zip(places, fresh, strict=True):
        leaves[place] = leaf
    return rebuilt(output, leaves), fresh, places


def _value(criterion: Given, output: object, examples: Examples) -> Tensor:
    """The number that a criterion returns, or its sum."""
    try:
        returned = applied(criterion, output, examples)
    except Exception as error:  # a loss that needs more examples, or other numbers than a trial's
        raise NotShownError(f"the loss fails on {len(examples)} examples ({first_line(error)}): {SAY}") from error
    return torch.as_tensor(returned[0] if isinstance(returned, tuple | list) else returned)


def _gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
    if not value.requires_grad:
        return [None] * len(leaves)
    return list(torch.autograd.grad(value, leaves, allow_unused=True))


def _read(output: object, examples: Examples, loss: Mean) -> int:
    """The place of the one tensor on which the loss depends."""
    with torch.enable_grad():
        copy, fresh, places = _fresh(output)
        gradients = _gradients(_value(loss.given, copy, examples), fresh)
    read = [place for place, gradient in zip(places, gradients, strict=True) if gradient is not None]
    if len(read) == 1:
        return read[0]
    names = [path or "the output" for path, _ in paths_of(output)]
    if not read:
        kind = form(output) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise InvalidModel(f"the module returns {kind}, of which the loss reads no floating tensor: pass predict=")
    said = " and ".join(names[place] for place in read)
    raise NotShownError(
        f"the loss reads {said} of the output: pass predict=fn(output), which returns the one to average, if the "
        "average of one is a prediction"
    )


def _predicted(output: object, predict: Predict) -> int | None:
    """The place of what ``predict`` returns; None if it is no tensor of the output."""
    try:
        found = predict(output)
    except Exception as error:
        raise InvalidSetting(f"predict fails on the module's output: {first_line(error)}") from error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = form(found) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InvalidSetting(f"predict returned {kind}: it must return one floating tensor of predictions")
    return next((place for place, leaf in enumerate(leaves_of(output)) if leaf is found), None)


def _check_others(found: Predictions, output: object, examples: Examples, criteria: Mapping[str, Given]) -> None:
    """Refuse losses and metrics that read more of an output than the predictions, or cannot take them."""
    copy, fresh, places = _fresh(output)
    given = found.put(copy, found.of(copy))
    names = [path for path, _ in paths_of(output)]
    for label, criterion in criteria.items():
        with torch.no_grad(), Watch(fresh) as watch:
            error = _failure(criterion, given, examples)
        if error is not None and found.place is None and _failure(criterion, output, examples) is None:
            raise InvalidModel(
                f"{label} cannot take what predict returns in place of the output ({first_line(error)}): let predict "
                "return a tensor of the output itself, which is put back into it"
            ) from error
        others = {places[each] for each in watch.read} - {found.place}
        if others and found.place is not None:
            said = ", ".join(names[place] for place in sorted(others))
            raise InvalidModel(
                f"{label} reads {said} of the output, which is not averaged, only {names[found.place]} is"
            )


def _failure(criterion: Given, output: object, examples: Examples) -> Exception | None:
    """What a criterion raises, such as one that needs more examples."""
    try:
        applied(criterion, output, examples)
    except Exception as error:
        return error
    return None


def _by(found: Predictions, output: object, examples: Examples, loss: Mean) -> Averaging:
    """What the loss takes the predictions for, seen at numbers that all differ."""
    picked = found.of(output)
    assert isinstance(picked, Tensor)
    noise = torch.randn(picked.shape, generator=generator(0, "predictions")).to(picked)
    with torch.enable_grad():
        leaf = (picked.detach() + noise).requires_grad_()
        with Watch([leaf]) as watch:
            value = _value(loss.given, found.put(output, leaf), examples)
        (gradient,) = _gradients(value, [leaf])
    own = torch.unique(leaf.detach())
    kinds = {kind for kind, given, _ in watch.taken if bool(torch.isin(given.detach().to(own.dtype), own).all())}
    if kinds == {"classes"} and gradient is not None and (axes := _class_axes(gradient)):
        return classes_on(axes[0], leaf.ndim)
    if len(kinds) == 1 and kinds <= BY_MEANING.keys():
        return BY_MEANING[kinds.pop()]
    if not kinds and _of_the_difference(found, output, leaf.detach(), examples, loss, value):
        return OUTPUTS
    raise NotShownError(f"the loss does not show what it takes the predictions {form(picked)} for: {SAY}")


def _class_axes(gradient: Tensor) -> list[int]:
    """The axes along which a number may be added to all logits: those of a softmax, if there is one only."""
    tolerance = ROUNDING.get(gradient.dtype, 0.05)
    axes = [
        axis
        for axis in range(gradient.ndim)
        if gradient.shape[axis] > 1
        and float(gradient.sum(axis).abs().max()) <= tolerance * float(gradient.abs().sum(axis).max())
    ]
    return axes if len(axes) == 1 and bool(gradient.any()) else []


def _of_the_difference(
    found: Predictions, output: object, predictions: Tensor, examples: Examples, loss: Mean, value: Tensor
) -> bool:
    """Whether the loss depends on predictions minus targets alone: a regression."""
    targets = examples.targets
    if not targets.is_floating_point() or targets.numel() != predictions.numel():
        return False
    shift = torch.randn(predictions.shape, generator=generator(1, "predictions")).to(predictions)
    moved = Examples(examples.leaves, targets + shift.reshape(targets.shape).to(targets), examples.keys)
    with torch.no_grad():
        both = _value(loss.given, found.put(output, predictions + shift), moved)
        one = _value(loss.given, found.put(output, predictions + shift), examples)
    tolerance = ROUNDING.get(predictions.dtype, 0.05)
    return bool((both - value).abs() <= tolerance * value.abs()) and bool((one - value).abs() > tolerance * value.abs())


def _is_gaussian(output: object, examples: Examples, loss: Mean) -> bool:
    """Whether the loss is torch's negative log likelihood of Gaussians, and nothing else."""
    with torch.no_grad(), Watch([]) as watch:
        value = _value(loss.given, output, examples)
    return [kind for kind, _, _ in watch.taken] == ["gaussian"] and value is watch.taken[0][2]


def _check_single(examples: Examples) -> None:
    if examples.targets[0].numel() != 1:
        raise InvalidModel(
            f"targets have shape {tuple(examples.targets.shape)}: likelihoods are averaged where each example has one "
            "target, of which the loss is the negative log likelihood"
        )
