"""A step of a LightningModule as a loss: what it returns, and what it logs as further quantities."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidData, InvalidModel
from weightstring.problem.batchwise.per_batch import MeanOf, Returned
from weightstring.problem.datasets.batches import form_of_batch
from weightstring.problem.losses.means import Number
from weightstring.problem.losses.metric_objects import Merged, is_metric
from weightstring.problem.outputs import tensors_of
from weightstring.text import first_line

STEPS = ("validation_step", "training_step")
"""The steps that are tried for a loss, in order."""

PHASE = re.compile(r"^(train|training|val|valid|validation|test)(_|/|\.)")
"""What logged names begin with, which here says the set that is measured."""

LOSS = "loss"

Weight = Callable[[Any], Number]
"""How many examples or tokens of a batch a step's mean is over."""


def size_of(batch: object) -> int:
    """The number of examples of a batch, as Lightning reads it: rows of its first tensor.

    >>> size_of({"x": torch.ones(3, 2), "y": torch.ones(3)})
    3
    """
    tensors = [tensor for tensor in tensors_of(batch) if tensor.ndim]
    if not tensors:
        raise InvalidData(f"a batch ({form_of_batch(batch)}) has no axis of examples: pass weight=fn(batch)")
    return len(tensors[0])


@dataclass(frozen=True, eq=False)
class StepLoss:
    """``step(batch, 0)`` of a module that has no Trainer; what it logs is collected, and metrics begin anew each time.

    Args:
        kind: the module's class, whose function it is.
        step: its name.
        weight: what the step's means are over.
        logged: under which name it logs the loss, where it does not return it.
    """

    kind: type[nn.Module]
    step: str
    weight: Weight = size_of
    logged: str | None = None

    def __call__(self, net: nn.Module, batch: object) -> dict[str, Returned]:
        """The loss and the quantities that are logged, each a mean over the batch."""
        weight = self.weight(batch)
        with collected(net) as log:
            returned = self._run(net, batch)
        loss = loss_in(returned) if self.logged is None else log.get(self.logged)
        if not isinstance(loss, Tensor):
            raise InvalidModel(f"{self.kind.__name__}.{self.step} gives no loss of a batch ({form_of_batch(batch)})")
        found: dict[str, Returned] = {LOSS: MeanOf(loss, weight)}
        for name, value in log.items():
            own = quantity(name)
            if own != LOSS and name != self.logged:
                found[own] = Merged(value.clone()) if is_metric(value) else MeanOf(_detached(value), weight)
        return found

    def _run(self, net: nn.Module, batch: object) -> object:
        function = getattr(self.kind, self.step)
        taken = len(inspect.signature(function).parameters) - 1  # (self, batch) or (self, batch, number, …)
        return function(net, *(batch, 0)[: min(taken, 2)])


def loss_in(returned: object) -> Tensor | None:
    """The loss that a step returned, by itself or in a dict."""
    found = returned.get(LOSS) if isinstance(returned, Mapping) else returned
    return found if isinstance(found, Tensor) and not found.ndim else None


def quantity(name: str) -> str:
    """What a logged name is called as a quantity: without its phase, an identifier.

    >>> quantity("val/acc"), quantity("train_loss"), quantity("F1 (macro)")
    ('acc', 'loss', 'F1__macro_')
    """
    return re.sub(r"\W", "_", PHASE.sub("", name))


@contextmanager
def collected(net: nn.Module) -> Iterator[dict[str, Any]]:
    """While it lasts, what a module logs is collected; its metrics begin anew."""
    found: dict[str, Any] = {}

    def log(name: str, value: object, *_: object, **__: object) -> None:
        found[name] = value

    def log_dict(values: Mapping[str, object], *_: object, **__: object) -> None:
        found.update(values)

    for part in net.modules() if isinstance(net, nn.Module) else ():
        if is_metric(part):
            part.reset()  # type: ignore[operator]
    own: dict[str, Any] = vars(net)
    before: dict[str, Any] = {name: own[name] for name in ("log", "log_dict") if name in own}
    own["log"], own["log_dict"] = log, log_dict
    try:
        yield found
    finally:
        for name in ("log", "log_dict"):
            own.pop(name)
        own |= before


def _detached(value: Any) -> Number:
    return value.detach() if isinstance(value, Tensor) else value


def found_step(module: nn.Module, batch: object, step: str | None, weight: Weight) -> StepLoss:
    """The step of a module that gives a loss of a batch.

    Raises:
        InvalidModel: none does.
    """
    kind, said = type(module), list[str]()
    for name in STEPS if step is None else (step,):
        if not callable(getattr(kind, name, None)):
            said.append(f"has no {name}")
            continue
        if name == "training_step" and not getattr(module, "automatic_optimization", True):
            said.append("optimises by itself in training_step (automatic_optimization=False)")
            continue
        tried = StepLoss(kind, name, weight)
        try:
            with torch.enable_grad(), collected(module) as log:
                returned = tried._run(module, batch)
        except Exception as error:  # what a step asks of a Trainer that is not there
            said.append(f"{name} fails without a Trainer ({first_line(error)})")
            continue
        if loss_in(returned) is not None:
            return tried
        losses = [key for key, value in log.items() if quantity(key) == LOSS and isinstance(value, Tensor)]
        if len(losses) == 1:
            return StepLoss(kind, name, weight, losses[0])
        said.append(f"{name} returns {type(returned).__name__} and logs {', '.join(map(repr, log)) or 'nothing'}")
    raise InvalidModel(f"{kind.__name__} {'; '.join(said)}: pass loss=fn(net, batch), which returns (sum, weight)")
