r"""Losses of enclosed outputs: for each interval a mean over examples that the true mean never exceeds.

Each loss is written as a function that is convex in σ and does not decrease in what is bounded from above. Then the
mean over examples is convex too, and no larger anywhere than at the larger of its two ends.

- Cross-entropy with target distribution q: logsumexp_j(z_j − Σ_k q_k z_k), of upper lines of these differences.
- Squared, absolute, Huber: the loss of |p(σ) − y| + E.
- Binary cross-entropy: logsumexp((1 − y)z, −yz), and with a positive weight w its two terms apart.
- Errors: the examples that may be wrong anywhere in the interval, ties counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.proof.enclose import piecewise
from weightstring.proof.enclose.enclosure import Enclosure, measured, per_interval
from weightstring.proof.enclose.intervals import Weights
from weightstring.proof.enclose.linear import LinearMap
from weightstring.proof.enclose.rounding import ELEMENTWISE, FLOOR, gamma
from weightstring.proof.enclose.smooth import softplus
from weightstring.proof.enclose.softmax import log_softmax as soft_log_softmax
from weightstring.proof.enclose.softmax import log_sum_exp as curved_log_sum_exp
from weightstring.proof.enclose.values import Bounds, Data, Logits, Rows

LIGHTEST = 1e-60
"""The smallest weight of a class, which may not underflow in products; its inverse is the largest."""

NONE, MEAN, SUM = 0, 1, 2
"""torch's codes of a reduction."""


def require_mean(reduction: int) -> None:
    """A loss must be a mean over examples."""
    if reduction != MEAN:
        raise Unsupported("the loss is not a mean over examples (its reduction is not 'mean'): use reduction='mean'")


def averaged(
    losses: Tensor,
    rows: Rows,
    scales: Tensor | None = None,
    spare: Tensor | float = FLOOR,
    printed: Tensor | None = None,
    centre: Tensor | None = None,
) -> Bounds:
    """Mean of losses (2 or 3, I, n, ...) over examples and all further axes, raised by what rounding may have taken.

    Args:
        losses: right to :data:`ELEMENTWISE`, relative to their size; or (3, I, n, ...): parabolas.
        rows: which examples.
        scales: (n,) what each is multiplied by; None: its share of the mean.
        spare: (2, I) or a number: what underflow may have taken is far below γ of it.
        printed: like the losses: what torch's way of computing them loses, where that is more than relative.
        centre: (3, I, n, ...) the losses of the polynomials themselves at σ = −1, 1 and 0, of parabolas at −1, 0 and 1,
            by which it is seen whose bound is loose; None: all are as loose as they are large.
    """
    scales = rows.scales() if scales is None else scales
    # The weights are sums over all examples.
    terms = len(rows.population.targets) + len(scales) + losses[0, 0, 0].numel()
    each = _per_example(losses) * scales
    if losses.ndim > 3:  # whose own mean may cancel
        each += gamma(terms) * _per_example(losses.abs()) * scales
    if centre is None:
        loose = each.abs().amax(0)
    elif len(losses) == 3:
        loose = (each - _per_example(centre) * scales).amax(0)
    else:
        minus, plus, middle = _per_example(centre) * scales
        loose = torch.maximum((each - torch.stack([minus, plus])).amax(0), each.mean(0) - middle)
    slack = torch.zeros_like(each[..., 0]) if printed is None else _per_example(printed) @ scales
    return Bounds(each, terms, torch.as_tensor(spare, dtype=torch.float64, device=each.device), slack, loose)


def _per_example(values: Tensor) -> Tensor:
    return values.flatten(3).mean(3) if values.ndim > 3 else values


def upper_ends(x: Enclosure) -> Tensor:
    """(2, I, n, ...): an upper line, by its ends."""
    minus, plus, radius = x.line()
    return torch.stack([minus + radius, plus + radius])


def places(x: Enclosure) -> Tensor:
    """(3, I, n, ...): the line itself at σ = −1, 1 and 0."""
    minus, plus, _ = x.line()
    return torch.stack([minus, plus, (minus + plus) / 2])


def of_distance(loss: Callable[[Tensor], Tensor], x: Enclosure, target: Enclosure | Data, rows: Rows) -> Bounds:
    """The mean of ``loss(|x − target|)``, for a loss that is convex and does not fall."""
    difference = distance(x, target)
    minus, plus, radius = difference.line()
    distances = torch.stack([minus.abs() + radius, plus.abs() + radius])
    return averaged(loss(distances), rows, centre=loss(places(difference).abs()))


def distance(x: Enclosure, target: Enclosure | Data) -> Enclosure:
    """The difference x − target."""
    return x.shifted(-target.values.double()) if isinstance(target, Data) else x + target.scaled(-1.0)


def bent(x: Enclosure, delta: float, steep: float) -> Enclosure:
    """steep·(½ m²/δ + |x| − m) with m = min(|x|, δ), which is |x| less what exceeds δ: Huber's loss of each number."""
    size = piecewise.magnitude(x)
    far = piecewise.rectified(size.shifted(-delta))
    near = size + far.scaled(-1.0)
    return ((near * near).scaled(0.5 / delta) + far).scaled(steep)


def binary(
    x: Enclosure, target: Data, rows: Rows, weight: Tensor | None = None, positive: Tensor | None = None
) -> Bounds:
    """Binary cross-entropy of logits, for targets in [0, 1]."""
    y = _shares(target, weight, positive)

    def loss(up: Tensor, down: Tensor) -> Tensor:
        soft = torch.nn.functional.softplus
        if positive is None:
            one, other = (1 - y) * up, y * down
            rest = (-(one - other).abs()).exp().log1p()
            larger = torch.maximum(one, other)
            losses = larger + rest + ELEMENTWISE * (larger.abs() + rest)
        else:
            losses = (1 - y) * soft(up, threshold=700) + positive.to(y) * y * soft(down, threshold=700)
        return losses if weight is None else losses * weight.to(y)

    up, down, at = upper_ends(x), upper_ends(x.scaled(-1.0)), places(x)
    printed = ELEMENTWISE * (1 + up.abs() + down.abs())
    printed = printed if weight is None else printed * weight.to(y)
    return averaged(loss(up, down), rows, printed=printed, centre=loss(at, -at))


def each_binary(x: Enclosure, target: Data, weight: Tensor | None = None, positive: Tensor | None = None) -> Enclosure:
    """The binary cross-entropy of each logit."""
    y = _shares(target, weight, positive)
    costs = y.new_ones(()) if weight is None else weight.to(y)
    of_yes = y * costs if positive is None else y * costs * positive.to(y)
    no, yes = (softplus(part, 1.0, torch.inf) for part in (x, x.scaled(-1.0)))
    return no.scaled((1 - y) * costs) + yes.scaled(of_yes)


def _shares(target: Data, *weights: Tensor | None) -> Tensor:
    """Targets of a binary cross-entropy."""
    y = target.values.double()
    if not bool(((y >= 0) & (y <= 1)).all()):
        raise Unsupported("binary cross-entropy with targets outside [0, 1] has no bound here: give targets in [0, 1]")
    for factor in weights:
        if factor is not None and (factor.ndim > y.ndim or bool((factor < 0).any())):
            raise Unsupported("binary cross-entropy with negative weights has no bound: give weights of at least 0")
    return y


def differences(logits: Logits | Enclosure, mixtures: Tensor) -> Enclosure:
    """z_j − Σ_k q_k z_k (I, n, C) for each example's own q (n, C)."""
    if isinstance(logits, Enclosure):
        return _differences_of_outputs(logits, mixtures)
    runs = _runs(mixtures)
    if len(runs) > 4 * mixtures.shape[1]:
        order = mixtures.argmax(1).argsort(stable=True)  # tokens: those of one class side by side
        runs = _runs(mixtures[order])
        if len(runs) > 4 * mixtures.shape[1]:  # targets that are distributions: too many layers
            return _differences_of_outputs(logits.settled(), mixtures)
        sorted_, back = replace(logits, hidden=_chosen(logits.hidden, order)), order.argsort()
        return _chosen(differences(sorted_, mixtures[order]), back)
    parts = []
    for start, end in runs:
        mixture = mixtures[start]
        key = tuple(mixture.tolist())
        layer = logits.relative.get(key)
        if layer is None:
            layer = logits.relative[key] = _relative(logits.layer, mixture)
        parts.append(layer.of(_chosen(logits.hidden, slice(start, end))))
    nodes = tuple(torch.cat(column, 1) for column in zip(*(part.nodes for part in parts), strict=True))
    size = torch.stack([part.size for part in parts]).amax(0)
    return Enclosure(nodes, torch.cat([part.radius for part in parts], 1), size)


def _chosen(x: Enclosure, rows: Tensor | slice) -> Enclosure:
    def choose(values: Tensor) -> Tensor:
        return values[:, rows]

    return x.each(choose, choose)


def _runs(mixtures: Tensor) -> list[tuple[int, int]]:
    """Where consecutive rows are the same."""
    new = (mixtures[1:] != mixtures[:-1]).any(1).nonzero().squeeze(1) + 1
    edges = [0, *new.tolist(), len(mixtures)]
    return list(pairwise(edges))


def _relative(layer: LinearMap, mixture: Tensor) -> LinearMap:
    """The layer whose outputs are z_j − Σ_k q_k z_k."""

    def less(weights: Weights) -> Weights:
        beads = weights.beads
        return Weights(beads - torch.tensordot(mixture, beads, dims=([0], [1])).unsqueeze(1))

    bias = None if layer.bias is None else less(layer.bias)
    sums = 4 * (layer.sums + layer.sums.amax(1, True))
    return replace(layer, weight=less(layer.weight), bias=bias, row_sums=sums, terms=len(mixture), last=True)


def _differences_of_outputs(z: Enclosure, mixtures: Tensor) -> Enclosure:
    rest = 1 - mixtures
    nodes = tuple(node - (node * mixtures).sum(2, keepdim=True) for node in z.nodes)
    # z_j itself stands in Σ q_k z_k with the weight q_j, which cancels.
    radius = (z.radius * mixtures).sum(2, keepdim=True) + z.radius * (rest - mixtures)
    size = 3 * z.size
    return Enclosure(nodes, radius.clamp(min=0), size).widened(gamma(mixtures.shape[1]) * size)


def cross_entropy(
    logits: Logits | Enclosure,
    target: Data,
    rows: Rows,
    key: str,
    weight: Tensor | None = None,
    ignored: int = -100,
    smoothing: float = 0.0,
) -> Bounds:
    """Cross-entropy over axis 1 of outputs (I, n, C), with class indices (n,) or distributions (n, C).

    Where outputs are of tokens, all those of an example are side by side: (I, n·m, C).
    """
    costs = _costs(logits, target, weight)
    classes, scales = len(costs), _scales(target, rows, key, costs, ignored)
    total, mixtures, itself = _mixtures(target, costs, ignored, smoothing)
    enclosed = differences(logits, mixtures)
    if enclosed.norm is not None:
        sizes, losses, centre = _curved(enclosed, itself)
    else:
        ends, at = (part.masked_fill_(itself, 0.0) for part in (upper_ends(enclosed), places(enclosed)))
        sizes, losses, centre = 1 + ends.abs().amax(3), log_sum_exp(ends), at.logsumexp(3)
    tokens = len(total) // len(scales)
    if tokens > 1:
        shares = (total * tokens).view(len(scales), tokens)
        sizes, losses, centre = (part.view(*part.shape[:2], *shares.shape) * shares for part in (sizes, losses, centre))
        total, spare = torch.ones_like(scales), FLOOR * (sizes.sum(3) @ scales)
    else:
        spare = FLOOR * (sizes @ scales)
    return averaged(losses, rows, scales * total, spare, gamma(classes) * sizes, centre)


def _curved(x: Enclosure, itself: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sizes, parabolas above the losses, and the losses of the polynomials at their nodes, each (3, I, n)."""
    nodes = tuple(node.masked_fill(itself, 0.0) for node in x.nodes)
    cut = Enclosure(nodes, x.radius.masked_fill(itself, 0.0), x.size)
    found = curved_log_sum_exp(cut)
    losses = torch.stack([(node + found.radius).squeeze(-1) for node in found.nodes])
    centre = torch.stack(nodes).logsumexp(3)
    return 1 + losses.abs() + per_interval(found.size, losses[0]), losses, centre


def each_cross_entropy(
    logits: Logits | Enclosure, target: Data, weight: Tensor | None = None, ignored: int = -100, smoothing: float = 0.0
) -> Enclosure:
    """The cross-entropy of each example or token: (I, n)."""
    costs = _costs(logits, target, weight)
    total, mixtures, itself = _mixtures(target, costs, ignored, smoothing)
    apart = differences(logits, mixtures)
    nodes = tuple(node.masked_fill(itself, 0.0) for node in apart.nodes)
    logs = soft_log_softmax(Enclosure(nodes, apart.radius.masked_fill(itself, 0.0), apart.size))
    # Σ q_j (z_j − Σ q_k z_k) is 0, so that the mean of what log softmax makes of them is the loss.
    found, classes = logs.scaled(-mixtures), len(costs)
    nodes, radius = tuple(node.sum(2) for node in found.nodes), found.radius.sum(2)
    return measured(nodes, radius, gamma(classes) * classes * found.size).scaled(total)


def _costs(logits: Logits | Enclosure, target: Data, weight: Tensor | None) -> Tensor:
    """What each class counts."""
    classes = logits.layer.outputs if isinstance(logits, Logits) else logits.shape[2]
    costs = torch.ones(classes, dtype=torch.float64, device=target.values.device) if weight is None else weight.double()
    if not bool(((costs == 0) | ((costs > LIGHTEST) & (costs < 1 / LIGHTEST))).all()):
        raise Unsupported(
            "cross-entropy with negative class weights, or positive ones outside "
            f"{LIGHTEST:.0e} to {1 / LIGHTEST:.0e}, has no bound: give weights of at least 0 in that range"
        )
    return costs


def _mixtures(target: Data, costs: Tensor, ignored: int, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Targets times what classes count: their sum (n,), their shares of it (n, C), and where a share is all of it."""
    values, classes = target.values, len(costs)
    if values.is_floating_point():
        q = values.double()
        if bool((q < 0).any()):
            raise Unsupported("cross-entropy with negative targets has no bound: give distributions over the classes")
        # torch does not ask whether they sum to 1.
        q = q * (1 - smoothing) + smoothing / classes
    else:
        used = values != ignored
        q = torch.nn.functional.one_hot(values.where(used, 0), classes).double() * used.unsqueeze(1)
        q = q * (1 - smoothing) + q.sum(1, keepdim=True) * (smoothing / classes)
    q = q * costs
    total = q.sum(1)
    mixtures = q / total.clamp(min=torch.finfo(torch.float64).tiny).unsqueeze(1)
    # The difference of an output from itself is 0, without rounding.
    itself = (mixtures == 1) & (mixtures.count_nonzero(1) == 1).unsqueeze(1)
    return total, mixtures, itself


def _scales(target: Data, rows: Rows, key: str, costs: Tensor, ignored: int) -> Tensor:
    """What the examples' losses are multiplied by in the mean."""
    if target.values.is_floating_point():
        scales = rows.scales()
        return scales / (len(target.values) // len(scales))
    # torch divides by the weights of the examples that it looks at together.
    if (whole := target.whole) is None:
        raise Unsupported("a weighted cross-entropy has targets computed from several data: store them as they are")

    def weigh(examples: Tensor) -> Tensor:
        every = whole()
        each = torch.where(every == ignored, 0.0, costs[every.where(every != ignored, 0)])
        return each.view(len(examples), -1).sum(1)

    return rows.scales(key, weigh)


def log_sum_exp(ends: Tensor) -> Tensor:
    """No less than log Σ exp over the last axis, and near it relative to itself where the largest is 0."""
    top, best = ends.max(-1, keepdim=True)
    others = (ends - top).exp().scatter(-1, best, 0.0).sum(-1)
    top, rest = top.squeeze(-1), others.log1p()
    # An argument's own rounding counts up to 745 times, where exp vanishes.
    return top + rest + (gamma(ends.shape[-1]) + ELEMENTWISE) * (top.abs() + rest)


def possibly_wrong(logits: Logits | Enclosure, target: Data) -> Tensor:
    """(I, n): whether some class may reach the right one anywhere in the interval, a tie included."""
    values = target.values
    if values.is_floating_point() or values.ndim != 1:
        raise Unsupported("an error rate needs class indices as targets, one per example")
    classes = logits.layer.outputs if isinstance(logits, Logits) else logits.shape[2]
    known = (values >= 0) & (values < classes)
    right = torch.nn.functional.one_hot(values.long().where(known, 0), classes).double()
    highest = upper_ends(differences(logits, right)).amax(0)
    # What is no number, or overflowed, is not surely below.
    below = (highest < 0) & highest.isfinite()
    return ~(below | right.bool()).all(2) | ~known
