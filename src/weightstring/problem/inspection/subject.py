"""What is tried of a module before it is believed to be a function of θ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.problem.buffers import Buffers
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.flat import Own
from weightstring.problem.inspection.originals import in_mode, loaded
from weightstring.problem.losses.folded import Folded, value_of
from weightstring.problem.losses.means import Given, Number, number
from weightstring.problem.losses.sighted import applied


@dataclass(frozen=True, eq=False)
class Subject:
    """A module and what it is tried with.

    Args:
        original: the user's net, which is put back as it was.
        own: the copy of it that plain copies are made of, and its θ.
        computation: what computes.
        buffers: what BatchNorm normalises by in training.
        train: training examples.
        rows: those of them on which everything is tried.
        criteria: the loss and the metrics, as the caller gave them.
    """

    original: nn.Module
    own: Own
    computation: Computation
    buffers: Buffers
    train: DataSet
    rows: Tensor
    criteria: Sequence[Given]

    @property
    def theta(self) -> Theta:
        """Net's own, a copy at each call: a large one is not held while others are tried."""
        return self.own.theta

    @property
    def device(self) -> torch.device:
        """Where θ lies."""
        return self.own.device

    @property
    def probe(self) -> DataSet:
        """A copy of the examples tried."""
        return self.train.take(self.rows).cloned()

    def values(self, theta: Theta, derived: Mapping[str, Tensor] | None = None) -> Tensor:
        """All numbers that loss and metrics return on the probe, in float64.

        With net's own buffers but for those ``derived`` from θ.
        """
        with torch.no_grad():
            probe = self.probe
            return self.numbers(self.computation.evaluating(theta, probe, derived), probe)

    def numbers(self, output: object, examples: DataSet) -> Tensor:
        """All numbers that loss and metrics return, in float64."""
        found = [applied(criterion, output, examples) for criterion in self.criteria]
        each = [own if isinstance(own, tuple | list) else (own,) for own in found]
        return torch.stack([self._number(value) for returned in each for value in returned])

    def _number(self, value: Number | Folded) -> Tensor:
        return value_of(value, self.rows) if isinstance(value, Folded) else number(value, self.rows)

    def plain(self, theta: Theta, training: bool) -> nn.Module:
        """A plain copy of net that has loaded θ."""
        vectors = self.computation.vectors(theta)
        return loaded(self.own.net, self.computation.evaluating.layout, theta, vectors, training, self.buffers)

    def trained(self, net: nn.Module) -> nn.Module:
        """A plain copy that was evaluated, in training mode."""
        return in_mode(net, True, self.buffers)
