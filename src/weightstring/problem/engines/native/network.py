"""A network in the form that the compiled code reads; the structures and numbers are those of network.h."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_double, c_int64, c_void_p

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidModel
from weightstring.problem.engines.planes import Planar, Plane, Source, Window
from weightstring.problem.engines.stack import Affine, Stack
from weightstring.problem.losses.known import recognised
from weightstring.problem.losses.means import Mean

NONE = -(2**63)
ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.Tanh: 2, nn.Sigmoid: 3, nn.LeakyReLU: 4, nn.ELU: 5}
CROSS_ENTROPY = 0
LOSSES: dict[type[nn.Module], int] = {nn.CrossEntropyLoss: CROSS_ENTROPY, nn.MSELoss: 1, nn.L1Loss: 2}


KINDS = {"linear": 0, "convolution": 1, "largest": 2, "mean": 3, "turn": 4}
SIZES = (*Plane._fields, *(f"leaving_{name}" for name in Plane._fields), *(f"window_{name}" for name in Window._fields))


class Layer(Structure):
    """A layer and the activation that follows it."""

    _fields_ = (
        *((name, c_int64) for name in ("kind", "inputs", "outputs", "weight", "bias", "activation")),
        ("slope", c_double),
        *((name, c_int64) for name in SIZES),
    )


class Network(Structure):
    """Layers, constants and the loss."""

    _fields_ = (("layers", POINTER(Layer)), ("count", c_int64), ("constants", c_void_p), ("loss", c_int64))


def described(stack: Stack, loss: int) -> tuple[Network, Tensor]:
    """The network, and its constants, which must live as long.

    Raises:
        InvalidModel: it has an activation that is not known, or parameters that layers share.
    """
    layers: list[Layer] = []
    constants: list[Tensor] = []
    for layer in stack.layers:
        if isinstance(layer, Affine | Planar):
            places = [_place(stack, source, constants) for source in (layer.weight, layer.bias)]
            kind, sizes = "linear", tuple[int, ...]()
            if isinstance(layer, Planar):
                kind, sizes = layer.kind, (*layer.entering, *layer.leaving, *layer.window)
            layers.append(Layer(KINDS[kind], layer.inputs, layer.outputs, *places, 0, 0.0, *sizes))
        elif type(layer) in ACTIVATIONS and not layers[-1].activation:
            slope = float(getattr(layer, "negative_slope", getattr(layer, "alpha", 0.0)))
            if slope < 0:
                raise InvalidModel(f"native code does not know a slope below 0, as of {layer}: pass engine='auto'")
            layers[-1].activation, layers[-1].slope = ACTIVATIONS[type(layer)], slope
        else:
            known = ", ".join(kind.__name__ for kind in ACTIVATIONS)
            raise InvalidModel(
                f"native code knows one activation after each layer of {known}, not {layer}: pass engine='auto'"
            )
    own = [place for layer in layers for place in (layer.weight, layer.bias) if place >= 0]
    if len(set(own)) < len(own):
        raise InvalidModel("native code does not know layers that share parameters: pass engine='auto'")
    tensor = torch.cat([*constants, torch.zeros(1, dtype=stack.layout.dtype)])
    return Network((Layer * len(layers))(*layers), len(layers), tensor.data_ptr(), loss), tensor


def loss_of(mean: Mean) -> int:
    """The number of a loss.

    Raises:
        InvalidModel: it is none of those that are known.
    """
    loss = mean.loss or recognised(mean.given)
    plain = mean.kind == "mean" and getattr(loss, "reduction", None) == "mean"
    plain = plain and getattr(loss, "weight", None) is None and not getattr(loss, "label_smoothing", 0)
    if loss is None or not plain or type(loss) not in LOSSES:
        raise InvalidModel(
            "native code knows cross-entropy and means of squares or distances alone, none weighted: pass engine='auto'"
        )
    return LOSSES[type(loss)]


def _place(stack: Stack, source: Source, constants: list[Tensor]) -> int:
    """Where numbers are: in θ, among the constants (−1 − place), or nowhere."""
    if source is None:
        return NONE
    if isinstance(source, int):
        return stack.layout.entries[source].offset
    constants.append(source.detach().to(stack.layout.dtype).flatten())
    return -1 - sum(len(constant) for constant in constants[:-1])
