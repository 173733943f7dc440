"""A network in the form that the compiled code reads, and calls of that code; the structures are those of network.h."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL, POINTER, Structure, byref, c_double, c_int64, c_void_p
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from weightstring.arrays import Rows, Theta, Thetas
from weightstring.descent.stepping import Blend, Tie, Update
from weightstring.problem.datasets.data import DataSet
from weightstring.problem.engines.native.build import library
from weightstring.problem.engines.native.network import CROSS_ENTROPY, Network, described, loss_of
from weightstring.problem.engines.stack import Stack
from weightstring.problem.losses.means import Mean
from weightstring.protocol import Gradient

REFUSED = {1: "a row of the training set that it does not have", 2: "a target that is none of the classes"}


class _Data(Structure):
    _fields_ = (("inputs", c_void_p), ("targets", c_void_p), ("count", c_int64), ("width", c_int64))


class _Call(Structure):
    _fields_ = (("network", Network), ("data", _Data), ("models", c_int64), ("line", c_int64), ("thetas", c_void_p))


class _Update(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("kind", "nesterov", "decoupled", "taken")),
        *((name, c_double) for name in ("momentum", "second", "epsilon", "decay", "clip")),
        *((name, POINTER(c_double)) for name in ("rates", "weights")),
        *((name, c_void_p) for name in ("moments", "squares", "average")),
    )

    def __init__(self, update: Update) -> None:
        rates, weights = ((c_double * len(numbers))(*numbers) for numbers in (update.rates, update.weights))
        beside = (update.moments, update.squares, update.average)
        super().__init__(
            int(update.kind == "adam"),
            update.nesterov,
            update.decoupled,
            update.taken,
            *(update.momentum, update.second, update.epsilon, update.decay, update.clip or 0.0),
            *(rates, weights),
            *(None if each is None else each.data_ptr() for each in beside),
        )


class _Tie(Structure):
    _fields_ = (("string", c_void_p), ("line", c_int64), ("places", POINTER(c_int64)))

    def __init__(self, tie: Tie | Blend) -> None:
        super().__init__(tie.string.data_ptr(), tie.string.stride(0), (c_int64 * len(tie.places))(*tie.places))


class _Blend(Structure):
    _fields_ = (
        ("tie", _Tie),
        *((name, c_int64) for name in ("models", "points")),
        ("weights", c_void_p),
    )

    def __init__(self, blend: Blend) -> None:
        _, points, models = blend.weights.shape
        super().__init__(_Tie(blend), models, points, blend.weights.data_ptr())


class _Between(Structure):
    _fields_ = (
        *((name, POINTER(c_void_p)) for name in ("starts", "ends", "first", "last")),
        ("places", POINTER(c_double)),
        ("size", c_int64),
    )

    def __init__(self, models: Sequence[Between]) -> None:
        starts, ends, first, last, places = zip(*models, strict=True)
        pointers = c_void_p * len(models)
        super().__init__(
            *(pointers(*(each.data_ptr() for each in column)) for column in (starts, ends, first, last)),
            (c_double * len(models))(*places),
            len(starts[0]),
        )


class Between(NamedTuple):
    """A model on a segment: its ends (P,), what their first layers give, (h, n), and its place."""

    start: Theta
    end: Theta
    first: Tensor
    last: Tensor
    t: float


@dataclass(frozen=True, eq=False)
class Program:
    """A plain network and its loss, compiled.

    Args:
        stack: the network.
        mean: the loss.

    Raises:
        InvalidModel: an activation or a loss is none that was written for it, or nothing can be compiled here.
    """

    stack: Stack
    mean: Mean

    _code: CDLL = field(init=False)
    _network: Network = field(init=False)
    _constants: Tensor = field(init=False)

    def __post_init__(self) -> None:
        network, constants = described(self.stack, loss_of(self.mean))
        code = library(self.dtype)
        for function in (
            code.gradients,
            code.steps,
            code.tied_steps,
            code.blended_steps,
            code.measure,
            code.first_layer,
            code.block,
        ):
            function.restype = c_int64
        for name, value in {"_code": code, "_network": network, "_constants": constants}.items():
            object.__setattr__(self, name, value)

    @property
    def dtype(self) -> torch.dtype:
        """Of all numbers."""
        return self.stack.layout.dtype

    @property
    def block(self) -> int:
        """Examples whose losses are summed before they are added to the others'."""
        return int(self._code.block(byref(self._network)))

    @property
    def has_classes(self) -> bool:
        """Whether targets are classes."""
        return bool(self._network.loss == CROSS_ENTROPY)

    @property
    def width(self) -> int:
        """Numbers in an output."""
        return self.stack.outputs

    def reads(self, examples: DataSet) -> bool:
        """Whether inputs and targets are such as the loss was written for."""
        inputs, targets = examples.inputs, examples.targets
        if not isinstance(inputs, Tensor) or inputs.dtype != self.dtype or len(targets) != len(inputs):
            return False
        if not self.stack.takes(examples):
            return False
        if self.has_classes:
            return targets.dtype == torch.int64 and targets.ndim == 1
        outputs = (*inputs.shape[:1], self.width)
        return targets.dtype == self.dtype and tuple(targets.shape) == outputs

    def gradient(self, thetas: Thetas, rows: Rows | None, examples: DataSet) -> Gradient:
        """Losses and gradients of B models on their rows (None: on all).

        Raises:
            IndexError: the examples have no such row, or the network no such class.
        """
        found = Gradient(torch.empty(len(thetas), dtype=torch.float64), torch.empty_like(thetas))
        rows = None if rows is None else rows.contiguous()
        each = len(examples) if rows is None else rows.shape[1]
        call, kept = self._call(thetas, examples)
        where = None if rows is None else rows.data_ptr()
        slopes = found.gradients
        arguments = (c_void_p(where), c_int64(each), c_void_p(found.losses.data_ptr()), c_void_p(slopes.data_ptr()))
        _require(self._code.gradients(byref(call), *arguments, c_int64(slopes.stride(0))))
        del kept
        return Gradient(found.losses.to(thetas.dtype), slopes)

    def stride(
        self, thetas: Float[Tensor, "B W"], rows: Int64[Tensor, "M k n"] | None, examples: DataSet, update: Update
    ) -> None:
        """Take k steps with each of B models, in place.

        Raises:
            IndexError: the examples have no such row, or the network no such class.
        """
        beside = [each for each in (update.moments, update.squares, update.average) if each is not None]
        if not all(each.is_contiguous() and each.shape == thetas.shape for each in (thetas, *beside)):
            raise ValueError("models and what lies beside them are not laid out alike, line by line")
        rows = None if rows is None else rows.contiguous()
        each, where = (len(examples), None) if rows is None else (rows.shape[2], rows.data_ptr())
        call, kept = self._call(thetas, examples)
        steps = len(update.rates)
        given = _Update(update)
        arguments = (c_void_p(where), c_int64(each), c_int64(steps), c_int64(update.size))
        match update.tie:
            case None:
                status = self._code.steps(byref(call), *arguments, byref(given))
            case Tie() as tie:
                status = self._code.tied_steps(byref(call), *arguments, byref(given), byref(_Tie(tie)))
            case Blend() as blend:
                blend = blend._replace(weights=blend.weights.contiguous())
                status = self._code.blended_steps(byref(call), *arguments, byref(given), byref(_Blend(blend)))
        _require(status)
        del kept

    def measure(
        self,
        thetas: Thetas | Sequence[Between],
        examples: DataSet,
        *,
        losses: Float64[Tensor, " B"] | None = None,
        wrong: Float64[Tensor, " B"] | None = None,
        total: int | None = None,
        outputs: bool = False,
    ) -> Float[Tensor, "B n out"] | None:
        """Add to the mean losses of B models on ``total`` examples what these add, and give outputs, where wanted.

        Args:
            thetas: the models, or where they lie between others, whose first layers' products are of these examples.
            examples: in memory; a part of a set that ends with a whole :attr:`block` adds up to the same bits.
            losses: what is added to.
            wrong: the same, of how many examples have their largest output elsewhere than at their class.
            total: how many examples the set has; None: these.
            outputs: whether they are wanted.

        Raises:
            IndexError: the network has no such class.
        """
        count = len(thetas), len(examples), self.width
        given = torch.empty(count, dtype=self.dtype) if outputs else None
        pointers = [c_void_p(None if each is None else each.data_ptr()) for each in (losses, wrong, given)]
        along = None if isinstance(thetas, Tensor) else byref(_Between(thetas))
        call, kept = self._call(thetas if isinstance(thetas, Tensor) else torch.empty(count[0], 0), examples)
        sizes = c_int64(len(examples)), c_int64(total or len(examples))
        _require(self._code.measure(byref(call), *sizes, *pointers, along))
        del kept
        return given

    def first_layer(self, theta: Theta, examples: DataSet) -> Float[Tensor, "h n"]:
        """What the first layer of a model gives on all examples, before its activation."""
        products = torch.empty(self.stack.affine[0].outputs, len(examples), dtype=self.dtype)
        call, kept = self._call(theta[None], examples)
        _require(self._code.first_layer(byref(call), c_int64(len(examples)), c_void_p(products.data_ptr())))
        del kept
        return products

    def _call(self, thetas: Thetas, examples: DataSet) -> tuple[_Call, object]:
        """The arguments, and what must live as long as they do."""
        thetas = thetas if thetas.stride(1) == 1 else thetas.contiguous()
        inputs, targets = examples.inputs.contiguous(), examples.targets.contiguous()
        data = _Data(inputs.data_ptr(), targets.data_ptr(), len(inputs), self.width)
        return _Call(self._network, data, len(thetas), thetas.stride(0), thetas.data_ptr()), (thetas, inputs, targets)


def _require(status: int) -> None:
    if status:
        raise IndexError(REFUSED[status])
