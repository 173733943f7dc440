"""The module as a pure function of θ.

Nothing is stored or changed between two calls of a :class:`Functional`: parameters are views of θ, buffers that
a training pass may write to are copies. That is what ``vmap`` can map over many models. One model at a time is
computed by a module that holds it (:class:`weightstring.problem.live.Live`), as a user's own code would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from weightstring.arrays import Theta
from weightstring.errors import InvalidModel
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.flat import Layout
from weightstring.problem.outputs import widened
from weightstring.problem.tensors import clone_tied, slot_names

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
