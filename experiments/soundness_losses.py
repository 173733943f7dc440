"""The losses of experiments/soundness_certificates.py, in torch and in extended precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from soundness_layers import of_tokens, tokens
from soundness_networks import Long, pi
from soundness_operators import ATEN
from torch import Tensor, nn

F = nn.functional


class Measured(NamedTuple):
    """A loss: in torch, in extended precision of outputs (T, n, C) and targets, and what targets it takes."""

    torch: Callable[[Tensor, Tensor], Tensor]
    exact: Callable[[np.ndarray, np.ndarray], np.ndarray]
    targets: str


def _cross_entropy(z: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ_k q_k (logsumexp z − z_k), each difference by itself so that small losses keep their digits."""
    order = np.sort(z, -1)
    rest = np.log1p(np.exp(order[..., :-1] - order[..., -1:]).sum(-1))
    return (q * ((order[..., -1:] - z) + rest[..., None])).sum(-1)


def _classes(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda z, y: loss(z, np.eye(z.shape[-1], dtype=Long)[y]).mean(-1)


def _of_distance(loss: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda z, y: loss(np.abs(z - y)).mean((-2, -1))


COSTS, POSITIVE = torch.tensor([0.25, 3.0, 1.5]).double(), torch.tensor([2.5]).double()


def _weighted(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    costs = COSTS.numpy().astype(Long)[y]
    return (_cross_entropy(z, np.eye(z.shape[-1], dtype=Long)[y]) * costs).sum(-1) / costs.sum()


def _focal(o: Tensor, y: Tensor) -> Tensor:
    losses = F.cross_entropy(o, y, reduction="none")
    return (losses * (1 - (-losses).exp()) ** 2).mean()


def _focal_of_shares(o: Tensor, y: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(o, y, reduction="none")
    return (losses * (1 - (-losses).exp()) ** 2).mean()


def _focal_values(losses: np.ndarray) -> np.ndarray:
    return (losses * np.expm1(-losses) ** 2).reshape(len(losses), -1).mean(-1)


def _each(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _cross_entropy(z, np.eye(z.shape[-1], dtype=Long)[y])


def _each_share(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1 - y) * np.logaddexp(Long(0), z) + y * np.logaddexp(Long(0), -z)


def _logs(z: np.ndarray) -> np.ndarray:
    apart = z - z.max(-1, keepdims=True)
    return apart - np.log(np.exp(apart).sum(-1, keepdims=True))


def _gaussian(apart: np.ndarray, variance: Any) -> np.ndarray:
    return ((np.log(variance) + apart * apart / variance + np.log(2 * pi())) / 2).mean((-2, -1))


LOSSES: dict[str, Measured] = {
    "squared": Measured(F.mse_loss, _of_distance(np.square), "numbers"),
    "absolute": Measured(F.l1_loss, _of_distance(lambda d: d), "numbers"),
    "huber": Measured(
        lambda o, y: F.huber_loss(o, y, delta=0.3),
        _of_distance(lambda d: np.where(d < Long(0.3), d * d / 2, Long(0.3) * (d - Long(0.3) / 2))),
        "numbers",
    ),
    "smooth l1": Measured(
        lambda o, y: F.smooth_l1_loss(o, y, beta=0.7),
        _of_distance(lambda d: np.where(d < Long(0.7), d * d / (2 * Long(0.7)), d - Long(0.7) / 2)),
        "numbers",
    ),
    "entropy": Measured(F.cross_entropy, _classes(_cross_entropy), "classes"),
    "weighted": Measured(lambda o, y: F.cross_entropy(o, y, COSTS), _weighted, "classes"),
    "smoothed": Measured(
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.25),
        _classes(lambda z, q: _cross_entropy(z, q * Long(0.75) + Long(0.25) / z.shape[-1])),
        "classes",
    ),
    "binary": Measured(
        F.binary_cross_entropy_with_logits,
        lambda z, y: ((1 - y) * np.logaddexp(Long(0), z) + y * np.logaddexp(Long(0), -z)).mean((-2, -1)),
        "shares",
    ),
    "positive": Measured(
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=POSITIVE),
        lambda z, y: ((1 - y) * np.logaddexp(Long(0), z) + Long(2.5) * y * np.logaddexp(Long(0), -z)).mean((-2, -1)),
        "shares",
    ),
    "errors": Measured(
        lambda o, y: (o.argmax(1) != y).double().mean(), lambda z, y: (z.argmax(-1) != y).mean(-1), "classes"
    ),
    "outputs": Measured(lambda o, y: o.mean(), lambda z, y: z.reshape(len(z), -1).mean(-1), "numbers"),
    "tokens": Measured(of_tokens, tokens, "tokens"),
    "perplexity": Measured(
        lambda o, y: F.cross_entropy(o, y).exp(), lambda z, y: np.exp(_classes(_cross_entropy)(z, y)), "classes"
    ),
    "likelihood": Measured(lambda o, y: F.nll_loss(o.log_softmax(1), y), _classes(_cross_entropy), "classes"),
    "likelihood by its name": Measured(
        lambda o, y: ATEN.nll_loss(o.log_softmax(1), y, None, 1, -100), _classes(_cross_entropy), "classes"
    ),
    "focal": Measured(_focal, lambda z, y: _focal_values(_each(z, y)), "classes"),
    "focal of yes and no": Measured(_focal_of_shares, lambda z, y: _focal_values(_each_share(z, y)), "shares"),
    "divergence": Measured(
        lambda o, y: F.kl_div(o.log_softmax(1), y, reduction="mean"),
        lambda z, y: (y * (np.log(np.where(y > 0, y, Long(1))) - _logs(z))).mean((-2, -1)),
        "shares",
    ),
    "gaussian": Measured(
        lambda o, y: F.gaussian_nll_loss(o[:, :1], y[:, :1], o[:, 1:].square(), full=True, eps=0.5),
        lambda z, y: _gaussian(z[..., :1] - y[:, :1], np.maximum(np.square(z[..., 1:]), Long(0.5))),
        "numbers",
    ),
    "gaussian, fixed": Measured(
        lambda o, y: F.gaussian_nll_loss(o, y, 0.25) - 1,
        lambda z, y: _gaussian(z - y, Long(0.25)) - np.log(2 * pi()) / 2 - 1,
        "numbers",
    ),
    **{
        f"{name}, each": Measured(
            lambda o, y, each=each: (each(o, y) * y.abs()).mean(),
            lambda z, y, exact=exact: (exact(np.abs(z - y)) * np.abs(y)).mean((-2, -1)),
            "numbers",
        )
        for name, each, exact in [
            ("squared", lambda o, y: F.mse_loss(o, y, reduction="none"), np.square),
            ("absolute", lambda o, y: F.l1_loss(o, y, reduction="none"), lambda d: d),
            (
                "huber",
                lambda o, y: F.huber_loss(o, y, reduction="none", delta=0.25),
                lambda d: np.where(d < 0.25, d * d / 2, (d - Long(0.125)) / 4),
            ),
            (
                "smooth l1",
                lambda o, y: F.smooth_l1_loss(o, y, reduction="none", beta=0.5),
                lambda d: np.where(d < 0.5, d * d, d - Long(0.25)),
            ),
        ]
    },
    "probabilities": Measured(
        lambda o, y: F.binary_cross_entropy(o.sigmoid(), y),
        lambda z, y: (
            (1 - y) * np.minimum(np.logaddexp(Long(0), z), 100) + y * np.minimum(np.logaddexp(Long(0), -z), 100)
        ).mean((-2, -1)),
        "shares",
    ),
    "total": Measured(lambda o, y: o.square().sum(), lambda z, y: np.square(z).sum((-2, -1)), "numbers"),
    "mean": Measured(lambda o, y: o.square().mean() + 0.5, lambda z, y: np.square(z).mean((-2, -1)) + 0.5, "numbers"),
}
