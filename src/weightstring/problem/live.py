"""A module that holds one θ at a time, as after ``load_state_dict``: plain PyTorch, which runs whatever PyTorch runs.

A pure function of θ (``functional_call``) lends the module its tensors for the time of the forward pass. What looks at
the module later or elsewhere sees others: activation checkpointing recomputes in the backward pass, with whatever
weights are then there; caches and merged adapters are made when the mode changes; lists and closures hold the
parameters themselves. Here θ is written into the module's parameters and stays until the next one comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.problem.compiling import Compiled
from weightstring.problem.computation import Computation
from weightstring.problem.copying import announces
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.flat import Layout
from weightstring.problem.functional import Functional, OfTheta
from weightstring.problem.outputs import widened
from weightstring.problem.tensors import clone_tied, named_tensors


class Live:
    """A module as a function of θ that keeps the θ it was called with.

    >>> from weightstring.problem.datasets.data import Examples
    >>> net = nn.Linear(2, 1)
    >>> live = Live(Functional(net, Layout.of(net), {}))
    >>> live(torch.tensor([1.0, 2.0, 3.0]), Examples((torch.ones(1, 2),), torch.ones(1))).tolist(), net.bias.tolist()
    ([[6.0]], [3.0])
    """

    def __init__(self, functional: Functional) -> None:
        self.functional = functional
        tensors = named_tensors(functional.module)
        self.parameters = tuple(tensors[entry.name] for entry in functional.layout.entries)
        """The module's own, in the order of the layout."""
        self._tensors = {name: tensors[name] for name in functional.constants}
        self._changing = set(functional.volatile & functional.constants.keys())
        self._announces = announces(functional.module)
        self._net = Compiled(functional.module) if functional.compiled else functional.module
        self._steady: Theta | None = None
        self._held: Theta | None = None
        self._modes = [(module, module.training) for module in functional.module.modules()]

    def __reduce__(self) -> tuple[type[Live], tuple[Functional]]:
        return Live, (self.functional,)

    @property
    def module(self) -> nn.Module:
        """The module, which holds the θ of the latest call."""
        return self.functional.module

    @property
    def layout(self) -> Layout:
        """Where its trainable parameters lie in θ."""
        return self.functional.layout

    @property
    def constants(self) -> Mapping[str, Tensor]:
        """Its other tensors by name."""
        return self.functional.constants

    def __call__(
        self,
        theta: Theta,
        examples: DataSet,
        statistics: Mapping[str, Tensor] | None = None,
    ) -> object:
        """What the call of the module on these examples gives at θ."""
        self.hold(theta, statistics or {})
        given = examples.cloned() if self.functional.fresh else examples
        return widened(self.functional.call(self._net, given), self.layout.dtype)

    def hold(self, theta: Theta, statistics: Mapping[str, Tensor]) -> None:
        """Write θ and its running statistics into the module."""
        if self._held is theta and not (self._changing or statistics):
            return
        if self._announces:
            self._leave_mode()
        if self._held is not theta:
            with torch.no_grad():
                torch._foreach_copy_(list(self.parameters), list(self.layout.pieces(theta)))
            # What merges weights at a change of mode does so at each call.
            self._held = theta if self._steady is theta and not self._announces else None
        self._changing |= statistics.keys() & self.constants.keys()
        written = clone_tied({name: self.constants[name] for name in self.functional.volatile & self.constants.keys()})
        for name in self._changing:
            tensor = statistics.get(name, written.get(name, self.constants[name]))
            # A change of mode may merge something into it.
            _bind(self.module, name, tensor.clone() if self._announces else tensor)
        if self._announces:
            self._enter_mode()

    @contextmanager
    def holding(self, theta: Theta) -> Iterator[None]:
        """Within the context θ does not change, and is written once for all calls with this very tensor."""
        self._steady = theta
        try:
            yield
        finally:
            self._steady = self._held = None

    @contextmanager
    def between(self, a: Theta, b: Theta, t: float) -> Iterator[Theta]:
        """Within the context the module holds (1 − t) a + t b, for all calls with the tensor that this yields.

        It is written into the parameters straight, bit for bit as ``torch.lerp`` makes it: a large θ takes longer to
        allocate than to compute.
        """
        if self._announces:  # which reads θ again at each change of mode
            with self.holding(theta := torch.lerp(a, b, t)):
                yield theta
            return
        with torch.no_grad():
            for parameter, first, last in zip(
                self.parameters, self.layout.pieces(a), self.layout.pieces(b), strict=True
            ):
                if parameter.dtype == self.layout.dtype:
                    torch.lerp(first, last, t, out=parameter)
                else:
                    parameter.copy_(torch.lerp(first, last, t))
        yield from self._standing(a)

    @contextmanager
    def written(self, pieces: Iterable[Tensor]) -> Iterator[Theta]:
        """Within the context the module holds these pieces of a θ, for all calls with the tensor yielded.

        Each is asked for once the last is written, so that none but one need be in memory.
        """
        if self._announces:
            with self.holding(theta := self.layout.joined(pieces, self.parameters[0].device)):
                yield theta
            return
        with torch.no_grad():
            for parameter, piece in zip(self.parameters, pieces, strict=True):
                parameter.copy_(piece)
        yield from self._standing(self.parameters[0])

    def _standing(self, like: Tensor) -> Iterator[Theta]:
        """What stands for the model that the module holds."""
        self._held = like.new_empty(0)
        try:
            yield self._held
        finally:
            self._held = None

    @contextmanager
    def resting(self, theta: Theta) -> Iterator[None]:
        """Within the context its parameters take no memory, and are NaN to whoever reads them; then it holds θ."""
        strides = [parameter.stride() for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.data = parameter.new_full((), torch.nan).expand(parameter.shape)
        try:
            yield
        finally:
            for parameter, stride, piece in zip(self.parameters, strides, self.layout.pieces(theta), strict=True):
                parameter.data = parameter.detach().new_empty_strided(parameter.shape, stride).copy_(piece)

    def gradient(self) -> Theta:
        """The gradient (P,) that a backward pass left; it is cleared."""
        return taken_gradient(self.parameters, self.layout)

    def forget(self) -> None:
        """Drop what earlier backward passes left."""
        for parameter in self.parameters:
            parameter.grad = None

    def _leave_mode(self) -> None:
        """Undo what the module merged or cached for the previous θ, and restore its constants."""
        self.module.train()
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(self.constants[name])

    def _enter_mode(self) -> None:
        if self._modes[0][1]:
            self.module.train()
        else:
            self.module.eval()
        for module, mode in self._modes:
            module.training = mode


def with_fresh_inputs(computation: Computation) -> Computation:
    """The same computation by a module that gets its own copy of the inputs at every call."""
    return with_functions(computation, lambda function: Live(replace(function.functional, fresh=True)))


def compiled(computation: Computation) -> Computation:
    """The same computation by compiled passes; those that estimate statistics, with their hooks, stay as they are."""

    def faster(function: OfTheta) -> Live:
        return Live(replace(function.functional, compiled=True))

    return replace(computation, evaluating=faster(computation.evaluating), training=faster(computation.training))


def pure(computation: Computation) -> Computation:
    """The same computation by pure functions, which can be mapped over many models."""
    return with_functions(computation, lambda function: function.functional)


def with_functions(computation: Computation, of: Callable[[OfTheta], OfTheta]) -> Computation:
    """The same computation by other functions of θ."""
    calibrating = computation.calibrating
    return replace(
        computation,
        evaluating=of(computation.evaluating),
        training=of(computation.training),
        calibrating=None if calibrating is None else of(calibrating),
    )


def _bind(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    if attribute not in owner._parameters:
        owner._buffers[attribute] = tensor
        return
    # What torch.export finds in a parameter's place must be one.
    frozen = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    owner._parameters[attribute] = frozen


SCALES = (2.0**14, 2.0**7, 1.0)
"""By what a loss is multiplied before float16 gradients are taken, which are 0 below 6e-8 and infinite above 65504."""


def scaled_backward(
    dtypes: Collection[torch.dtype], loss: Callable[[], Tensor], gradient: Callable[[], Theta]
) -> Theta:
    """The gradient that a backward pass leaves, in float16 by the first scale of the loss that makes none infinite.

    Thus a gradient depends on nothing but its arguments, as it would with a scale that adapts from step to step.

    Args:
        dtypes: in which the loss is computed.
        loss: computes the loss, a graph that has not been used yet.
        gradient: collects the gradient (P,) and clears it.
    """
    for scale in SCALES if torch.float16 in dtypes else ():
        torch.autograd.backward(loss() * scale)
        slope = gradient().div_(scale)
        if scale == SCALES[-1] or bool(slope.isfinite().all()):
            return slope
    torch.autograd.backward(loss())
    return gradient()


def taken_gradient(parameters: Sequence[Tensor], layout: Layout) -> Theta:
    """The gradients (P,) that a backward pass left in the parameters of a layout; they are cleared."""

    def taken() -> Iterator[Tensor]:
        for parameter in parameters:
            yield dense_gradient(parameter)
            parameter.grad = None

    return layout.joined(taken(), parameters[0].device)


def dense_gradient(parameter: Tensor) -> Tensor:
    """A parameter's gradient, dense and flat; zeros if it has none."""
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros_like(parameter).reshape(-1)
    return (gradient.to_dense() if gradient.layout != torch.strided else gradient).reshape(-1).to(parameter.dtype)
