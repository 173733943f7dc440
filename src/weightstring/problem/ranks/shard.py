"""The part of a problem's data that one rank holds, and what that part adds to losses and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import Unsupported
from weightstring.failures import user_code
from weightstring.problem.buffers import normalises_batches
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.loop import Loop
from weightstring.problem.inspection.coupling import couples
from weightstring.problem.losses.means import Mean
from weightstring.problem.losses.tally import Tally
from weightstring.problem.parts import Parts

Totals = Float64[Tensor, "... 2"]
"""Amounts and weights, whose sums over all ranks give a value: see :class:`~weightstring.problem.losses.means.Mean`."""


def bounds(count: int, number: int, of: int) -> slice:
    """The consecutive units of which one of several ranks takes care, as equal parts as can be.

    >>> [bounds(5, number, 2) for number in range(2)]
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return slice(number * count // of, (number + 1) * count // of)


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of each data set, and the sums over it. Models are computed one at a time, by the module itself.

    Args:
        parts: a problem's, with this rank's units only.
        rows: those of the whole training set that it holds.
        whole: how many that has.
    """

    parts: Parts
    rows: slice
    whole: int

    @classmethod
    def of(cls, parts: Parts, number: int, of: int) -> Shard:
        """The part of one of several ranks; nothing that it holds keeps the rest of the data in memory.

        Raises:
            Unsupported: a value over all data does not come from sums over parts of them.
        """
        require_divisible(parts, of)
        data = {name: units.only(bounds(len(units), number, of)) for name, units in parts.data.items()}
        return cls(parts.by_loop(data), bounds(len(parts.train), number, of), len(parts.train))

    @property
    def loop(self) -> Loop:
        """What computes one model at a time."""
        engine = self.parts.dispatcher.engine
        assert isinstance(engine, Loop)
        return engine

    def measured(self, theta: Theta, names: Sequence[str]) -> Totals:
        """What this part adds to quantities of one model (P,): (Q, 2)."""
        with user_code(lambda: "what a model measures"), torch.no_grad():
            return _totals(self.parts.computation.tallied(theta, self.parts.train, self._wanted(names)))

    def between(self, a: Theta, b: Theta, ts: Sequence[float], names: Sequence[str]) -> Totals:
        """The same of the models (1 − t) a + t b at T positions: (T, Q, 2)."""
        computation, wanted = self.parts.computation, self._wanted(names)
        with user_code(lambda: f"what models at {len(ts)} places of a segment measure"), torch.no_grad():
            tallies = (computation.tallied_between(a, b, t, self.parts.train, wanted) for t in ts)
            return torch.stack([_totals(each) for each in tallies])

    def slope(self, theta: Theta, rows: Int64[Tensor, " n"] | None) -> tuple[Totals, Theta]:
        """What this part adds to the training loss of one model on rows of the whole set (None: on all).

        Returns:
            Amount and weight (2,), and the gradient (P,) of the amount, both divided by the number of examples.
        """
        own, count = self._own(rows)
        if own is not None and not len(own):
            return torch.zeros(2, dtype=torch.float64), torch.zeros_like(theta)
        with user_code(lambda: "the gradient of a model"):
            gradient, weight = self.loop.weighed(
                theta[None], None if own is None else own[None], self._drawn_by(theta, own)
            )
        kind = self.parts.computation.kind
        share = 1.0 if kind == "sum" else float(weight) / count
        totals = torch.tensor([float(gradient.losses[0]) * share, share], dtype=torch.float64)
        return totals, gradient.gradients[0].mul_(share)

    def _drawn_by(self, theta: Theta, own: Tensor | None) -> Tensor:
        """What seeds the draws of training: its rows, or of a full batch the model and the place of the part."""
        first = self.rows.start
        if own is not None:
            return own.add(first)
        return torch.cat([theta, theta.new_tensor([first])]) if self.parts.computation.draws else theta

    def slope_of(self, totals: Totals, slope: Theta) -> tuple[Tensor, Theta]:
        """The loss () and gradient (P,) of all ranks' sums."""
        if self.parts.computation.kind != "ratio":  # what was divided by the number of examples is a mean
            return totals[0], slope
        weight = totals[1] if totals[1] != 0 else totals.new_tensor(1.0)
        return totals[0] / weight, slope.div_(float(weight))

    def means(self, names: Sequence[str]) -> list[Mean]:
        """The criteria behind some quantities."""
        return [mean for _, means in self._wanted(names) for mean in means]

    def _wanted(self, names: Sequence[str]) -> list[tuple[DataSet, list[Mean]]]:
        return self.parts.quantities.select(names)[1]

    def _own(self, rows: Tensor | None) -> tuple[Tensor | None, int]:
        """Rows among those of this part, and of how many."""
        if rows is None:
            return None, self.whole
        inside = (rows >= self.rows.start) & (rows < self.rows.stop)
        return rows[inside] - self.rows.start, len(rows)


def _totals(tallies: Sequence[Tally]) -> Totals:
    return torch.cat([tally.totals() for tally in tallies]).cpu()


def require_divisible(parts: Parts, of: int) -> None:
    """Refuse a problem whose values over all data do not come from sums over parts of them.

    Raises:
        Unsupported: that, or a set has fewer units than there are ranks.
    """
    alone = "run it in one process, without torchrun"
    for name, mean in parts.quantities.means.items():
        if not mean.adds and mean.pair is None:
            raise Unsupported(f"{name} is measured on all outputs at once, not on parts of the data: {alone}")
    if parts.computation.kind == "whole":
        raise Unsupported(f"the training loss is that of all outputs at once, not of parts of the data: {alone}")
    computation = parts.computation
    if computation.calibrating is not None:
        kind = "BatchNorm" if normalises_batches(parts.net) else "InstanceNorm"
        raise Unsupported(
            f"running statistics of {kind} are re-estimated on all training data, not on parts of them: {alone}, or "
            "build the problem with buffers='frozen'"
        )
    if parts.one_piece or couples(computation, parts.template.own.theta, parts.train):
        raise Unsupported(f"outputs of an example depend on those beside it, so that data cannot be divided: {alone}")
    for name, units in parts.data.items():
        if len(units) < of:
            raise Unsupported(f"{name} has {len(units)} {units.units} for {of} ranks: start at most {len(units)}")
