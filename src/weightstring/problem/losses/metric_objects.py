"""Metrics of ``torchmetrics``: objects that are updated part by part, and computed once of all they have seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.problem.digests.digest import tensor_digest
from weightstring.text import first_line

PLAIN = (bool, int, float, str)


def is_metric(value: object) -> bool:
    """Whether it is a metric of ``torchmetrics``, which is not imported for that."""
    library = sys.modules.get("torchmetrics")
    return library is not None and isinstance(value, library.Metric)


class FromMetric:
    """What a metric of ``torchmetrics`` has seen: states add up, and :meth:`value` is its ``compute`` over all.

    The metric itself is left as it is. A sum goes on with what its left side has seen, which is used up.

    Args:
        metric: a metric.
        given: what its ``update`` takes, such as predictions and targets.
    """

    def __init__(self, metric: Any, *given: Any) -> None:
        if not is_metric(metric):
            raise InvalidSetting(f"FromMetric of a {type(metric).__name__}: pass a metric of torchmetrics")
        self._metric, self._given = metric, given
        self._live: Any = None

    def __add__(self, other: FromMetric) -> FromMetric:
        """What both have seen."""
        self._updated().update(*other._given)
        return self

    def value(self) -> Tensor | float:
        """The metric of all that was seen.

        Raises:
            InvalidSetting: it is no number.
        """
        found = self._updated().compute()
        if not isinstance(found, Tensor | int | float):
            raise InvalidSetting(
                f"{type(self._metric).__name__} computes a {type(found).__name__}: a quantity must be one number"
            )
        return found

    def _updated(self) -> Any:
        if self._live is None:
            place = next((each.device for each in self._given if isinstance(each, Tensor)), None)
            live = self._metric.clone()
            live.reset()
            self._live = (live if place is None else live.to(place)).set_dtype(torch.float64)
            self._live.update(*self._given)
        return self._live


@dataclass(frozen=True, eq=False)
class OfMetric:
    """A metric of ``torchmetrics`` as a criterion (output, targets): its state on these examples.

    Args:
        metric: it is never updated itself.
        settings: all by which it differs from others of its class, which its text leaves out.
    """

    metric: Any
    settings: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", tuple(_settings(self.metric, "")))

    def __call__(self, output: object, targets: Tensor) -> FromMetric:
        """What these examples add."""
        return FromMetric(self.metric, output, targets)

    @property
    def higher_is_better(self) -> bool:
        """As the metric says."""
        return bool(getattr(self.metric, "higher_is_better", False))


@dataclass(frozen=True, eq=False)
class NumberOf:
    """A metric that was seen to be a mean over examples, as the number that it is on some of them."""

    of: OfMetric

    def __call__(self, output: object, targets: Tensor) -> Tensor | float:
        """The metric of these examples."""
        return self.of(output, targets).value()

    @property
    def higher_is_better(self) -> bool:
        """As the metric says."""
        return self.of.higher_is_better


def as_criterion(metric: Any) -> Any:
    """A metric of ``torchmetrics`` as a criterion; anything else as it is.

    Raises:
        InvalidSetting: a collection of them.
    """
    if is_metric(metric):
        return OfMetric(metric)
    if type(metric).__name__ == "MetricCollection":
        raise InvalidSetting("metrics= holds a MetricCollection: pass its metrics by name, **dict(collection.items())")
    return metric


def _settings(metric: nn.Module, place: str) -> Iterator[str]:
    """Plain attributes and tensors, those of the metrics that it is composed of too."""
    tensors = dict(metric.named_buffers(recurse=False))
    for name, value in sorted({**vars(metric), **tensors, **dict(metric.named_children())}.items()):
        if is_metric(value):
            yield from _settings(value, f"{place}{name}.")
        elif isinstance(value, PLAIN) and not name.startswith("_"):
            yield f"{place}{name} {value!r}"
        elif isinstance(value, Tensor) and name in tensors:
            yield f"{place}{name} {tensor_digest(value)}"
        elif callable(value) and name == "op":
            yield f"{place}{name} {getattr(value, '__name__', '')}"


class Merged:
    """A metric with the state of what it has seen elsewhere, such as in a module's own step.

    Args:
        metric: its own copy.
    """

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def __add__(self, other: Merged) -> Merged:
        """What both have seen.

        Raises:
            InvalidSetting: two states of it cannot be merged.
        """
        whole = self._metric.clone()
        try:
            whole.merge_state(other._metric)
        except Exception as error:  # each kind of metric has reasons of its own
            raise InvalidSetting(
                f"two states of {type(whole).__name__} cannot be merged ({first_line(error)}): leave it out of the "
                "step's log, and pass a loss that returns ws.FromMetric(metric, predictions, targets) beside 'loss'"
            ) from error
        return Merged(whole)

    def value(self) -> Tensor | float:
        """The metric of all that was seen."""
        found = self._metric.compute()
        assert isinstance(found, Tensor | int | float)
        return found
