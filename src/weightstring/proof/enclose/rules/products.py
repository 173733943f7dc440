"""Matrix products in any spelling: with a matrix that is the same for all examples, and of two enclosures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from weightstring.proof.enclose.bilinear import matrix_product
from weightstring.proof.enclose.enclosure import Enclosure
from weightstring.proof.enclose.groups import reshaped
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.linear import Unnormalised, fully_connected
from weightstring.proof.enclose.rules.call import Call, rule
from weightstring.proof.enclose.rules.layers import layer
from weightstring.proof.enclose.softmax import Probabilities, gathered
from weightstring.proof.enclose.values import Logits


@rule("matmul.default", "mm.default", "bmm.default")
def matmul(call: Call, x: object, y: object) -> Enclosure | Logits | Unnormalised:
    """X Y in the last two axes of each example."""
    if _is_matrix(y):
        return layer(call, x, Weights(call.weights(y).beads.mT), None, fully_connected, axis=-1)
    if _is_matrix(x) and len(call.step.shape) > 2:
        turned = call.enclosed(y).each(_turned, _turned)
        product = layer(call, turned, x, None, fully_connected, axis=-1)
        return call.enclosed(product).each(_turned, _turned)
    left, right = call.operands(x, y)
    if len(call.step.shape) < 3 or len(left.shape) < 4 or len(right.shape) < 4:
        raise call.refuse("neither factor is a matrix that is the same for all examples")
    return gathered(x, right) if isinstance(x, Probabilities) else matrix_product(left, right)


@rule("addmm.default")
def shifted(
    call: Call, bias: object, x: object, y: object, *, beta: float = 1, alpha: float = 1
) -> Enclosure | Logits | Unnormalised:
    """B + X Y, as GPT-2 writes its layers."""
    if not _is_matrix(y) or call.weights(bias).beads.ndim != 2 or (beta, alpha) != (1, 1):
        raise call.refuse("it is not a vector and a product with a matrix that are the same for all examples")
    return layer(call, x, Weights(call.weights(y).beads.mT), bias, fully_connected, axis=-1)


def _is_matrix(value: object) -> bool:
    beads = value.beads[0] if isinstance(value, Weights) else value
    return isinstance(beads, Tensor) and beads.ndim == 2


def _turned(x: Tensor) -> Tensor:
    return x.mT


@rule("einsum.default")
def einsum(call: Call, equation: str, parts: Sequence[object], *_: object, **named: object) -> Enclosure:
    """Two factors summed over what only both have: a matrix product between two changes of axes."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    names = given.split(",")
    result = list(wanted)
    if len(parts) != 2 or len(names) != 2 or "." in equation or not arrow or any(len({*n}) < len(n) for n in names):
        raise call.refuse("it is not of two factors, each axis named once")
    first, second = names
    both = [name for name in first if name in second]
    batch, summed = [n for n in both if n in result], [n for n in both if n not in result]
    own = [[n for n in name if n in result and n not in both] for name in names]
    if {*result} != {*batch, *own[0], *own[1]} or any(n not in result and n not in both for n in first + second):
        raise call.refuse("it sums over an axis of one factor alone")
    enclosed = [_operand(call, part, name, batch) for part, name in zip(parts, names, strict=True)]
    x = _grouped_as(enclosed[0], first, [batch, own[0], summed])
    y = _grouped_as(enclosed[1], second, [batch, summed, own[1]])
    product = gathered(Probabilities(x), y) if _is_rows(parts[0], first, summed) else matrix_product(x, y)
    sizes = dict(zip(first, enclosed[0].shape[1:], strict=True)) | dict(zip(second, enclosed[1].shape[1:], strict=True))
    order = [*batch, *own[0], *own[1]]
    whole = (product.shape[0], *(sizes[name] for name in order))
    found = _reshaped(product, whole)
    axes = [0, *(order.index(name) + 1 for name in result)]
    return found.each(lambda values: values.permute(axes), lambda norm: norm.permute(axes))


def _is_rows(part: object, names: str, summed: Sequence[str]) -> bool:
    return isinstance(part, Probabilities) and list(names[-1:]) == list(summed)


def _operand(call: Call, part: object, names: str, batch: Sequence[str]) -> Enclosure:
    """A factor; what is the same for all examples, of one."""
    if isinstance(part, Weights | Tensor):
        raise call.refuse("a factor is a parameter or a constant: write it as a linear layer or a matrix product")
    if not batch or names[0] != batch[0]:
        raise call.refuse("it combines different examples")
    return call.enclosed(part)


def _grouped_as(x: Enclosure, names: str, groups: Sequence[Sequence[str]]) -> Enclosure:
    """With axes in the order of groups, those of each but the first in one."""
    axes = [0, *(names.index(name) + 1 for group in groups for name in group)]
    moved = x.each(lambda values: values.permute(axes), lambda norm: norm.permute(axes))
    sizes = dict(zip(names, x.shape[1:], strict=True))
    lead, *rest = ([sizes[name] for name in group] for group in groups)
    return _reshaped(moved, (x.shape[0], *lead, *(math.prod(part) for part in rest)))


def _reshaped(x: Enclosure, shape: tuple[int, ...]) -> Enclosure:
    found = x.each(lambda values: values.reshape(shape))
    return found if x.norm is None else replace(found, norm=reshaped(x.norm, x.shape, shape))
