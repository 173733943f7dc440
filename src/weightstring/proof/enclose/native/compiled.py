"""Bounds of linear layers and ReLU under cross-entropy by code that the system's compiler makes, ``enclose.cpp``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL, POINTER, Structure, byref, c_double, c_int64, c_void_p
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.problem.engines.native.build import library
from weightstring.proof.enclose.enclosing import Enclosing
from weightstring.proof.enclose.intervals import Intervals, Weights
from weightstring.proof.enclose.losses import averaged
from weightstring.proof.enclose.native.plain import Plain
from weightstring.proof.enclose.products import in_chunks, reach
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR, ROOM, gamma
from weightstring.proof.enclose.spectral import spectral_norm
from weightstring.proof.enclose.values import Bounds, Rows, highest

SOURCE = Path(__file__).parent / "enclose.cpp"

UNITS = {torch.float32: 2.0**-24, torch.float64: ROOM * 2.0**-53}
"""u, of float64 with room for another arithmetic."""

FARTHEST = {torch.float32: 128, torch.float64: 1024}
"""Units that exp's argument may have lost before exp vanishes, with exp's own."""


class _Layer(Structure):
    _fields_ = (("inputs", c_int64), ("outputs", c_int64), ("weight", c_void_p), ("bias", c_void_p))


class _Call(Structure):
    _fields_ = (
        ("layers", POINTER(_Layer)),
        *((name, c_int64) for name in ("count", "width")),
        ("products", POINTER(c_void_p)),
        *((name, c_void_p) for name in ("bias", "lost", "classes")),
        ("unit", c_double),
        ("generators", c_int64),
    )


class _Places(Structure):
    _fields_ = (*((name, c_void_p) for name in ("segments", "low", "high")), ("count", c_int64), ("norms", c_void_p))


Sums = tuple[Tensor, Tensor]
"""(5, I, n) of each: the largest difference from the right class's output, and what the others add to e^0."""


class _Differing(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("inputs", "usual", "weight", "whole")),
        *((name, c_int64) for name in ("count", "depth", "outputs")),
    )


@dataclass(frozen=True, eq=False)
class Compiled:
    """The loss of a plain network, enclosed in float32 or float64.

    Args:
        enclosing: the loss, enclosed operation by operation.
        plain: what the network is.
        dtype: of the arithmetic.
        generators: errors of each example whose directions are known, at most; 0: none, the radius has them all.

    Raises:
        Unavailable: nothing can be compiled here.
    """

    enclosing: Enclosing
    plain: Plain
    dtype: torch.dtype
    generators: int = 0
    _code: CDLL = field(init=False)
    _products: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        code = library(self.dtype, SOURCE)
        code.enclose.restype = code.products.restype = None
        code.side.restype = code.tile.restype = c_int64
        object.__setattr__(self, "_code", code)

    @property
    def order(self) -> Int64[Tensor, " N"]:
        """The examples, class by class."""
        return self.enclosing.order

    @property
    def beads(self) -> Tensor:
        """(n, P) of the string."""
        return self.enclosing.beads

    @property
    def max_bytes(self) -> int:
        """What one pass may use."""
        return self.enclosing.max_bytes

    @property
    def price(self) -> float:
        """About what an interval costs: products of a layer's weights with what a sample holds, in float64."""
        products = 5 + 2 * (1 + self.generators) if self.generators else 4
        return products * self.dtype.itemsize / 8

    @cached_property
    def reach(self) -> float:
        """No less than any input's absolute value."""
        return reach(self.plain.inputs)

    def bounds(self, intervals: Intervals) -> Float64[Tensor, " I"]:
        """An upper bound of the loss over each interval."""
        return torch.cat([highest(bounds.nodes) for _, bounds in self.examined(intervals, self.order)])

    def examined(self, intervals: Intervals, order: Int64[Tensor, " n"]) -> Iterator[tuple[Intervals, Bounds]]:
        """What some examples, in a part of :attr:`order`, have in the bounds: intervals that fit into memory."""
        for part in self.enclosing.parts(intervals, len(order)):
            yield part, self._bounds(*self._sums(part, order), order)

    def _bounds(self, tops: Tensor, rests: Tensor, order: Tensor) -> Bounds:
        """Of (5, I, n) each: log Σ exp at both ends from above, and of the lines themselves."""
        tops, rests = tops.double(), rests.double()
        lost = (FARTHEST[self.dtype] + 4 * self.plain.classes) * UNITS[self.dtype]
        losses = tops[:2] + (rests[:2] * (1 + lost)).log1p()
        losses += ELEMENTWISE * losses
        found = averaged(losses, Rows(self.enclosing.population, order), centre=tops[2:] + rests[2:].log1p())
        found.each.masked_fill_(~found.each.isfinite(), torch.inf)
        return found

    def _sums(self, intervals: Intervals, order: Tensor) -> Sums:
        """What the code makes of upper lines at both ends, and of the lines themselves there and halfway."""
        used, local = torch.unique(torch.cat([intervals.segments, intervals.segments + 1]), return_inverse=True)
        beads = used.tolist()
        (first, shift), *later = self.plain.layers(self.beads[used])
        products = [self._product(bead, weight) for bead, weight in zip(beads, first, strict=True)]
        lost = self._lost(first, shift)
        layers = (_Layer * len(later))(
            *(_Layer(w.shape[2], w.shape[1], w.data_ptr(), None if b is None else b.data_ptr()) for w, b in later)
        )
        pointers = (c_void_p * len(products))(*(each.data_ptr() for each in products))
        classes = self.enclosing.examples.targets.contiguous()
        data = (None if shift is None else shift.data_ptr(), lost.data_ptr(), classes.data_ptr())
        call = _Call(layers, len(later), first.shape[1], pointers, *data, UNITS[self.dtype], self.generators)
        segments = local[: len(intervals)].contiguous()
        low, high = intervals.low.contiguous(), intervals.high.contiguous()
        norms = self._norms(replace(intervals, segments=segments), [w for w, _ in later[:-1]])
        pointers_of = (tensor.data_ptr() for tensor in (segments, low, high))
        places = _Places(*pointers_of, len(intervals), norms.data_ptr())

        def of(rows: Tensor) -> Sums:
            tops, rests = (torch.empty(5, len(intervals), len(rows), dtype=self.dtype) for _ in range(2))
            at, *results = (c_void_p(tensor.data_ptr()) for tensor in (rows, tops, rests))
            self._code.enclose(byref(call), byref(places), at, c_int64(len(rows)), *results)
            return tops, rests

        tops, rests = zip(*_spread(of, order.contiguous(), self._code.side()), strict=True)
        return torch.cat(tops, 2), torch.cat(rests, 2)

    def _norms(self, intervals: Intervals, layers: Sequence[Tensor]) -> Float64[Tensor, "I layers"]:
        """‖W‖₂ of layers (K, out, in) on each interval, from the larger end; for generators alone."""
        if not self.generators or not layers:
            return torch.zeros(len(intervals), len(layers), dtype=torch.float64)
        ends = ([spectral_norm(end) for end in Weights(layer).nodes(intervals, 1)] for layer in layers)
        return torch.stack([torch.maximum(*each) for each in ends], 1)

    def _product(self, bead: int, weight: Tensor) -> Float[Tensor, "N h"]:
        """Of all inputs with a bead's first layer; those of earlier beads go where there is no room for them."""
        if bead not in self._products:
            size = self.dtype.itemsize * len(self.order) * len(weight)
            while self._products and size * (len(self._products) + 1) > self.max_bytes // 3:
                del self._products[min(self._products)]
            self._products[bead] = self._of_inputs(weight)
        return self._products[bead]

    def _of_inputs(self, weight: Tensor) -> Tensor:
        inputs, usual = self.plain.inputs, self.plain.usual
        if usual is None:
            return torch.cat([(part.double() @ weight.mT).to(self.dtype) for part in in_chunks(inputs)])
        found = torch.empty(len(inputs), len(weight), dtype=self.dtype)
        columns = torch.nn.functional.pad(weight.mT, (0, -len(weight) % self._code.tile())).contiguous()
        whole = usual @ columns
        pointers = (tensor.data_ptr() for tensor in (inputs, usual, columns, whole))
        given = _Differing(*pointers, *inputs.shape, columns.shape[1])
        self._code.products(byref(given), c_void_p(found.data_ptr()), c_int64(len(weight)))
        return found

    def _lost(self, weight: Tensor, bias: Tensor | None) -> Float64[Tensor, " h"]:
        """What rounding may have taken from the first layer's products in float64."""
        sums = 2 * weight.abs().sum(2).amax(0)
        shift = torch.zeros_like(sums) if bias is None else 2 * bias.abs().amax(0)
        # Inputs less the usual ones are up to twice as large, and the usual ones' product is added.
        return gamma(weight.shape[2] + 2) * (3 * (sums + FLOOR) * self.reach + shift + FLOOR)


def _spread(of: Callable[[Tensor], Sums], rows: Tensor, side: int) -> list[Sums]:
    """A function of rows, so many at a time, by as many threads as torch has; each row's result is its own."""
    threads = min(torch.get_num_threads(), -(-len(rows) // (4 * side)))
    if threads <= 1:
        return [of(rows)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(of, torch.split(rows, side * -(-len(rows) // (side * threads)))))
