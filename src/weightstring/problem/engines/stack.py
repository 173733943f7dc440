"""Plain sequential networks as products of stacked matrices, with samples on the last axis.

A layer of B models is one batched product (B, out, in) × (B, in, n). Samples are the long axis of a
narrow network, so they are the contiguous one, and filled up to whole lines: then what is computed of a model is the
same, bit for bit, whoever is beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.arrays import Thetas
from weightstring.problem.datasets.data import DataSet, Examples
from weightstring.problem.engines.planes import Planar, Plane, Source, planar, turned
from weightstring.problem.flat import Layout
from weightstring.problem.functional import OfTheta
from weightstring.problem.losses.known import altered

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
"""Modules without parameters that treat each number alike, whatever the axes."""

IDENTITIES: tuple[type[nn.Module], ...] = (nn.AlphaDropout, nn.Dropout, nn.FeatureAlphaDropout, nn.Identity)
"""Modules that change nothing in evaluation mode; where training draws, the stack is not used."""


class Affine(NamedTuple):
    """A linear layer.

    Args:
        inputs: its number of inputs.
        outputs: its number of outputs.
        weight: (outputs, inputs).
        bias: (outputs,).
    """

    inputs: int
    outputs: int
    weight: Source
    bias: Source


Layer: TypeAlias = Affine | Planar | nn.Module
Pieces: TypeAlias = Sequence[Tensor]
"""Parameters of B models in the layout's order, each (B, …)."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A plain sequential network: linear layers and elementwise functions, and layers over planes where wanted.

    Args:
        layout: where its parameters lie in θ.
        layers: one after the other.
        shape: of one example, where it begins with planes.
    """

    layout: Layout
    layers: tuple[Layer, ...]
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, functional: OfTheta, examples: DataSet, planes: bool = False) -> Stack | None:
        """The stack of a module; None where the module or its inputs are of another kind.

        Args:
            functional: the module.
            examples: what it is given.
            planes: whether layers over planes are wanted.

        >>> from weightstring.problem.functional import Functional
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> stack = Stack.of(Functional(net, Layout.of(net), {}), Examples((torch.ones(5, 2, 2),), torch.ones(5)))
        >>> len(stack.layers), stack.widest
        (3, 3)
        """
        first = examples.take(slice(1))
        if not isinstance(first, Examples):
            return None
        net, leaf = functional.module, first.leaves[0]
        plain = first.keys is None and len(first.leaves) == 1 and leaf.is_floating_point()
        plain = plain and not functional.layout.rounds
        if not plain or any(altered(module) for module in net.modules()):
            return None
        places = {name: i for i, entry in enumerate(functional.layout.entries) for name in entry.names}
        layers: list[Layer] = []
        flat = leaf.ndim == 2
        plane = Plane(*leaf.shape[1:]) if planes and leaf.ndim == 4 else None
        names = {module: name for name, module in net.named_modules()}  # a shared module has one name
        for module in _steps(net):
            source = partial(_source, module, names[module], places=places, functional=functional)
            if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
                layers += turned(plane.height * plane.width, plane.channels) if plane and layers else []
                flat, plane = True, None
            elif type(module) is nn.Linear and flat:
                layers.append(Affine(module.in_features, module.out_features, source("weight"), source("bias")))
            elif type(module) in ELEMENTWISE and layers:
                layers.append(module)
            elif plane and (layer := planar(module, plane, source)):
                layers += [] if layers else turned(plane.channels, plane.height * plane.width)
                layers.append(layer)
                plane = layer.leaving
            elif type(module) not in IDENTITIES:
                return None
        over_planes = any(isinstance(layer, Planar) for layer in layers)
        return (
            cls(functional.layout, tuple(layers), leaf.shape[1:] if over_planes else None) if layers and flat else None
        )

    @cached_property
    def affine(self) -> tuple[Affine, ...]:
        """Its linear layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, Affine))

    @cached_property
    def outputs(self) -> int:
        """Numbers that one example has in the end."""
        return next(layer.outputs for layer in reversed(self.layers) if isinstance(layer, Affine | Planar))

    def takes(self, examples: DataSet) -> bool:
        """Whether examples have the shape for which it was made; one that begins with no planes takes any."""
        return self.shape is None or examples.take(slice(1)).inputs.shape[1:] == self.shape

    @property
    def flops(self) -> float:
        """Operations of its products in one forward pass of one example."""
        return 2.0 * sum(layer.inputs * layer.outputs for layer in self.affine)

    @property
    def widest(self) -> int:
        """Outputs of its widest layer."""
        return max(layer.outputs for layer in self.layers if isinstance(layer, Affine | Planar))

    def pieces(self, thetas: Thetas) -> list[Tensor]:
        """Parameters of B models, each (B, …) in its shape.

        >>> from weightstring.problem.functional import Functional
        >>> net = nn.Linear(2, 1)
        >>> stack = Stack.of(Functional(net, Layout.of(net), {}), Examples((torch.ones(5, 2),), torch.ones(5)))
        >>> [tuple(piece.shape) for piece in stack.pieces(torch.zeros(7, 3))]
        [(7, 1, 2), (7, 1)]
        """
        split = torch.split(thetas, [entry.size for entry in self.layout.entries], dim=1)
        return [piece.reshape(-1, *entry.shape) for entry, piece in zip(self.layout.entries, split, strict=True)]

    def __call__(self, pieces: Pieces, inputs: Tensor) -> Tensor:
        """Outputs (B, n, out) of B models.

        Args:
            pieces: see :meth:`pieces`.
            inputs: (n, in), the same for all models, or (B, n, in).
        """
        hidden = inputs.mT
        for layer in self.layers:
            if isinstance(layer, Affine):
                weight, bias = (_resolve(source, pieces) for source in (layer.weight, layer.bias))
                assert weight is not None
                hidden = _product(weight, bias, hidden)
            else:
                assert isinstance(layer, nn.Module)
                hidden = layer(hidden)
        outputs = hidden.mT
        return outputs if outputs.ndim == 3 else outputs.expand(len(pieces[0]), -1, -1)

    def alone(self, pieces: Pieces, hidden: Tensor, start: int = 0) -> Tensor:
        """Outputs (n, out) of one model, samples first, from what enters layer ``start`` (n, in).

        Products that fill the processor by themselves gain nothing beside others, and are faster this way around.

        Args:
            pieces: its parameters, in the layout's order.
            hidden: the inputs, or what the layers before ``start`` made of them.
            start: the layer to begin with.
        """
        for layer in self.layers[start:]:
            if isinstance(layer, Affine):
                weight, bias = (_resolve(source, pieces) for source in (layer.weight, layer.bias))
                assert weight is not None
                hidden = functional.linear(hidden, weight, bias)
            else:
                assert isinstance(layer, nn.Module)
                hidden = layer(hidden)
        return hidden


def _steps(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that a sequential network runs one after the other; one that is shared comes up each time."""
    if type(module) is not nn.Sequential:
        yield module
        return
    for child in module:
        yield from _steps(child)


def _source(module: nn.Module, name: str, kind: str, places: Mapping[str, int], functional: OfTheta) -> Source:
    if getattr(module, kind) is None:
        return None
    full = f"{name}.{kind}".lstrip(".")
    return places[full] if full in places else functional.constants[full]


def _resolve(source: Source, pieces: Pieces) -> Tensor | None:
    return pieces[source] if isinstance(source, int) else source


def _product(weight: Tensor, bias: Tensor | None, hidden: Tensor) -> Tensor:
    """W h + b for weights (B, out, in) or (out, in) and h (B, in, n) or (in, n)."""
    if weight.ndim == 2 and hidden.ndim == 2:
        product = weight @ hidden
        return product if bias is None else product + bias.unsqueeze(-1)
    # One product for each model: a single one of all models' rows rounds otherwise for other numbers of models.
    models = len(weight) if weight.ndim == 3 else len(hidden)
    weight, hidden = weight.expand(models, -1, -1), hidden.expand(models, -1, -1)
    return torch.bmm(weight, hidden) if bias is None else torch.baddbmm(bias.unsqueeze(-1), weight, hidden)


def flat(examples: DataSet) -> Tensor:
    """The inputs as a matrix (N, in)."""
    inputs: Tensor = examples.inputs
    return inputs.flatten(1)
