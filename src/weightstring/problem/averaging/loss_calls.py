"""The average of several models' predictions where torch's own loss functions take them, wherever that is.

A loss may call the module itself, or a module compute its loss, so that no output is to be had. But what a call of
``cross_entropy`` takes are predictions, of which each model's are collected there, and in a last pass replaced by their
average. That is the loss of the ensemble if nothing else of a model enters it: if it is the same whichever ran last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.overrides import TorchFunctionMode

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidModel
from weightstring.problem.averaging.predictions import BY_MEANING, OUTPUTS, Averaging, classes_on, estimates
from weightstring.problem.averaging.watching import LOSSES, As
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet, form
from weightstring.problem.losses.means import Mean, Number

ROUNDING = 1e-5
"""By how much of itself a sum may differ that is computed from the same predictions."""

NAMES = ", ".join(sorted({getattr(each, "__name__", "") for each in LOSSES}))


class Calls(TorchFunctionMode):
    """While it lasts, collects what loss functions are given, or, once all models ran, gives them the average.

    >>> from torch.nn import functional
    >>> calls, logits = Calls(), [torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]])]
    >>> for each in logits:
    ...     with calls:
    ...         _ = functional.cross_entropy(each, torch.tensor([0]))
    >>> with calls.averaged():
    ...     loss = functional.cross_entropy(logits[0], torch.tensor([0]))
    >>> round(loss.exp().item(), 3)
    2.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.by: list[Averaging] = []
        self._totals: list[Tensor] = []
        self._models = 0
        self._place = 0
        self._putting = False

    def __enter__(self) -> Calls:
        self._place = 0
        self._models += not self._putting
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def averaged(self) -> Calls:
        """From now on, loss functions are given the average."""
        self._putting = True
        return self

    @property
    def complete(self) -> bool:
        """Whether the latest model came to all of the calls."""
        return self._place == len(self._totals)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, a loss function perhaps with another input."""
        named = dict(kwargs or {})
        if func not in LOSSES:
            return func(*args, **named)
        given, *rest = (named.pop("input"), *args) if "input" in named else args
        return func(self._put(given) if self._putting else self._collected(given, LOSSES[func]), *rest, **named)

    def _collected(self, given: Tensor, taken: As) -> Tensor:
        by = classes_on(min(1, given.ndim - 1), given.ndim) if taken == "classes" else BY_MEANING[taken]
        whole = given.detach().double()
        part = whole if by.logarithms is None else by.logarithms(whole)
        if self._models == 1:
            self.by.append(by)
            self._totals.append(part)
        else:
            known = self._totals[self._place] if self._place < len(self._totals) else None
            if known is None or known.shape != part.shape or self.by[self._place] is not by:
                raise InvalidModel(f"two models call torch's loss functions differently: {form(given)} is the other's")
            self._totals[self._place] = known + part if by.logarithms is None else torch.logaddexp(known, part)
        self._place += 1
        return given

    def _put(self, given: Tensor) -> Tensor:
        by, total = self.by[self._place], self._totals[self._place]
        self._place += 1
        if by.logarithms is None:
            return (total / self._models).to(given)
        return by.output(total - math.log(self._models)).to(given)


def measure_by_calls(
    computation: Computation, thetas: Thetas | Sequence[Theta], train: DataSet, examples: DataSet, loss: Mean
) -> tuple[Float64[Tensor, ""], Averaging]:
    """The loss of the average of K models' (K, P) predictions, and what of them was averaged.

    Raises:
        InvalidModel: the loss is no mean over examples, calls none of torch's loss functions, or depends on more of a
            model than they are given.
    """
    if not loss.adds:
        raise InvalidModel("the loss is no mean over examples, so that its predictions are not averaged in parts")
    with torch.no_grad():
        statistics = estimates(computation, thetas, train)
    totals, by = None, OUTPUTS
    for part in examples.chunks(computation.block):

        def sums(number: int, buffers: Mapping[str, Tensor], part: DataSet = part) -> tuple[Tensor, Number]:
            theta = thetas[number]
            output = computation.evaluating(theta, part, buffers)
            return loss.amounts(output, part.targets, theta, part.inputs if loss.sees else None)

        runs = [partial(sums, number, buffers) for number, buffers in enumerate(statistics)]
        (amount, weight), by = average_of_calls(runs, trial=totals is None)
        totals = (amount, weight) if totals is None else (totals[0] + amount, totals[1] + weight)
    assert totals is not None
    return loss.total(*totals), by


def average_of_calls(
    runs: Sequence[Callable[[], tuple[Tensor, Number]]], trial: bool
) -> tuple[tuple[Tensor, Number], Averaging]:
    """What a run gives when torch's loss functions in it take the average of all runs' predictions.

    Args:
        runs: of one model each, on the same data; each returns a sum and its weight.
        trial: whether to try that it is the same by the first and the last model.

    Raises:
        InvalidModel: see :func:`measure_by_calls`.
    """
    calls = Calls()
    for run in runs:
        with torch.no_grad(), calls:
            run()
        if not calls.complete:
            raise InvalidModel("two models call torch's loss functions a different number of times")
    if not calls.by:
        raise InvalidModel(f"the loss calls none of torch's loss functions, whose predictions are averaged: {NAMES}")
    calls.averaged()
    with torch.no_grad(), calls:
        value, weight = runs[-1]()
    if trial:
        with torch.no_grad(), calls:
            by_another, _ = runs[0]()
        if not bool((value - by_another).abs() <= ROUNDING * value.abs()):
            raise InvalidModel(
                "the loss depends on more of a model than the predictions that torch's loss functions take"
            )
    names, words = (dict.fromkeys(getattr(each, field) for each in calls.by) for field in ("name", "words"))
    return (value, weight), Averaging(" and ".join(names), " and ".join(words))
