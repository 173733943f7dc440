"""One hidden layer (Section III.C): paths whose loss is the largest at one of their corners, by proof.

f(x) = β ρ(Wx). With W fixed, a convex loss is convex in β; with β_i = 0, unit i's input weights change nothing. A path
that changes only β, or only the input weights of units with β_i = 0, is therefore highest at a corner. Such paths lead
through sparse sub-networks of the ends (:func:`connect`): C. D. Freeman and J. Bruna, "Topology and Geometry of
Half-Rectified Network Optimization", ICLR 2017, Theorem 2.4, here in a form that can be checked; or through mixtures of
both (:func:`exchange`), which are never higher. Proofs: docs/theory/relu.md.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path
from torch import Tensor

from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting
from weightstring.path import WeightString
from weightstring.problem import Traceable
from weightstring.theory.curve import Curve, chain
from weightstring.theory.one_hidden import TINY, Features, OneHidden, Outer

METHODS = ("greedy", "lasso")

LASSO_PENALTIES = np.logspace(0, -4, 60)
"""As shares of the smallest penalty at which no unit is used."""


@dataclass(frozen=True, eq=False)
class VertexPath:
    """A path of straight pieces, on each of which the loss is constant or convex, so that a corner is highest.

    Args:
        string: the corners as a string; its ends are A and B, bit for bit.
        curve: the same path as a curve, with the bound.
        losses: of the corners, by name, in order; measured, so they carry the rounding of the problem's arithmetic.
        subsets: S_A and S_B, the units that carry the path, by slot.
    """

    string: WeightString
    curve: Curve
    losses: Mapping[str, float]
    subsets: tuple[list[int], list[int]]

    @property
    def bound(self) -> float:
        """The largest loss of a corner: no point of the path is higher."""
        return self.curve.bound

    @property
    def excess(self) -> float:
        """How far the bound is over the larger end, in units of the loss."""
        first, *_, last = self.losses.values()
        return self.bound - max(first, last)


def connect(
    problem: Traceable,
    a: Theta,
    b: Theta,
    subsets: tuple[Sequence[int], Sequence[int]] | None = None,
    method: str = "greedy",
) -> VertexPath:
    """The path from ``a`` to ``b`` through sub-networks on S_A and S_B, |S_A| + |S_B| ≤ m: eight corners at most.

    Its loss is nowhere over max(L(A), L(A on S_A), L(B on S_B), L(B)), where "on S" is the best β that uses no unit
    outside S. β goes to its best on S_A, B's units move into slots outside S_A, β goes to its best on these, the other
    slots move to W_B, and β goes to β_B. A slot of both S_A and S_B gets B's unit last, as a copy of one outside both.

    Args:
        problem: that computes ``nn.Sequential(Linear, activation, Linear)`` and a convex loss, by any classes.
        a: A (P,).
        b: B (P,).
        subsets: S_A and S_B, slots from 0; None: chosen, |S_A| = k and |S_B| = m − k with the k of the least bound.
        method: how units are chosen: ``"greedy"`` adds the unit along which the loss falls fastest, ``"lasso"`` takes
            them in the order in which a lasso of the end's own outputs uses them.

    Raises:
        InvalidSetting: another module or loss, subsets that are too large or name no units, an unknown method, or an
            end whose loss is not finite.

    >>> x = torch.linspace(-1, 2, 12, dtype=torch.float64).unsqueeze(1)
    >>> nn = torch.nn
    >>> net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, nn.MSELoss(), (x, x.abs()), batch_size=None)
    >>> path = connect(problem, problem.initial(0), problem.initial(1))
    >>> path.string.max_loss <= path.bound * (1 + 1e-9), list(path.losses)[0], list(path.losses)[-1]
    (True, 'A', 'B')
    """
    net = _checked_net(problem, a, b, method)
    (inner_a, outer_a), (inner_b, outer_b) = net.parts(a), net.parts(b)
    features_a, features_b = net.features(inner_a), net.features(inner_b)
    m = len(inner_a)
    if subsets is None:
        (order_a, fits_a), (order_b, fits_b) = (
            _nested(net, features_a, outer_a, method),
            _nested(net, features_b, outer_b, method),
        )
        heights_a = [net.slope(features_a, fit)[0] for fit in fits_a]
        heights_b = [net.slope(features_b, fit)[0] for fit in fits_b]
        k = min(range(m + 1), key=lambda k: max(heights_a[k], heights_b[m - k]))
        s_a, s_b, on_a, on_b = order_a[:k], order_b[: m - k], fits_a[k], fits_b[m - k]
    else:
        s_a, s_b = _checked_subsets(subsets, m)
        on_a, on_b = net.fit(features_a, s_a, outer_a), net.fit(features_b, s_b, outer_b)
    on_a, on_b = on_a.to(outer_a), on_b.to(outer_b)

    outside = iter(sorted(set(range(m)) - {*s_a, *s_b}))  # at least as many as S_A and S_B share, for |S_A| + |S_B| ≤ m
    slots = [next(outside) if unit in s_a else unit for unit in s_b]
    moved_in, hosted = inner_a.clone(), on_b.clone()
    moved_in[slots] = inner_b[s_b]
    hosted[:m] = 0
    hosted[slots] = on_b[s_b]
    moved_home = inner_b.clone()
    moved_home[slots] = moved_in[slots]
    corners = [
        ("A on S_A", net.theta(inner_a, on_a)),
        ("A on S_A, units of B moved in", net.theta(moved_in, on_a)),
        ("B on S_B, other units of A", net.theta(moved_in, hosted)),
        ("B on S_B, in slots outside S_A", net.theta(moved_home, hosted)),
        ("B on S_B, copied home", net.theta(moved_home, on_b)),
        ("B on S_B", net.theta(inner_b, on_b)),
    ]
    return _vertex_path(problem, a, corners, b, (s_a, s_b))


def exchange(problem: Traceable, a: Theta, b: Theta, method: str = "greedy") -> VertexPath:
    """The path from ``a`` to ``b`` that exchanges one unit after another: at every corner all slots but one are used.

    For t = 0, …, m − 1 β goes to its best on A's first m − 1 − t units and B's first t, each in its end's own order,
    and B's next unit moves into the slot that is unused. At the end B's units go home one by one through the free slot,
    as copies. The loss is nowhere over the largest of L(A), L(B) and these m fits. As one of them holds S_A or S_B
    whole, whatever k, this is no larger than the bound of :func:`connect` with the same method, if fits are best ones.

    Args:
        problem: see :func:`connect`.
        a: A (P,).
        b: B (P,).
        method: of the orders.

    Raises:
        InvalidSetting: another module or loss, an unknown method, or an end whose loss is not finite.

    >>> x = torch.linspace(-1, 2, 12, dtype=torch.float64).unsqueeze(1)
    >>> nn = torch.nn
    >>> net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, nn.MSELoss(), (x, x.abs()), batch_size=None)
    >>> ends = problem.initial(0), problem.initial(1)
    >>> exchange(problem, *ends).bound <= connect(problem, *ends).bound * (1 + 1e-9)
    True
    """
    net = _checked_net(problem, a, b, method)
    (inner, outer), (inner_b, outer_b) = net.parts(a), net.parts(b)
    order_a, order_b = (
        _nested(net, net.features(w), beta, method)[0] for w, beta in ((inner, outer), (inner_b, outer_b))
    )
    m = len(order_a)
    corners: list[tuple[str, Theta]] = []
    slot_of: dict[int, int] = {}

    def enter(unit: int, slot: int) -> None:
        nonlocal inner
        inner = inner.clone()
        inner[slot] = inner_b[unit]
        slot_of[unit] = slot
        corners.append((f"unit {unit} of B in slot {slot}, step {len(corners)}", net.theta(inner, outer)))

    for t in range(m):
        free = order_a[m - 1 - t]
        outer = net.fit(net.features(inner), [slot for slot in range(m) if slot != free], outer).to(inner)
        corners.append((f"{m - 1 - t} units of A, {t} of B", net.theta(inner, outer)))
        if t < m - 1:
            enter(order_b[t], free)
    # All of B's units but the last are there. One whose home is free goes there; else any that is not at home.
    while astray := [unit for unit, slot in slot_of.items() if unit != slot]:
        unit = free if free in astray else astray[0]
        old = slot_of[unit]
        enter(unit, free)
        outer = outer.clone()
        outer[free], outer[old] = outer[old].clone(), 0
        corners.append((f"unit {unit} of B moved to slot {free}, step {len(corners)}", net.theta(inner, outer)))
        free = old
    corners.append(("without one unit of B", net.theta(inner_b, outer)))
    return _vertex_path(problem, a, corners, b, (order_a, order_b))


def _vertex_path(
    problem: Traceable, a: Theta, between: list[tuple[str, Theta]], b: Theta, units: tuple[list[int], list[int]]
) -> VertexPath:
    corners = [("A", a), *between]
    kept = [
        (name, theta) for i, (name, theta) in enumerate(corners) if not i or not torch.equal(theta, corners[i - 1][1])
    ]
    beads = torch.stack([theta.detach() for _, theta in [*kept, ("B", b)]])
    losses = dict(zip([*(name for name, _ in kept), "B"], problem.measure(beads)["loss"].tolist(), strict=True))
    return VertexPath(WeightString(problem, beads), chain(list(beads), max(losses.values())), losses, units)


def _nested(net: OneHidden, features: Features, outer: Outer, method: str) -> tuple[list[int], list[Outer]]:
    """Units in an order, and the best β on the first 0, 1, …, m of them."""
    m = features.shape[1] - int(net.outer_bias)
    order: list[int] = []
    fits = [net.fit(features, order, torch.zeros_like(outer))]
    ranking = _lasso(net, features, outer) if method == "lasso" else None
    rest = _without(features, features[:, m:].sum(1))
    for k in range(m):
        if ranking is None:
            unit = _steepest(rest, features, net.slope(features, fits[-1])[1], [*order, *range(m, len(outer))])
            rest = _without(rest, rest[:, unit])
        else:
            unit = ranking[k]
        order.append(unit)
        fits.append(net.fit(features, order, fits[-1]))
    return order, fits


def _steepest(rest: Features, features: Features, gradient: Float64[Tensor, "N c"], taken: list[int]) -> int:
    """The unit along whose activations, less their regression on those in use, the loss falls fastest.

    For squared loss that is the one that lowers it most: orthogonal least squares (S. Chen, S. A. Billings and W. Luo,
    "Orthogonal least squares methods and their application to non-linear system identification", 1989).
    """
    norms = rest.norm(dim=0)
    gains = (rest.T @ gradient).norm(dim=1) / norms.clamp(min=TINY)
    gains[norms <= 1e-9 * features.norm(dim=0)] = 0  # what is left of a copy is rounding
    gains[taken] = -1
    return int(gains.argmax())


def _without(features: Features, direction: Float64[Tensor, " N"]) -> Features:
    """Features less their projection on a direction; the second time takes away what rounding left."""
    unit = direction / direction.norm().clamp(min=TINY)
    for _ in range(2):
        features = features - torch.outer(unit, unit @ features)
    return features


def _lasso(net: OneHidden, features: Features, outer: Outer) -> list[int]:
    """Units in the order in which a group lasso of the end's own outputs takes them in, as its penalty falls."""
    m = features.shape[1] - int(net.outer_bias)
    hidden, outputs = features[:, :m], features @ outer.cpu().double()
    if net.outer_bias:
        hidden, outputs = hidden - hidden.mean(0), outputs - outputs.mean(0)
    hidden = hidden / hidden.norm(dim=0).clamp(min=TINY)
    largest = (hidden.T @ outputs).norm(dim=1).max().item() / len(hidden)
    if largest == 0:
        return list(range(m))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an order is wanted, not a solution
        _, weights, _ = lasso_path(hidden.numpy(), outputs.numpy(), alphas=largest * LASSO_PENALTIES)
    sizes = np.linalg.norm(weights, axis=0)  # (m, penalties)
    entered = np.where(sizes.any(1), (sizes > 0).argmax(1), sizes.shape[1])
    return sorted(range(m), key=lambda unit: (entered[unit], -sizes[unit, -1]))


def _checked_net(problem: Traceable, a: Theta, b: Theta, method: str) -> OneHidden:
    net = OneHidden.of(problem)
    if method not in METHODS:
        raise InvalidSetting(f"method={method!r}: choose one of {', '.join(METHODS)}")
    for name, theta in (("a", a), ("b", b)):
        problem.layout.check(theta, 1, problem.device)
        loss = problem.measure(theta[None])["loss"].item()
        if not math.isfinite(loss):
            raise InvalidSetting(f"the loss of {name} is {loss}: give ends whose loss is finite")
        if not net.agrees(theta, loss):
            raise InvalidSetting(
                f"the loss of {name} is {loss:.6g}, which its traced operations do not give: let the net and its loss "
                "compute the same whether or not they are traced"
            )
    return net


def _checked_subsets(subsets: tuple[Sequence[int], Sequence[int]], m: int) -> tuple[list[int], list[int]]:
    s_a, s_b = (sorted(set(subset)) for subset in subsets)
    strangers = [unit for unit in (*s_a, *s_b) if unit not in range(m)]
    if strangers:
        raise InvalidSetting(f"subsets: there is no unit {strangers[0]!r}; the hidden layer has units 0 to {m - 1}")
    if len(s_a) + len(s_b) > m:
        raise InvalidSetting(f"subsets: {len(s_a)} + {len(s_b)} units for {m} slots; name at most {m}, or pass None")
    return s_a, s_b
