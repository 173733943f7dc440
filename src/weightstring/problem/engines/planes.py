"""Layers over planes in a plain sequential network: convolutions, pooling, and turns between two orders of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

Source: TypeAlias = int | Tensor | None
"""Where a layer's weight or bias comes from: a place in the layout, a constant, or nowhere."""


class Plane(NamedTuple):
    """The shape of what one example is between two layers."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Its numbers."""
        return self.channels * self.height * self.width


class Window(NamedTuple):
    """What a convolution or pooling looks at: its size, its steps, and the zeros before the plane."""

    height: int
    width: int
    down: int
    along: int
    top: int = 0
    left: int = 0


class Planar(NamedTuple):
    """A layer over planes; a ``turn`` makes (rows, columns), the plane (1, rows, columns), to (columns, rows).

    Args:
        kind: what it does.
        entering: the plane that it is given.
        leaving: the plane that it makes.
        window: what it looks at.
        weight: of a convolution, (channels, channels entering, height, width).
        bias: of a convolution, (channels,).
    """

    kind: Literal["convolution", "largest", "mean", "turn"]
    entering: Plane
    leaving: Plane
    window: Window = Window(1, 1, 1, 1)
    weight: Source = None
    bias: Source = None

    @property
    def inputs(self) -> int:
        """Numbers that enter."""
        return self.entering.size

    @property
    def outputs(self) -> int:
        """Numbers that leave."""
        return self.leaving.size


def turned(rows: int, columns: int) -> list[Planar]:
    """What turns a matrix around; nothing where there is nothing to turn.

    >>> len(turned(3, 784)), len(turned(1, 784))
    (1, 0)
    """
    return [Planar("turn", Plane(1, rows, columns), Plane(1, columns, rows))] if min(rows, columns) > 1 else []


def planar(module: nn.Module, entering: Plane, source: Callable[[str], Source]) -> Planar | None:
    """A module as a layer over planes; None where it is of another kind.

    >>> planar(nn.MaxPool2d(2), Plane(16, 28, 28), lambda name: None).leaving
    Plane(channels=16, height=14, width=14)
    """
    if type(module) is nn.Conv2d:
        return _convolution(module, entering, source)
    if type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1)):
        whole = Window(entering.height, entering.width, 1, 1)
        return Planar("mean", entering, Plane(entering.channels, 1, 1), whole)
    if type(module) is nn.MaxPool2d and not module.return_indices and _pair(module.dilation) == (1, 1):
        return _pooling("largest", module, entering)
    if type(module) is nn.AvgPool2d and module.divisor_override is None:
        return _pooling("mean", module, entering)
    return None


def _convolution(module: nn.Conv2d, entering: Plane, source: Callable[[str], Source]) -> Planar | None:
    if module.groups != 1 or module.dilation != (1, 1) or module.padding_mode != "zeros":
        return None
    (height, width), (down, along) = module.kernel_size, module.stride
    if module.padding == "same":  # what is odd goes behind
        top, left, around = (height - 1) // 2, (width - 1) // 2, (height - 1, width - 1)
    else:
        top, left = (0, 0) if isinstance(module.padding, str) else module.padding
        around = 2 * top, 2 * left
    window = Window(height, width, down, along, top, left)
    leaving = _leaving(module.out_channels, entering, window, around)
    return Planar("convolution", entering, leaving, window, source("weight"), source("bias"))


def _pooling(kind: Literal["largest", "mean"], module: nn.MaxPool2d | nn.AvgPool2d, entering: Plane) -> Planar | None:
    if module.ceil_mode or _pair(module.padding) != (0, 0):
        return None
    window = Window(*_pair(module.kernel_size), *_pair(module.stride))
    return Planar(kind, entering, _leaving(entering.channels, entering, window, (0, 0)), window)


def _leaving(channels: int, entering: Plane, window: Window, around: tuple[int, int]) -> Plane:
    height = (entering.height + around[0] - window.height) // window.down + 1
    return Plane(channels, height, (entering.width + around[1] - window.width) // window.along + 1)


def _pair(given: int | tuple[int, ...]) -> tuple[int, int]:
    return (given, given) if isinstance(given, int) else (given[0], given[1])
