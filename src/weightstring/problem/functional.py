"""The loss of one θ: the module as a pure function of it, and what is computed from that.

Nothing is stored or changed between two calls of a :class:`Functional`: parameters are views of θ, buffers that
a training pass may write to are copies. That is what ``vmap`` can map over many models. One model at a time is
computed by a module that holds it (:class:`weightstring.problem.live.Live`), as a user's own code would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.func import functional_call

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidModel
from weightstring.problem.buffers import fresh_statistics
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.flat import Layout, clone_tied, slot_names
from weightstring.problem.losses.means import Kind, Mean, Tally, Wanted, Weighed
from weightstring.problem.outputs import widened
from weightstring.problem.spectral import singular_vectors

Call: TypeAlias = Callable[[nn.Module, DataSet], object]
"""How a module is called with examples: by its inputs, or by a user's own function that takes the module."""


def forward(net: nn.Module, examples: DataSet) -> object:
    """``net(x)``, ``net(*x)`` or ``net(**x)``."""
    assert isinstance(examples, Examples)
    args, kwargs = examples.arguments
    return net(*args, **kwargs)


@dataclass(frozen=True)
class Autocast:
    """A call under autocast: products and convolutions in a lower precision, as a training script has them."""

    call: Call
    dtype: torch.dtype

    def __call__(self, net: nn.Module, examples: DataSet) -> object:
        """What the call gives."""
        with torch.autocast(next(net.parameters()).device.type, self.dtype):
            return self.call(net, examples)


class Called(nn.Module):
    """A module and how it is called, as one module."""

    def __init__(self, net: nn.Module, call: Call) -> None:
        super().__init__()
        self.net = net
        self.call = call

    def forward(self, examples: DataSet) -> object:
        """The call."""
        return self.call(self.net, examples)


@runtime_checkable
class OfTheta(Protocol):
    """A module as a function of θ, its inputs and optionally its running statistics."""

    @property
    def functional(self) -> Functional:
        """The same as a pure function."""

    @property
    def module(self) -> nn.Module:
        """The module, in the mode wanted."""

    @property
    def layout(self) -> Layout:
        """Where its trainable parameters lie in θ."""

    @property
    def constants(self) -> Mapping[str, Tensor]:
        """Its other tensors by name."""

    def __call__(
        self,
        theta: Theta,
        examples: DataSet,
        statistics: Mapping[str, Tensor] | None = None,
    ) -> object:
        """What the call of the module on these examples gives at θ."""

    def holding(self, theta: Theta) -> AbstractContextManager[None]:
        """Within the context θ does not change; what writes it into a module does so once."""

    def between(self, a: Theta, b: Theta, t: float) -> AbstractContextManager[Theta]:
        """Within the context what it yields stands for the model (1 − t) a + t b."""


@dataclass(frozen=True, eq=False)
class Functional:
    """A module as a pure function, by ``torch.func.functional_call``.

    Args:
        module: in the mode wanted (evaluation, training, …).
        layout: of its trainable parameters.
        constants: its other tensors by name: frozen parameters and buffers.
        volatile: the constants that a pass may write to; every call gets its own copy of these.
        fresh: whether every call gets its own copy of the inputs, for a module that writes to them.
        call: how the module is called.
        compiled: whether ``torch.compile`` computes it where it is called for one θ at a time.

    >>> from weightstring.problem.datasets.data import Examples
    >>> net = nn.Linear(2, 1)
    >>> Functional(net, Layout.of(net), {})(torch.tensor([1.0, 2.0, 3.0]), Examples((torch.ones(1, 2),), torch.ones(1)))
    tensor([[6.]])
    """

    module: nn.Module
    layout: Layout
    constants: Mapping[str, Tensor]
    volatile: frozenset[str] = frozenset()
    fresh: bool = False
    call: Call = forward
    compiled: bool = False
    called: Called = field(init=False)
    """The module and its call, to which tensors are lent."""
    slots: tuple[tuple[str, ...], ...] = field(init=False)
    """The names under which each entry of the layout is lent."""

    def __post_init__(self) -> None:
        present = slot_names(self.module)
        slots = tuple(tuple(name for name in entry.names if name in present) for entry in self.layout.entries)
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "called", Called(self.module, self.call))
        constants = {name: tensor for name, tensor in self.constants.items() if name in present}
        object.__setattr__(self, "constants", constants)
        missing = present - set(constants) - {name for names in slots for name in names}
        if missing:
            raise InvalidModel(f"no value for {sorted(missing)}: parameters and buffers must not change after building")

    @property
    def functional(self) -> Functional:
        """The function itself."""
        return self

    def holding(self, theta: Theta) -> AbstractContextManager[None]:
        """Nothing: the function is given θ at each call."""
        return nullcontext()

    def between(self, a: Theta, b: Theta, t: float) -> AbstractContextManager[Theta]:
        """The model itself."""
        return nullcontext(torch.lerp(a, b, t))

    def __call__(
        self,
        theta: Theta,
        examples: DataSet,
        statistics: Mapping[str, Tensor] | None = None,
    ) -> object:
        """What the call of the module on these examples gives at θ."""
        tensors = dict(self.constants)
        if self.volatile:
            tensors |= clone_tied({name: tensors[name] for name in self.volatile if name in tensors})
        for name, value in (statistics or {}).items():
            if name in tensors:
                tensors[name] = value
        for names, piece in zip(self.slots, self.layout.computed(theta), strict=True):
            tensors |= dict.fromkeys(names, piece)
        lent = {f"net.{name}": tensor for name, tensor in tensors.items()}
        given = examples.cloned() if self.fresh else examples
        # Every tied name is given and that none is missing was checked once, so that torch need not search each time.
        output = functional_call(self.called, lent, (given,), tie_weights=False, strict=False)
        return widened(output, self.layout.dtype)


@dataclass(frozen=True, eq=False)
class OnSegments(Sequence[Theta]):
    """Models (1 − t) a + t b, each made when it is asked for.

    Args:
        places: (a, b, t) of each, t as θ's dtype has it.

    >>> list(OnSegments([(torch.zeros(1), torch.ones(1), 0.25)]))
    [tensor([0.2500])]
    """

    places: Sequence[tuple[Theta, Theta, float]]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Theta:  # type: ignore[override]
        return torch.lerp(*self.places[index])


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
        estimated = self.estimate(theta, train, given)
        with self.evaluating.holding(theta):
            return self._values(theta, estimated, wanted)

    def measure_between(self, a: Theta, b: Theta, t: float, train: DataSet, wanted: Wanted) -> Float64[Tensor, " Q"]:
        """:meth:`measure` of (1 − t) a + t b, of which no copy is made where nothing is a function of θ beside it."""
        with self.evaluating.between(a, b, t) if self.fixed else nullcontext(torch.lerp(a, b, t)) as theta:
            return self._values(theta, EMPTY, wanted) if self.fixed else self.measure(theta, train, wanted)

    def at(self, thetas: Sequence[Theta] | Thetas, index: int) -> AbstractContextManager[Theta]:
        """Within the context what it yields stands for one of some models; of those on segments no copy is made."""
        if isinstance(thetas, OnSegments) and self.fixed:
            return self.evaluating.between(*thetas.places[index])
        return nullcontext(thetas[index])

    def _values(self, theta: Theta, statistics: Mapping[str, Tensor], wanted: Wanted) -> Float64[Tensor, " Q"]:
        values = []
        for examples, means in wanted:
            tally = Tally(means, len(examples), theta)
            for part in examples.chunks(self.block):
                tally.take(self.evaluating(theta, part, statistics), part)
            values.append(tally.values())
        return torch.cat(values)

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


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    lines: Iterable[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
