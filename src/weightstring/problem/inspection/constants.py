"""Frozen parameters and buffers of a checkpoint that differ from the module's: harmless, or another function.

Every model on a path is measured with the module's constants. A checkpoint may have others where no number that
is measured depends on them, as on a counter; that is tried out, on a few examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.buffers import evaluating
from weightstring.problem.checkpoints.checkpoint import Saved
from weightstring.problem.computation import Computation
from weightstring.problem.copying import copied
from weightstring.problem.datasets.data import DataSet, form
from weightstring.problem.inspection.originals import untouched
from weightstring.problem.losses.means import Mean
from weightstring.problem.losses.tally import Tally
from weightstring.problem.outputs import widened
from weightstring.problem.tensors import identical, named_tensors

ROUNDING = 16
"""Units in the last place by which a loss may move on account of a constant that was computed elsewhere."""

GUARD = {torch.float64: 1e-6, torch.float32: 1e-3}
"""How far the loss of a user's module may be from that of the problem's with its numbers, relative."""


class Probe(NamedTuple):
    """The examples and criteria by which constants are compared.

    Args:
        computation: what is computed.
        train: a few training examples, on which running statistics are estimated.
        examples: a few of those on which the loss is measured.
        criteria: the loss and the metrics.
    """

    computation: Computation
    train: DataSet
    examples: DataSet
    criteria: Sequence[Mean]

    def values(self, saved: Saved, constants: Mapping[str, Tensor]) -> Tensor:
        """The criteria of a checkpoint's parameters, with some constants in place of the module's."""
        given = {name: tensor.clone() for name, tensor in constants.items()}  # which the module may write to
        with torch.no_grad():
            return self.computation.measure(saved.theta, self.train, [(self.examples, self.criteria)], given)


def check_constants(saved: Saved, probe: Probe, estimated: frozenset[str], running: frozenset[str]) -> None:
    """Refuse a checkpoint whose constants differ from the module's in a way that changes the loss.

    Args:
        saved: the checkpoint.
        probe: on what to look.
        estimated: names of buffers that are functions of θ, which may differ.
        running: names of running statistics, estimated or not.

    Raises:
        InvalidCheckpoint: the loss or a metric depends on one that differs.
    """
    constants = probe.computation.evaluating.constants
    different = {
        name: value
        for name, value in saved.constants.items()
        if name in constants and name not in estimated and not _same(value, constants[name])
    }
    if not different:
        return
    for name, value in different.items():
        if value.shape != constants[name].shape:
            raise InvalidCheckpoint(
                f"{name!r} is {form(value)} but the module's is {form(constants[name])}: pass a checkpoint of the same "
                "module"
            )
    plain = probe.values(saved, {})
    if _agree(plain, probe.values(saved, different), saved.theta):
        return
    shown = [name for name in different if not _agree(plain, probe.values(saved, {name: different[name]}), saved.theta)]
    name = (shown or list(different))[0]
    frozen, given = isinstance(constants[name], nn.Parameter), probe.values(saved, saved.constants)
    kind = "a frozen parameter" if frozen else "a running statistic" if name in running else "a buffer"
    more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
    distance = _distance(different[name], constants[name])
    raise InvalidCheckpoint(
        f"{name!r}{more}, {kind}, differs from the module's own by up to {distance:.3g}, "
        f"and every model on a path has the module's: that takes this checkpoint's loss on {len(probe.examples)} "
        f"examples from {float(given[0]):.4g} to {float(plain[0]):.4g}; {_remedy(constants[name], name in running)}"
    )


def check_function(saved: Saved, probe: Probe) -> None:
    """Refuse a checkpoint that computes something else than the problem's module with its parameters and buffers.

    A module may have the same names and shapes but other code or settings; a state dict, state that is no tensor.

    Raises:
        InvalidCheckpoint: its loss is another.
    """
    origin = saved.net if saved.origin is None else saved.origin
    try:
        if saved.origin is None:
            loss = _loss_of(saved.net, probe, saved.theta)
        else:
            with untouched(origin):  # a hook that knows the module itself writes to it from a copy too
                loss = _loss_of(copied(origin), probe, saved.theta)
    except Exception:  # what cannot be called here, such as a part of a model that was compiled, says nothing
        return
    expected = float(probe.values(saved, saved.constants)[0])
    tolerance = GUARD.get(probe.computation.evaluating.layout.coarsest, 5e-2)
    if not isclose(loss, expected, rel_tol=tolerance) and isfinite(loss) and isfinite(expected):
        raise InvalidCheckpoint(
            f"the {type(origin).__name__} has the parameters of the problem's module but computes something else: its "
            f"loss on {len(probe.examples)} examples is {loss:.6g}, that of the problem's with its numbers "
            f"{expected:.6g}; build both in the same way"
        )


def _loss_of(net: nn.Module, probe: Probe, theta: Theta) -> float:
    """The loss of a module at its own parameters, in evaluation mode."""
    net, function = evaluating(net.to(theta.device)), probe.computation.evaluating.functional
    dtypes = {each.dtype for name, each in named_tensors(net).items() if name in function.layout.names}
    if dtypes != function.layout.dtypes:
        raise InvalidCheckpoint("a loss in another dtype is rounded otherwise")
    tally = Tally(probe.criteria, len(probe.examples), theta)
    with torch.no_grad():
        for part in probe.examples.chunks(probe.computation.block):
            output = function.call(net, part.cloned() if function.fresh else part)
            tally.take(widened(output, function.layout.dtype), part)
    return float(tally.values()[0])


def _remedy(expected: Tensor, running: bool) -> str:
    if running:
        return "leave out buffers='frozen': statistics are then estimated for each model"
    if isinstance(expected, nn.Parameter):
        return "set requires_grad=True on it in net, so that paths move it too"
    if expected.is_floating_point():
        return (
            "if no pass writes to it, make it an nn.Parameter, so that paths move it too; else compute it from the "
            "parameters in forward"
        )
    return "compute it from the parameters in forward"


def _agree(first: Tensor, second: Tensor, theta: Tensor) -> bool:
    tolerance = ROUNDING * torch.finfo(theta.dtype).eps * torch.maximum(first.abs(), second.abs())
    return bool((((first - second).abs() <= tolerance) | ((first != first) & (second != second))).all())


def _same(given: Tensor, expected: Tensor) -> bool:
    return given.shape == expected.shape and identical(given.to(expected), expected)


def _distance(given: Tensor, expected: Tensor) -> float:
    wide = torch.complex128 if expected.is_complex() else torch.float64
    return float((given.detach().cpu().to(wide) - expected.detach().cpu().to(wide)).abs().nan_to_num().max())
