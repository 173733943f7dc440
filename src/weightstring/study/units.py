"""Units of a module's layers: their means and deviations, and how θ alone shifts and rescales them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.problem import Modular
from weightstring.problem.datasets.data import DataSet
from weightstring.study.watching import watched

SEEN = 2048
"""Training examples on which means and deviations are taken."""
LEAST = 1e-6
"""A unit whose standard deviation is below this share of its layer's is constant: it is shifted, not rescaled."""

Moments = tuple[Tensor, Tensor]
"""Mean and standard deviation of each of a layer's units, float64 (C,)."""


def mixed(moments: Sequence[Moments], shares: Sequence[float]) -> Moments:
    """Means and deviations between those of several models."""
    means, deviations = (
        sum((share * each for share, each in zip(shares, column, strict=True)), torch.zeros_like(column[0]))
        for column in zip(*moments, strict=True)
    )
    return means, deviations


def correctable(problem: Modular) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Modules whose units can be shifted and rescaled by θ alone; why others cannot."""
    found: dict[str, nn.Module] = {}
    left: dict[str, str] = {}
    tied = {entry.name for entry in problem.layout.entries if entry.aliases}
    own = {entry.name for entry in problem.layout.entries}
    for name, module in problem.computation.evaluating.module.named_modules():
        if _unit_axes(module) is None:
            continue
        weight, bias = f"{name}.weight".lstrip("."), f"{name}.bias".lstrip(".")
        if getattr(module, "bias", None) is None:
            left[name] = "it has no bias to shift by"
        elif not {weight, bias} <= own:
            left[name] = "its weight or bias is not trained, or computed from others"
        elif {weight, bias} & tied:
            left[name] = "its weight or bias is tied"
        else:
            found[name] = module
    return found, left


def _unit_axes(module: nn.Module) -> tuple[int, int] | None:
    """The axis of units in the weight, and in an output; None for other modules."""
    if isinstance(module, nn.Linear):
        return 0, -1
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return 0, -1 - len(module.kernel_size)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # GPT-2's linear layer, its weight transposed
        return 1, -1
    return None


def seen(problem: Modular) -> DataSet:
    """The training examples on which moments are taken; of batches, one call of the module."""
    train = problem.fitted()[0]
    return train.take(train.spread(SEEN)) if train.together else problem.observed()


def moments_of(
    problem: Modular, theta: Theta, modules: dict[str, nn.Module], left: dict[str, str], examples: DataSet
) -> dict[str, Moments]:
    """Of each layer in the order in which they run; those that are called twice, and the last one, are struck out."""
    found: dict[str, Moments] = {}

    def see(name: str, output: Tensor) -> None:
        if name in found:
            left[name] = "it is called several times"
        axes = _unit_axes(modules[name])
        assert axes is not None
        found[name] = _mean_and_deviation(output, axes[1])

    _run(problem, theta, modules, see, examples)
    if found:
        left[next(reversed(found))] = "it is the last, whose outputs are the model's"
    left |= dict.fromkeys(modules.keys() - found.keys(), "it does not run in evaluation")
    return {name: moments for name, moments in found.items() if name not in left}


def corrections_of(
    problem: Modular,
    theta: Theta,
    modules: Mapping[str, nn.Module],
    target: Mapping[str, Moments],
    examples: DataSet,
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, float]]:
    """Factor and shift of each unit, found in one pass in which later layers see earlier ones corrected."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    shrunk: dict[str, float] = {}

    def see(name: str, output: Tensor) -> Tensor:
        axes = _unit_axes(modules[name])
        assert axes is not None
        mean, deviation = _mean_and_deviation(output, axes[1])
        wanted, spread = target[name]
        constant = deviation <= LEAST * deviation.mean()
        factor = torch.where(constant, 1.0, spread / deviation.where(~constant, torch.ones_like(deviation)))
        shift = wanted - factor * mean
        found[name] = factor, shift
        shrunk[name] = float((deviation / spread.clamp_min(torch.finfo(spread.dtype).tiny))[~constant].mean())
        shape = [1] * output.ndim
        shape[axes[1]] = -1
        return output * factor.to(output).view(shape) + shift.to(output).view(shape)

    _run(problem, theta, modules, see, examples)
    return found, shrunk


def _run(
    problem: Modular,
    theta: Theta,
    modules: Mapping[str, nn.Module],
    see: Callable[[str, Tensor], Tensor | None],
    examples: DataSet,
) -> None:
    with torch.no_grad(), watched(modules, see):
        problem.computation.evaluating(theta, examples, problem.statistics(theta))


def _mean_and_deviation(output: Tensor, axis: int) -> Moments:
    units = output.detach().double().movedim(axis, 0).flatten(1)
    return units.mean(1), units.std(1, correction=0)


def folded(
    problem: Modular,
    theta: Theta,
    modules: Mapping[str, nn.Module],
    corrections: Mapping[str, tuple[Tensor, Tensor]],
) -> Theta:
    """θ with the factors in the weights and both in the biases."""
    repaired = theta.clone()
    views = problem.layout.views(repaired)
    for name, (factor, shift) in corrections.items():
        axes = _unit_axes(modules[name])
        assert axes is not None
        weight, bias = views[f"{name}.weight".lstrip(".")], views[f"{name}.bias".lstrip(".")]
        shape = [1] * weight.ndim
        shape[axes[0]] = -1
        weight.copy_((weight.double() * factor.view(shape)).to(weight.dtype))
        bias.copy_((bias.double() * factor + shift).to(bias.dtype))
    return repaired
