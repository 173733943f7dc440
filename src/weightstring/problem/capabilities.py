"""What a problem may offer beside its loss where modules and data come in; see :mod:`weightstring.protocol`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from weightstring.arrays import Stretch, Theta, Thetas, Values
from weightstring.memory import Activations
from weightstring.problem.averaging.predictions import Averaged, Predict
from weightstring.problem.computation import Computation
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.each import Shares
from weightstring.problem.flat import Layout
from weightstring.problem.losses.means import Criterion
from weightstring.problem.trace_inputs import TraceInputs
from weightstring.protocol import Along, Enclosed, LossProblem
from weightstring.recipe import Recipe


class Recalibration(NamedTuple):
    """How running statistics come from θ: those of each chunk of the training inputs, averaged.

    Args:
        inputs: what a quantity is computed from, with these statistics.
        estimating: the module while BatchNorm normalises by the chunk and averages its statistics.
        examples: whose inputs they are of.
        chunk: the most of them in one pass.
        names: of the buffers that hold them.
    """

    inputs: TraceInputs
    estimating: nn.Module
    examples: Examples
    chunk: int
    names: frozenset[str]


@runtime_checkable
class Laid(LossProblem, Protocol):
    """Knows its θ as the parameters of a module."""

    @property
    def layout(self) -> Layout:
        """Where each parameter lies in θ."""


@runtime_checkable
class Traceable(Laid, Protocol):
    """Shows the module behind a quantity: what certificates and theorems read."""

    def traceable(self, quantity: str) -> TraceInputs:
        """What a quantity is computed from; raises Unsupported if more than that enters."""


@runtime_checkable
class Recalibrating(Traceable, Protocol):
    """May have running statistics that are functions of θ."""

    def recalibration(self, quantity: str) -> Recalibration | None:
        """How they come from θ; None: there are none, and ``traceable`` says it all."""

    def statistics(self, theta: Theta) -> dict[str, Tensor]:
        """The buffers that are functions of θ (P,), by name."""


def certified_inputs(problem: Traceable, quantity: str) -> tuple[TraceInputs, Recalibration | None]:
    """What a quantity is computed from, where running statistics may be functions of θ.

    Raises:
        Unsupported: more than that enters.
    """
    found = problem.recalibration(quantity) if isinstance(problem, Recalibrating) else None
    return (problem.traceable(quantity), None) if found is None else (found.inputs, found)


Certifiable = Traceable | Enclosed
CERTIFIABLE = (Traceable, Enclosed)
"""What a certificate can be about; of a problem that is both, what is traced counts."""


@runtime_checkable
class AlongMany(Along, Protocol):
    """Can measure the models of several segments in one call."""

    @property
    def segments_at_once(self) -> int:
        """Of how many segments that gains something and fits into memory."""

    def measure_segments(
        self, stretches: Sequence[Stretch], quantities: Sequence[str] = ("loss",)
    ) -> dict[str, Values]:
        """What :meth:`~weightstring.protocol.Along.measure_along` gives of each stretch, one after the other."""


@runtime_checkable
class Modular(Traceable, Protocol):
    """The loss of a module on examples: what the search for symmetries observes."""

    @property
    def computation(self) -> Computation:
        """What is computed for one θ."""

    @property
    def criteria(self) -> tuple[str, ...]:
        """``loss`` and the names of the metrics."""

    @property
    def statistics_names(self) -> frozenset[str]:
        """Names of the buffers that are functions of θ."""

    def statistics(self, theta: Theta) -> dict[str, Tensor]:
        """Those buffers at θ (P,)."""

    def observed(self) -> Examples:
        """The evaluation set; of batches one call of the module."""

    def fitted(self) -> tuple[DataSet, Criterion]:
        """The training set and the loss."""

    def measured(self, quantity: str) -> tuple[DataSet, Criterion]:
        """The examples on which a quantity is measured, and what is measured on them."""

    def initial(self, seed: int) -> Theta:
        """A random model (P,)."""

    @property
    def training_recipe(self) -> Recipe:
        """How random models are trained."""


@runtime_checkable
class Accounted(Protocol):
    """Knows what its measurements and gradients take."""

    @property
    def units(self) -> str:
        """What data are counted in: ``"examples"``, or whole ``"batches"``."""

    def beside(self, quantities: Sequence[str]) -> tuple[str, ...]:
        """These quantities and all others that the passes over the data which they take tell too."""

    def examples(self, quantity: str) -> int:
        """On how many examples, or batches, a quantity is measured."""

    @property
    def spared(self) -> tuple[str, ...]:
        """Quantities that are left out along a finished string where that would take longer than the search did."""

    def activations(self) -> Activations:
        """What one call keeps in memory beside its models."""


def units_of(problem: object) -> str:
    """What a problem's data are counted in."""
    return problem.units if isinstance(problem, Accounted) else "examples"


@runtime_checkable
class Digested(LossProblem, Protocol):
    """Tells what it is made of, part by part."""

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the module without its parameters' numbers, and of each data set, by name."""


@runtime_checkable
class PerExample(LossProblem, Protocol):
    """Tells what each example adds to a quantity."""

    def adds(self, quantity: str) -> bool:
        """Whether the quantity of all examples comes from what each adds."""

    def shares(self, theta: Theta, quantity: str = "loss") -> Shares:
        """What each of N examples adds to a quantity of one model (P,): sums and weights."""

    def measure_each(self, theta: Theta, quantity: str = "loss") -> Values:
        """The quantity of one model (P,) on each of N examples by itself: float64 (N,) on the CPU."""


@runtime_checkable
class Predicting(Protocol):
    """Makes predictions that can be averaged over models."""

    def measure_average(
        self,
        thetas: Thetas | Sequence[Theta],
        quantities: Sequence[str] = ("loss",),
        average: str | None = None,
        predict: Predict | None = None,
    ) -> Averaged:
        """Measure the average of K models' (K, P) predictions as if it were one model's."""
