"""Layers of today's networks, in torch and in extended precision, for the search for a certificate that is wrong.

Each is a module, and what it computes of T models at once: of inputs (T, n, …) and its parameters (T, …) in the
module's own order, in any precision that NumPy has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

F = nn.functional
Arrays = Sequence[np.ndarray]


class Known(NamedTuple):
    """A layer: its module, made of numbers, and its values."""

    module: Callable[..., nn.Module]
    values: Callable[..., np.ndarray]


class Through(nn.Module):
    """A function of what it is given and of its parts."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return self.function(x, **dict(self.named_children()))


def _spread(x: np.ndarray, axes: Any, eps: float, centred: bool = True) -> np.ndarray:
    apart = x - x.mean(axes, keepdims=True) if centred else x
    return apart / np.sqrt((apart * apart).mean(axes, keepdims=True) + x.dtype.type(eps))


def _tail(parameters: np.ndarray, rank: int) -> np.ndarray:
    """(T, …) beside (T, n, …, …): of the last axes."""
    return parameters.reshape(len(parameters), *(1,) * (rank - parameters.ndim), *parameters.shape[1:])


def _channels(parameters: np.ndarray, rank: int) -> np.ndarray:
    return parameters.reshape(len(parameters), 1, -1, *(1,) * (rank - 3))


def _layer_norm(x: np.ndarray, p: Arrays, *_: Any) -> np.ndarray:
    return _spread(x, -1, 1e-5) * _tail(p[0], x.ndim) + _tail(p[1], x.ndim)


def _rms_norm(x: np.ndarray, p: Arrays, *_: Any) -> np.ndarray:
    return _spread(x, -1, 1e-5, centred=False) * _tail(p[0], x.ndim)


def _group_norm(x: np.ndarray, p: Arrays, groups: int, *_: Any) -> np.ndarray:
    found = _spread(x.reshape(*x.shape[:2], groups, -1), -1, 1e-5).reshape(x.shape)
    return found * _channels(p[0], x.ndim) + _channels(p[1], x.ndim)


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis, −inf left out."""
    found = np.exp(x - x.max(-1, keepdims=True))
    return found / found.sum(-1, keepdims=True)


def _matrix(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    found = np.einsum("tn...i,toi->tn...o", x, weight)
    return found if bias is None else found + _tail(bias, x.ndim)


def _attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, hidden: np.ndarray | None, factor: Any) -> np.ndarray:
    scores = np.einsum("...qd,...kd->...qk", q, k) * factor
    if hidden is not None:
        scores = np.where(hidden, -np.inf, scores)
    return np.einsum("...qk,...kd->...qd", softmax(scores), v)


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def _joined(x: np.ndarray) -> np.ndarray:
    found = x.swapaxes(-2, -3)
    return found.reshape(*found.shape[:-2], -1)


def _self_attention(x: np.ndarray, p: Arrays, width: int, heads: int, how: str = "fused") -> np.ndarray:
    """(T, n, tokens, width)."""
    parts = np.split(_matrix(x, p[0], p[1]), 3, -1)
    q, k, v = (_heads(part, heads) for part in parts)
    tokens = x.shape[-2]
    hidden = None if how in ("multihead", "grouped") else ~np.tril(np.ones((tokens, tokens), dtype=bool))
    factor = 1 / np.sqrt(x.dtype.type(q.shape[-1])) if how != "by hand" else x.dtype.type(0.5)
    return x + _matrix(_joined(_attended(q, k, v, hidden, factor)), p[2], p[3])


def _attention_module(width: int, heads: int, how: str = "fused") -> nn.Module:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        hidden = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
        if how == "fused":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if how == "masked":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden)
        scores = (q @ k.transpose(-2, -1) * 0.5).masked_fill(hidden, float("-inf"))
        return scores.softmax(-1) @ v

    def apply(x: Tensor, qkv: nn.Linear, out: nn.Linear) -> Tensor:
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv(x).chunk(3, 2))
        return x + out(attend(q, k, v).transpose(1, 2).flatten(2))

    if how == "multihead":
        inner = nn.MultiheadAttention(width, heads, batch_first=True)
        return Through(lambda x, inner: x + inner(x, x, x)[0], inner=inner)
    return Through(apply, qkv=nn.Linear(width, 3 * width), out=nn.Linear(width, width))


def _grouped(x: np.ndarray, p: Arrays, width: int, heads: int) -> np.ndarray:
    q = _heads(_matrix(x, p[0]), 2 * heads)
    k, v = (_heads(_matrix(x, part), heads).repeat(2, -3) for part in p[1:3])
    return _joined(_attended(q, k, v, None, 1 / np.sqrt(x.dtype.type(q.shape[-1]))))


def _grouped_module(width: int, heads: int) -> nn.Module:
    def apply(x: Tensor, q: nn.Linear, k: nn.Linear, v: nn.Linear) -> Tensor:
        many, *few = (
            layer(x).unflatten(2, (n, -1)).transpose(1, 2) for layer, n in ((q, 2 * heads), (k, heads), (v, heads))
        )
        return F.scaled_dot_product_attention(many, *few, enable_gqa=True).transpose(1, 2).flatten(2)

    wide, narrow = (nn.Linear(width, n, bias=False) for n in (width, width // 2))
    return Through(apply, q=wide, k=narrow, v=nn.Linear(width, width // 2, bias=False))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(x.dtype.type(0), -x))


def _lstm(x: np.ndarray, p: Arrays, inputs: int, hidden: int) -> np.ndarray:
    h = c = np.zeros((len(p[0]), x.shape[1], hidden), dtype=x.dtype)
    found = []
    for t in range(x.shape[2]):
        gates = _matrix(x[:, :, t], p[0], p[2]) + _matrix(h, p[1], p[3])
        i, f, g, o = np.split(gates, 4, -1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        found.append(h)
    return np.stack(found, 2)


def _gru(x: np.ndarray, p: Arrays, inputs: int, hidden: int) -> np.ndarray:
    h = np.zeros((len(p[0]), x.shape[1], hidden), dtype=x.dtype)
    found = []
    for t in range(x.shape[2]):
        r, z, n = np.split(_matrix(x[:, :, t], p[0], p[2]), 3, -1)
        of_r, of_z, of_n = np.split(_matrix(h, p[1], p[3]), 3, -1)
        z = _sigmoid(z + of_z)
        h = (1 - z) * np.tanh(n + _sigmoid(r + of_r) * of_n) + z * h
        found.append(h)
    return np.stack(found, 2)


def _rnn(x: np.ndarray, p: Arrays, inputs: int, hidden: int) -> np.ndarray:
    h = np.zeros((len(p[0]), x.shape[1], hidden), dtype=x.dtype)
    found = []
    for t in range(x.shape[2]):
        h = np.tanh(_matrix(x[:, :, t], p[0], p[2]) + _matrix(h, p[1], p[3]))
        found.append(h)
    return np.stack(found, 2)


def _recurrent(kind: type[nn.RNNBase]) -> Callable[..., nn.Module]:
    return lambda inputs, hidden: Through(lambda x, inner: inner(x)[0], inner=kind(inputs, hidden, batch_first=True))


def _lookup(x: np.ndarray, p: Arrays, rows: int, width: int) -> np.ndarray:
    return x + p[0][:, None, [0, rows - 1, 1][: x.shape[2]]]


def _plain(function: Callable[[Any], Any], values: Callable[[np.ndarray], np.ndarray]) -> Known:
    return Known(lambda: Through(function), lambda x, p: values(x))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    apart = x - x.max(-1, keepdims=True)
    return apart - np.log(np.exp(apart).sum(-1, keepdims=True))


def _chosen(x: Tensor) -> Tensor:
    return torch.where(torch.arange(x.shape[-1]) > 0, x, -x.flip(-1)) + torch.cat([x[..., :1], x[..., 1:].exp()], -1)


def _chosen_values(x: np.ndarray) -> np.ndarray:
    picked = np.where(np.arange(x.shape[-1]) > 0, x, -x[..., ::-1])
    return picked + np.concatenate([x[..., :1], np.exp(x[..., 1:])], -1)


class _Turned(nn.Module):
    """A layer as GPT-2 writes it, its weight (in, out), behind a cache that holds nothing yet."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(width, outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → (n, tokens, outputs)."""
        found = torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)
        return torch.cat([torch.empty(0, dtype=x.dtype), found], -2)


LAYERS: dict[str, Known] = {
    "turned layer": Known(_Turned, lambda x, p, *_: _matrix(x, p[0].swapaxes(1, 2), p[1])),
    "layer norm": Known(nn.LayerNorm, _layer_norm),
    "rms norm": Known(lambda width: nn.RMSNorm(width, eps=1e-5), _rms_norm),
    "group norm": Known(nn.GroupNorm, _group_norm),
    "instance norm": Known(
        lambda width: nn.InstanceNorm1d(width, affine=True), lambda x, p, width: _group_norm(x, p, width)
    ),
    "attention": Known(_attention_module, _self_attention),
    "grouped": Known(_grouped_module, _grouped),
    "lstm": Known(_recurrent(nn.LSTM), _lstm),
    "gru": Known(_recurrent(nn.GRU), _gru),
    "rnn": Known(_recurrent(nn.RNN), _rnn),
    "lookup": Known(
        lambda rows, width: Through(
            lambda x, e: x + e(torch.tensor([0, rows - 1, 1])[: x.shape[1]]), e=nn.Embedding(rows, width)
        ),
        _lookup,
    ),
    "last": _plain(lambda x: x[:, -1], lambda x: x[:, :, -1]),
    "mean over tokens": _plain(lambda x: x.mean(1), lambda x: x.mean(2)),
    "turned": _plain(lambda x: x.transpose(1, 2), lambda x: x.swapaxes(2, 3)),
    "softmax": _plain(lambda x: x.softmax(-1), softmax),
    "log softmax": _plain(lambda x: x.log_softmax(-1), _log_softmax),
    "log sum exp": _plain(
        lambda x: x + x.logsumexp(-1, keepdim=True),
        lambda x: x + x.max(-1, keepdims=True) + np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)),
    ),
    "root": _plain(lambda x: (x * x + 1).sqrt(), lambda x: np.sqrt(x * x + 1)),
    "over root": _plain(lambda x: x * (x * x + 1).rsqrt(), lambda x: x / np.sqrt(x * x + 1)),
    "power": _plain(lambda x: (x * x + 1) ** 1.5, lambda x: (x * x + 1) ** x.dtype.type(1.5)),
    "quotient": _plain(lambda x: x / (x * x + 1), lambda x: x / (x * x + 1)),
    "reciprocal": _plain(lambda x: (x.abs() + 0.5).reciprocal(), lambda x: 1 / (np.abs(x) + x.dtype.type(0.5))),
    "logarithm": _plain(lambda x: (x * x + 1).log(), lambda x: np.log1p(x * x)),
    "exponential": _plain(torch.exp, np.exp),
    "extremes": _plain(
        lambda x: torch.minimum(x, -x / 2) + torch.maximum(x, x.flip(-1)),
        lambda x: np.minimum(x, -x / 2) + np.maximum(x, x[..., ::-1]),
    ),
    "clamped": _plain(lambda x: x.clamp(-0.25, 0.75), lambda x: np.clip(x, -0.25, 0.75)),
    "chosen": _plain(_chosen, _chosen_values),
    "products": _plain(
        lambda x: torch.einsum("bik,bjk->bij", x, x) @ x, lambda x: np.einsum("tbik,tbjk,tbjl->tbil", x, x, x)
    ),
    "stacked": _plain(
        lambda x: torch.stack([x.sigmoid(), x * x], 2).flatten(2),
        lambda x: np.stack([_sigmoid(x), x * x], 3).reshape(*x.shape[:3], -1),
    ),
}
"""By kind."""


def tokens(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean cross-entropy (T,) over tokens (T, n, tokens, classes), classes 0 ignored."""
    losses = -np.take_along_axis(_log_softmax(z), np.broadcast_to(y[..., None], (*z.shape[:-1], 1)), -1)[..., 0]
    return (losses * (y != 0)).sum((-2, -1)) / (y != 0).sum()


def of_tokens(output: Tensor, target: Tensor) -> Tensor:
    """The same in torch."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=0)


def sizes_of(module: nn.Module) -> list[tuple[tuple[int, ...], int]]:
    """Shapes of a module's parameters and how many numbers each has."""
    return [(tuple(p.shape), math.prod(p.shape)) for p in module.parameters()]
