"""What trivial predictors reach: the level at which curves over thresholds have features that no network explains.

A network that predicts one constant, or a linear function of its inputs, needs no hidden units; at thresholds above
such a level all of them are connected through it. The spike of the paper's cubic sits at the best constant's level.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.problem import Modular
from weightstring.problem.datasets.data import DataSet, Examples, sample, stacked
from weightstring.problem.losses.means import Criterion, number
from weightstring.problem.losses.sighted import applied

EXAMPLES = 10_000
"""Training examples that a trivial predictor is fitted to, at most."""
ITERATIONS = 200
LARGEST = 10_000
"""Numbers of an output that a constant is fitted to at most: a table of all tokens at all places is no predictor."""


def trivial_levels(problem: Modular, quantity: str = "loss", theta: Theta | None = None) -> dict[str, float | None]:
    """What the best constant and the best linear predictor reach.

    Both are fitted to the training loss by L-BFGS, from 0, and measured on the quantity's own data.

    Args:
        problem: whose loss and data.
        quantity: what is measured, such as ``"loss"`` or ``"error"``.
        theta: any model (P,), whose outputs tell their shape; None: a random one.

    Returns:
        ``{"best constant": value, "best linear": value}``; None where there is none: outputs that are no single
        floating tensor or very large, or for the linear one inputs that are not.

    >>> x = torch.linspace(-1, 1, 9).unsqueeze(1)
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, 2 * x))
    >>> levels = trivial_levels(problem)
    >>> round(levels["best constant"], 3), round(levels["best linear"], 6)
    (1.667, 0.0)
    """
    train, loss = problem.fitted()
    train = sample(train, EXAMPLES)
    data, criterion = problem.measured(quantity)
    examples = stacked(data, "what is measured of a constant")
    shape = _output_shape(problem, train, problem.initial(0) if theta is None else theta)
    if shape is None or math.prod(shape) > LARGEST or not isinstance(train, Examples):
        return {"best constant": None, "best linear": None}
    theta = torch.zeros(math.prod(shape), dtype=problem.dtype, device=problem.device)

    def constant(weights: Tensor, examples: Examples) -> Tensor:
        return weights.view(shape).expand(len(examples), *shape)

    levels: dict[str, float | None] = {"best constant": _fitted(constant, theta, train, loss, examples, criterion)}
    inputs = train.leaves[0]
    if len(train.leaves) > 1 or not inputs.is_floating_point():
        return {**levels, "best linear": None}
    width = inputs[0].numel()

    def linear(weights: Tensor, examples: Examples) -> Tensor:
        matrix = weights.view(width + 1, -1)
        return (examples.leaves[0].flatten(1) @ matrix[:-1] + matrix[-1]).view(len(examples), *shape)

    start = torch.zeros((width + 1) * len(theta), dtype=problem.dtype, device=problem.device)
    return {**levels, "best linear": _fitted(linear, start, train, loss, examples, criterion)}


def _output_shape(problem: Modular, train: DataSet, theta: Theta) -> torch.Size | None:
    with torch.no_grad():
        output = problem.computation.evaluating(theta, train.take(slice(2)), problem.statistics(theta))
    whole = isinstance(output, Tensor) and output.is_floating_point() and output.ndim and len(output) == 2
    return output.shape[1:] if whole and isinstance(output, Tensor) else None


def _fitted(
    predict: Callable[[Tensor, Examples], Tensor],
    start: Tensor,
    train: Examples,
    loss: Criterion,
    examples: Examples,
    criterion: Criterion,
) -> float | None:
    """The quantity of a predictor fitted to the training loss; None where that is no number."""
    weights = start.clone().requires_grad_()
    search = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(predict(weights, train), train.targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        value = float(number(applied(criterion, predict(weights, examples), examples), weights))
    return value if math.isfinite(value) else None
