"""Operators by their own names, in torch and in extended precision: what modules of today do not say so themselves.

As in ``soundness_layers``, of which these are more: all of T models at once, of inputs (T, n, 3 tokens, 4 numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import torch
from soundness_layers import Arrays, Known, Through, softmax
from torch import Tensor, nn

ATEN = torch.ops.aten
MASK = torch.tensor([[True, False, False, True], [False, True, True, False], [True, True, False, True]])
SEEN = MASK.numpy()
ORDER = torch.tensor([2, 0, 1, 2])
LOW, HIGH = -0.5, 0.75


def _plain(function: Callable[[Any], Any], values: Callable[[np.ndarray], np.ndarray]) -> Known:
    return Known(lambda: Through(function), lambda x, p: values(x))


def _numbers(x: Tensor) -> Tensor:
    apart = ATEN.rsub.Tensor(ATEN.add.Scalar(x, 0.5), ATEN.mul.Scalar(x, 2.0))
    return apart + ATEN.sub.Scalar(ATEN.rsub.Scalar(ATEN.div.Scalar(x, 4.0), 1.0), 0.25, 2.0)


def _limits(x: Tensor) -> Tensor:
    above = torch.max(ATEN.clamp_min(x, LOW), -x)
    return above + torch.min(ATEN.clamp_max(x, HIGH), x / 2) + ATEN.relu6(x)


def _limit_values(x: np.ndarray) -> np.ndarray:
    above = np.maximum(np.maximum(x, LOW), -x)
    return above + np.minimum(np.minimum(x, HIGH), x / 2) + np.clip(x, 0, 6)


def _copies(x: Tensor) -> Tensor:
    x = ATEN.dropout(ATEN.alias(ATEN.detach(ATEN.clone(x))), 0.5, False)
    x = ATEN.to.dtype_layout(ATEN._to_copy(x, dtype=torch.float64), dtype=torch.float64, layout=torch.strided)
    x = ATEN.squeeze.dims(ATEN.squeeze.dim(x.unsqueeze(1).unsqueeze(1), 1), [1])
    return ATEN._unsafe_view(x.mT.contiguous().mT.contiguous(), [len(x), 3, 4])


def _parts(x: Tensor) -> Tensor:
    first, second, third = ATEN.unbind.int(x, 1)
    left, right = ATEN.split_with_sizes(x, [1, 3], 2)
    one, other = ATEN.unsafe_split.Tensor(x, 2, 2)
    found = torch.cat([left * right, (first * second + third).unsqueeze(1).expand(-1, 3, -1)[..., :1]], 2)
    return found + torch.cat([other, one], 2).reshape(len(x), 12).reshape(len(x), 3, 4)


def _part_values(x: np.ndarray) -> np.ndarray:
    mixed = (x[:, :, 0] * x[:, :, 1] + x[:, :, 2])[:, :, None, :1]
    found = np.concatenate([x[..., :1] * x[..., 1:], np.broadcast_to(mixed, (*x.shape[:-1], 1))], -1)
    return found + np.concatenate([x[..., 2:], x[..., :2]], -1)


def _hidden(x: Tensor) -> Tensor:
    filled = ATEN.masked_fill.Tensor(x, MASK, torch.tensor(0.5, dtype=x.dtype))
    return filled + ATEN.where.ScalarOther(MASK, x, 0.25) * ATEN.where.ScalarSelf(MASK, 2.0, x)


def _hidden_values(x: np.ndarray) -> np.ndarray:
    return np.where(SEEN, 0.5, x) + np.where(SEEN, x, 0.25) * np.where(SEEN, 2.0, x)


class Matrices(nn.Module):
    """Products by name: of pairs of examples' own matrices, and with a matrix that is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 4)."""
        own = ATEN.bmm(ATEN.bmm(x, x.transpose(1, 2)), x)
        rows = ATEN.mm(ATEN.sum.dim_IntList(own, [1]), ATEN.t(self.weight))
        return own + rows.unsqueeze(1)


def _matrix_values(x: np.ndarray, p: Arrays) -> np.ndarray:
    own = np.einsum("tbik,tbjk,tbjl->tbil", x, x, x)
    return own + np.einsum("tbi,toi->tbo", own.sum(2), p[0])[:, :, None]


class Sums(nn.Module):
    """Products of matrices and vectors with what is added, and spreads by their other names."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.line = nn.Parameter(torch.empty(4, 4)), nn.Parameter(torch.empty(4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 4)."""
        first = ATEN.addmm(self.line, x[:, 0], self.weight)
        column = ATEN.mv(x[:, 1], self.line) * ATEN.dot(self.line, self.line)
        own = ATEN.baddbmm(x, ATEN.bmm(x, x.mT), x)
        spread = torch.std(own, dim=2, correction=1, keepdim=True) + torch.var(own, dim=2, correction=1, keepdim=True)
        return own + first.unsqueeze(1) + column.reshape(-1, 1, 1) + spread


def _sum_values(x: np.ndarray, p: Arrays) -> np.ndarray:
    weight, line = p
    first = np.einsum("tbi,tij->tbj", x[:, :, 0], weight) + line[:, None]
    column = np.einsum("tbi,ti->tb", x[:, :, 1], line) * (line * line).sum(-1)[:, None]
    own = x + np.einsum("tbik,tbjk,tbjl->tbil", x, x, x)
    variance = own.var(-1, ddof=1, keepdims=True)
    return own + first[:, :, None] + column[:, :, None, None] + np.sqrt(variance) + variance


class Frozen(nn.Module):
    """BatchNorm by statistics that stay; where something is written in place, torch calls it by another name."""

    MEAN, VARIANCE, EPS = (0.5, -1.0, 0.25), (4.0, 0.5, 1e-3), 2.0**-10

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.weight, self.bias = nn.Parameter(torch.empty(3)), nn.Parameter(torch.empty(3))
        self.register_buffer("mean", torch.tensor(self.MEAN, dtype=torch.float64))
        self.register_buffer("variance", torch.tensor(self.VARIANCE, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 4)."""
        x = x.clone().mul_(2) if self.in_place else x
        return nn.functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=self.EPS)

    @classmethod
    def values(cls, x: np.ndarray, p: Arrays, in_place: bool) -> np.ndarray:
        """Of T models."""
        x = 2 * x if in_place else x
        mean, variance = (np.array(part, dtype=x.dtype)[:, None] for part in (cls.MEAN, cls.VARIANCE))
        weight, bias = (part[:, None, :, None] for part in p)
        return (x - mean) / np.sqrt(variance + x.dtype.type(cls.EPS)) * weight + bias


def _windows(x: np.ndarray) -> np.ndarray:
    return np.stack([x[..., :2].mean(-1), x[..., 2:].mean(-1)], -1)


def _same_values(x: np.ndarray, p: Arrays, axes: int) -> np.ndarray:
    weight, bias = p
    wide = np.pad(x, [(0, 0)] * (x.ndim - axes) + [(1, 1)] * axes)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3,) * axes, tuple(range(-axes, 0)))
    sums = "tnixa,toia->tnox" if axes == 1 else "tnixyab,toiab->tnoxy"
    return np.einsum(sums, windows, weight) + bias.reshape(len(bias), 1, -1, *(1,) * axes)


def _by_digits(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of numbers with 25 digits."""

    def values(x: np.ndarray) -> np.ndarray:
        with mpmath.workdps(25):
            found = [mpmath.nstr(function(mpmath.mpf(np.format_float_scientific(v))), 22) for v in x.ravel()]
        return np.array([x.dtype.type(v) for v in found], dtype=x.dtype).reshape(x.shape)

    return values


def _curves(x: Tensor) -> Tensor:
    inner = torch.nn.functional.elu(x) + torch.expm1(ATEN.clip(x, LOW, HIGH)) + torch.log1p(x * x)
    return inner + torch.nn.functional.logsigmoid(x) + torch.nn.functional.mish(x)


def _curve_values(x: np.ndarray) -> np.ndarray:
    zero = x.dtype.type(0)
    soft = np.logaddexp(zero, x)
    inner = np.where(x > 0, x, np.expm1(np.minimum(x, 0))) + np.expm1(np.clip(x, LOW, HIGH)) + np.log1p(x * x)
    return inner - np.logaddexp(zero, -x) + x * np.tanh(soft)


def _spreads(x: Tensor) -> Tensor:
    tops = x.amax(2, keepdim=True) - x.amin(2, keepdim=True)
    spread = x.var(2, keepdim=True) + (x * x + 1).cumsum(2).std(2, keepdim=True) + x.var((2,), keepdim=True)
    return x + tops + spread


def _spread_values(x: np.ndarray) -> np.ndarray:
    tops = x.max(-1, keepdims=True) - x.min(-1, keepdims=True)
    sums = (x * x + 1).cumsum(-1)
    spread = 2 * x.var(-1, ddof=1, keepdims=True) + sums.std(-1, ddof=1, keepdims=True)
    return x + tops + spread


class Places(nn.Module):
    """Numbers moved about, and a parameter's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 4)."""
        x = x + x.movedim(1, 2).swapaxes(1, 2).mT.mT.flip(1) + torch.roll(self.weight, 1, 1).expand_as(x)
        x = x + torch.index_select(x, 1, ORDER[:3]) + x[:, ORDER[1:]] + torch.gather(x, 2, ORDER.expand(len(x), 3, 4))
        wide = torch.nn.functional.pad(x, (1, 1)).narrow(2, 1, 4)
        return wide + x.tril() * x.triu() + x.repeat(1, 1, 2)[..., ::2] + x.repeat_interleave(2, 2)[..., 4:]


def _place_values(x: np.ndarray, p: Arrays) -> np.ndarray:
    x = x + x[:, :, ::-1] + np.roll(p[0], 1, -1)[:, None]
    order = ORDER.numpy()
    x = x + x[:, :, order[:3]] + x[:, :, order[1:]] + x[..., order]
    return x + np.tril(x) * np.triu(x) + np.concatenate([x, x], -1)[..., ::2] + x.repeat(2, -1)[..., 4:]


OPERATORS: dict[str, Known] = {
    "numbers": _plain(_numbers, lambda x: (2 * x - (x + x.dtype.type(0.5))) + ((1 - x / 4) - x.dtype.type(0.5))),
    "limits": _plain(_limits, _limit_values),
    "waves": _plain(torch.cos, np.cos),
    "copies": _plain(_copies, lambda x: x),
    "parts": _plain(_parts, _part_values),
    "hidden": _plain(_hidden, _hidden_values),
    "matrices": Known(Matrices, _matrix_values),
    "sums": Known(Sums, _sum_values),
    "frozen norm": Known(Frozen, Frozen.values),
    "soft by its name": _plain(lambda x: ATEN._softmax(x, -1, False), softmax),
    "windows": _plain(lambda x: nn.functional.adaptive_avg_pool1d(x, 2), _windows),
    "windows of images": _plain(
        lambda x: nn.functional.adaptive_avg_pool2d(x, (1, 2)), lambda x: _windows(x).mean(-2, keepdims=True)
    ),
    "same length": Known(
        lambda into, out: nn.Conv1d(into, out, 3, padding="same"), lambda x, p, *_: _same_values(x, p, 1)
    ),
    "same size": Known(
        lambda into, out: nn.Conv2d(into, out, 3, padding="same"), lambda x, p, *_: _same_values(x, p, 2)
    ),
    "curves": _plain(_curves, _curve_values),
    "error function": _plain(torch.erf, _by_digits(mpmath.erf)),
    "spreads": _plain(_spreads, _spread_values),
    "places": Known(Places, _place_values),
}
"""By kind."""
