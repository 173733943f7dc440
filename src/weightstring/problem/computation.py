"""What is computed for one θ: the buffers that belong to it, its quantities, its training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from weightstring.arrays import Theta, Thetas
from weightstring.problem.buffers import fresh_statistics
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.functional import Autocast, OfTheta
from weightstring.problem.losses.means import Kind, Mean, Wanted, Weighed
from weightstring.problem.losses.tally import Tally
from weightstring.problem.on_segments import OnSegments
from weightstring.problem.spectral import singular_vectors

EMPTY: Mapping[str, Tensor] = {}


@dataclass(frozen=True, eq=False)
class Computation:
    """What is computed for one θ: its running statistics, its quantities, its training loss.

    Args:
        evaluating: the module in evaluation mode.
        training: the module in training mode.
        calibrating: the module while it estimates running statistics; None: they are frozen.
        statistics: the buffers that hold running statistics, by name.
        structure: a module with weights under spectral norm, whose vectors are computed from θ; None without any.
        loss_fn: the loss.
        chunk: the most examples in one forward pass.
        block: the most examples in one forward pass where their number changes nothing but the speed.
        draws: whether training draws at random (dropout), so that each model needs a seed of its own.
        step: what is made of the loss that the user's own training step returns; None: there is no such step.
    """

    evaluating: OfTheta
    training: OfTheta
    calibrating: OfTheta | None
    statistics: Mapping[str, Tensor]
    structure: nn.Module | None
    loss_fn: Mean
    chunk: int
    block: int
    draws: bool = True
    step: Mean | None = None

    def estimate(self, theta: Theta, train: DataSet, given: Mapping[str, Tensor] = EMPTY) -> dict[str, Tensor]:
        """The buffers that belong to θ: spectral norm's vectors, and running statistics on the training inputs.

        The latter are the average over its chunks, in order, as ``torch.optim.swa_utils.update_bn`` takes it, but only
        layers with running statistics train: dropout stays off.

        Args:
            theta: (P,).
            train: what statistics are estimated on.
            given: frozen parameters and buffers in place of the module's own, handed on; statistics and vectors
                among them are taken as they are.
        """
        derived = {**self.vectors(theta, given), **given}
        if self.calibrating is None or given.keys() >= self.statistics.keys():
            return derived
        statistics = fresh_statistics(theta, self.statistics)
        for part in train.chunks(self.chunk):
            self.calibrating(theta, part, {**derived, **statistics})
        return {**derived, **statistics, **given}

    @property
    def fixed(self) -> bool:
        """Whether no buffer is a function of θ."""
        return self.calibrating is None and self.structure is None

    def vectors(self, theta: Theta, given: Mapping[str, Tensor] = EMPTY) -> dict[str, Tensor]:
        """Spectral norm's vectors at θ, by name; differentiable."""
        if self.structure is None:
            return {}
        layout = self.evaluating.layout
        parameters = layout.named(layout.computed(theta))
        return singular_vectors(self.structure, {**self.evaluating.constants, **given, **parameters})

    def measure(
        self, theta: Theta, train: DataSet, wanted: Wanted, given: Mapping[str, Tensor] = EMPTY
    ) -> Float64[Tensor, " Q"]:
        """Values over whole data sets, in the order wanted, one forward pass for each; see :meth:`estimate`."""
        return torch.cat([tally.values() for tally in self.tallied(theta, train, wanted, given)])

    def tallied(self, theta: Theta, train: DataSet, wanted: Wanted, given: Mapping[str, Tensor] = EMPTY) -> list[Tally]:
        """What :meth:`measure` adds up, one tally for each data set."""
        estimated = self.estimate(theta, train, given)
        with self.evaluating.holding(theta):
            return self._tallied(theta, estimated, wanted)

    def tallied_between(self, a: Theta, b: Theta, t: float, train: DataSet, wanted: Wanted) -> list[Tally]:
        """:meth:`tallied` of (1 − t) a + t b, of which no copy is made where nothing is a function of θ beside it."""
        with self.evaluating.between(a, b, t) if self.fixed else nullcontext(torch.lerp(a, b, t)) as theta:
            return self._tallied(theta, EMPTY, wanted) if self.fixed else self.tallied(theta, train, wanted)

    def at(self, thetas: Sequence[Theta] | Thetas, index: int) -> AbstractContextManager[Theta]:
        """Within the context what it yields stands for one of some models; of those on segments no copy is made."""
        if isinstance(thetas, OnSegments) and self.fixed:
            return self.evaluating.between(*thetas.places[index])
        return nullcontext(thetas[index])

    def _tallied(self, theta: Theta, statistics: Mapping[str, Tensor], wanted: Wanted) -> list[Tally]:
        tallies = []
        for examples, means in wanted:
            tally = Tally(means, len(examples), theta)
            for part in examples.chunks(self.block):
                tally.take(self.evaluating(theta, part, statistics), part)
            tallies.append(tally)
        return tallies

    def loss(self, theta: Theta, rows: Int64[Tensor, " n"] | None, examples: DataSet) -> Float[Tensor, ""]:
        """The training loss of ``rows`` of the examples (None: of all)."""
        return self.weighed_loss(theta, rows, examples).value

    def weighed_loss(self, theta: Theta, rows: Int64[Tensor, " n"] | None, examples: DataSet) -> Weighed:
        """The training loss of ``rows`` of the examples (None: of all), and its weight beside that of others."""
        batch = examples if rows is None else examples.take(rows)
        output = self.training(theta, batch, self.vectors(theta))
        return (self.step or self.loss_fn).weighed(output, batch.targets)

    @property
    def coarsest(self) -> torch.dtype:
        """The dtype with the largest unit roundoff in which it computes."""
        return max(self.dtypes, key=lambda dtype: torch.finfo(dtype).eps)

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """Those in which it computes: its parameters', and autocast's in training."""
        call = self.training.functional.call
        return self.training.layout.dtypes | ({call.dtype} if isinstance(call, Autocast) else set())

    @property
    def own_step(self) -> bool:
        """Whether ``training`` is the user's own training step, which returns the loss itself."""
        return self.step is not None

    @property
    def kind(self) -> Kind:
        """How the training loss of a set comes from that of its parts."""
        return (self.step or self.loss_fn).kind
