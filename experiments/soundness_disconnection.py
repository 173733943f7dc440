"""Are proofs of disconnection ever contradicted? Random small networks, and paths that try to pass under the bound.

Each instance has its data (near-collinear, repeated, opposite, zero, of sizes up to 1e±150, float32), a network and two
ends of which a determinant has different signs, more often than not just before and behind the lowest place of the wall
that could be found. Against a proved bound stand

- the straight line, sampled densely and at the very place where the determinant is 0,
- detours: through singular networks found by dense search, and random ones, improved by random steps,
- for deep linear networks the path of ``through_barrier``, and products of low rank fitted from random starts,
- a certificate of the line or detour, wherever samples lie under the bound, and of every tenth line anyway,
- the whole of ``connect`` at a threshold under the bound, for every hundredth instance.

A path whose certificate lies under a proved bound is a contradiction; samples alone may step over a thin wall, and
count as suspect. Instances come in groups that share their data and network.

python experiments/soundness_disconnection.py                     10,000 instances, writes experiments/results
python experiments/soundness_disconnection.py --instances 500     fewer; goes on where results/*.jsonl ends
python experiments/soundness_disconnection.py --out FILE --seed 7 others, elsewhere
"""

# ruff: noqa: N806 (the symbols of the paper are capitals)

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import WeightstringError
from weightstring.proof.disconnect import prove
from weightstring.randomness import generator
from weightstring.theory.deep_linear import SquaredLoss, flatten, product, unflatten
from weightstring.theory.deep_linear_barrier import barrier, through_barrier
from weightstring.tracing import program

RESULTS = Path(__file__).parent / "results" / "soundness_disconnection.jsonl"
GROUP = 2
"""Instances with the same data and network."""
BLOCK = 50
"""Groups of one line of the results."""
CERTIFIED, CONNECTED = 10, 100
"""Of so many instances one is certified, or given to connect, whatever samples say."""
ROOM = 1e-9
"""What samples may fall short of a bound by rounding, relative to it; in float32 a thousand times as much."""

DATA = (
    *(
        "generic",
        "line",
        "line",
        "line",
        "thin",
        "remembered",
        "repeated",
        "opposite",
        "zero",
        "small",
        "large",
        "mixed",
    ),
    *("float32", "float32 line"),
)
REMEMBERED = (
    ((1.7426, 7.8483e-4), (1.4165, 1.0728e-3), (-2.5715, -1.5917e-3), (-2.0288, -1.1889e-2)),
    ((-0.1659, -1.0200), (-0.3245, -3.3863), (-1.6920, 0.0716), (1.0729, 0.0234)),
)
"""Inputs and targets for which a bound was once wrong, and near which others are drawn."""
KINDS = ("coordinates", "coordinates", "coordinates", "points", "points", "points", "one", "linear")


TRACES: dict[str, program.Program] = {}
"""Operations, by the form of the network."""


@dataclass
class Tally:
    """What one block of instances came to.

    Args:
        counts: of instances, proofs, contradictions and so on, by kind.
        closest: the least height met over a proved bound, by kind.
        found: contradictions and suspects, one by one.
    """

    counts: Counter[str] = field(default_factory=Counter)
    closest: dict[str, float] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def met(self, kind: str, height: float, bound: float, least: float = 0.0) -> None:
        """Note how near a path came, where the bound is above ``least``: what lies under it is mostly rounding."""
        self.counts[f"{kind}: proved"] += 1
        if bound > least:
            self.closest[kind] = min(self.closest.get(kind, math.inf), height / bound)


class Draw:
    """Random numbers of one group, from (seed, place)."""

    def __init__(self, seed: int, group: int) -> None:
        self.source = generator(seed, "soundness", group)

    def normal(self, *shape: int) -> Tensor:
        """Of float64."""
        return torch.randn(*shape, generator=self.source, dtype=torch.float64)

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.source))

    def power(self, low: float, high: float) -> float:
        """10 to a power between two."""
        return float(10.0 ** (low + (high - low) * float(torch.rand((), generator=self.source, dtype=torch.float64))))


def data(draw: Draw, form: str, count: int, width: int, outputs: int) -> tuple[Tensor, Tensor, float]:
    """Inputs and targets, and about how large the inputs are."""
    x, y, size = draw.normal(count, width), draw.normal(count, outputs), 1.0
    if form.endswith("line") or form == "thin":
        direction = draw.normal(1, width)
        x = draw.normal(count, 1) * direction + draw.power(-5 if form != "thin" else -13, -1) * x
    elif form == "remembered" and (count, width, outputs) == (4, 2, 2):
        x, y = (torch.tensor(rows, dtype=torch.float64) for rows in REMEMBERED)
        x, y = x * (1 + draw.power(-9, -2) * draw.normal(4, 2)), y + draw.power(-9, -1) * draw.normal(4, 2)
    elif form == "repeated":
        x[-1] = x[0] * (1.0 if draw.whole(0, 1) else draw.power(-3, 3))
        y[-1] = y[0] + draw.power(-8, 0) * y[-1]
    elif form == "opposite":
        x[-1] = -x[0]
    elif form == "zero":
        x[-1] = 0.0
        x[0, 0] = 0.0
    elif form in ("small", "large"):
        size = draw.power(-150, -20) if form == "small" else draw.power(20, 150)
        y = y * draw.power(-100, 100)
    elif form == "mixed":
        x[: count // 2] *= draw.power(-12, 0)
        y[:, -1] *= draw.power(-12, 0)
    return x * size, y, size


@dataclass
class Net:
    """One hidden layer on some data, computed in float64 for many models at once.

    Args:
        problem: the loss.
        rho: ρ.
        bias: whether there is one.
        x, y: the data, as stored.
        units: m.
    """

    problem: ws.ModuleProblem
    rho: nn.Module
    bias: bool
    x: Tensor
    y: Tensor
    units: int
    size: float

    def parts(self, thetas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """W (B, m, d), b (B, m) and β (B, c, m)."""
        m, d, c = self.units, self.x.shape[1], self.y.shape[1]
        sizes = [m * d, m * self.bias, c * m]
        inner, bias, outer = torch.split(thetas.double(), sizes, 1)
        return inner.view(-1, m, d), bias, outer.view(-1, c, m)

    def features(self, thetas: Tensor) -> Tensor:
        """H (B, m, N)."""
        inner, bias, _ = self.parts(thetas)
        hidden = inner @ self.x.T
        return self.rho(hidden + bias.unsqueeze(2) if self.bias else hidden)

    def losses(self, thetas: Tensor) -> Tensor:
        """The mean over examples and outputs (B,)."""
        return (self.parts(thetas)[2] @ self.features(thetas) - self.y.T).square().mean((1, 2))

    def fitted(self, inner: Tensor) -> Tensor:
        """θ of W (and b), flat, with the best β for it."""
        room = torch.zeros(self.y.shape[1] * self.units, dtype=torch.float64)
        hidden = self.features(torch.cat([inner, room])[None])[0]
        scale = hidden.abs().amax(1, keepdim=True).clamp(min=1e-300)
        outer = torch.linalg.lstsq((hidden / scale).T, self.y, driver="gelsd", rcond=1e-12).solution.T / scale.T
        return torch.cat([inner, outer.flatten()])

    def sign(self, theta: Tensor) -> float:
        """Of the determinant that matters, rounded."""
        square = self.parts(theta[None])[0][0] if self.coordinates else self.features(theta[None])[0]
        size = square.norm(dim=1, keepdim=True)
        return float(torch.linalg.slogdet(square / size.clamp(min=1e-300))[0])

    @property
    def coordinates(self) -> bool:
        """Whether it is W that is square."""
        return self.units == self.x.shape[1] and not self.bias


def build(draw: Draw, kind: str, form: str) -> Net:
    """A network with its data."""
    dtype = torch.float32 if form.startswith("float32") else torch.float64
    if kind == "points":
        units = count = draw.whole(2, 4)
        width, bias = (2, units + 1)[min(draw.whole(0, 2), 1)], bool(draw.whole(0, 1))
        if width == units and not bias:
            width += 1
        rho: nn.Module = (nn.ReLU(), nn.ReLU(), nn.Hardtanh(0.25, 3.0), nn.Hardsigmoid())[draw.whole(0, 3)]
    else:
        units = width = 1 if kind == "one" else 2
        count, bias = (3, 4, 6)[draw.whole(0, 2)], False
        rho = nn.ReLU() if draw.whole(0, 2) else nn.LeakyReLU(0.3)
    outputs = count if kind == "points" else draw.whole(1, 2)
    if form == "remembered" and kind == "coordinates":
        count, outputs = 4, 2
    x, y, size = data(draw, form, count, width, outputs)
    if kind == "points":
        if draw.whole(0, 1):  # targets that no network of lower rank comes near to
            y += 3 * y.abs().max() * torch.eye(count, dtype=torch.float64)
        elif draw.whole(0, 1):  # of lower rank themselves, all but a little
            y[:, -1] = y[:, 0] * draw.normal(1) + draw.power(-12, -2) * y[:, -1]
    x, y = x.to(dtype), y.to(dtype)
    net = nn.Sequential(nn.Linear(width, units, bias=bias), rho, nn.Linear(units, outputs, bias=False)).to(dtype)
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, y), batch_size=None, engine="loop")
    # Tracing takes longer than all else, and networks of one form differ in their numbers only.
    key = f"{net} {len(x)} {dtype}"
    if key not in TRACES:
        TRACES[key] = program.program_of(problem, "loss")
    else:
        tracing, program.trace_mean = program.trace_mean, lambda *_: TRACES[key]
        program.program_of(problem, "loss")  # which keeps it for this problem
        program.trace_mean = tracing
    return Net(problem, rho, bias, x.double(), y.double(), units, size)


def wall(draw: Draw, net: Net) -> Tensor:
    """A network on the wall, as low as dense search finds one."""
    if net.coordinates and net.units == 2:
        across = torch.atan2(net.x[:, 0], -net.x[:, 1])
        near = torch.cat([across + sign * 10.0**-k for sign in (1, -1) for k in range(1, 12)])
        angles = torch.cat([torch.linspace(0, math.pi, 721, dtype=torch.float64), near])
        best = float(angles[_explained(net, angles).argmax()])
        for k in range(3, 10):
            close = best + 10.0**-k * torch.linspace(-6, 6, 61, dtype=torch.float64)
            best = float(close[_explained(net, close).argmax()])
        v = torch.tensor([math.cos(best), math.sin(best)], dtype=torch.float64)
        return net.fitted((torch.stack([v, -v]) / net.size).flatten())
    places = [singular(draw, net) for _ in range(20)]
    if not net.coordinates and net.x.shape[1] >= net.units:
        places += [fooled(draw, net) for _ in range(20)]
    found = [net.fitted(place) for place in places]
    return found[int(net.losses(torch.stack(found)).nan_to_num(math.inf).argmin())]


def _explained(net: Net, angles: Tensor) -> Tensor:
    z = torch.stack([angles.cos(), angles.sin()], 1) @ (net.x / net.size).T
    total = torch.zeros(len(angles), dtype=torch.float64)
    goals = net.y / net.y.abs().max().clamp(min=1e-300)
    for side in (z.clamp(min=0), (-z).clamp(min=0)):
        square = side.square().sum(1)
        total += torch.where(square > 0, (side @ goals).square().sum(1) / square.clamp(min=1e-300), 0.0)
    return total


def singular(draw: Draw, net: Net) -> Tensor:
    """Random input weights with a determinant of 0: two units alike, one silent, or two examples seen alike."""
    width = net.x.shape[1]
    inner = draw.normal(net.units, width) / net.size
    bias = draw.normal(net.units) if net.bias else torch.zeros(0, dtype=torch.float64)
    how = draw.whole(0, 2)
    if net.units == 1 or how == 0:
        inner[0] = 0.0
        bias[:1] = -1.0
    elif how == 1:
        inner[1] = inner[0] * draw.power(-1, 1) if not net.bias else inner[0]
        bias[1:2] = bias[:1]
    elif width > 1:  # across the difference of two examples
        gap = (net.x[0] - net.x[1]) / net.size
        unit = gap / gap.norm().clamp(min=1e-300)
        inner = inner - (inner @ unit).unsqueeze(1) * unit
    return torch.cat([inner.flatten(), bias])


def fooled(draw: Draw, net: Net) -> Tensor:
    """Input weights with features that are not negative and all orthogonal to the c that costs least."""
    goals = net.y / net.y.abs().max().clamp(min=1e-300)
    gram = goals @ goals.T
    _, vectors = torch.linalg.eigh(gram)
    c = vectors[:, 0]
    if bool((c > 0).all()) or bool((c < 0).all()):  # without a strict sign: one of its numbers is 0, or beyond
        parts = [[k for k in range(net.units) if k != j] for j in range(net.units)]
        least = [torch.linalg.eigh(gram[keep][:, keep]) for keep in parts]
        j = min(range(net.units), key=lambda j: float(least[j][0][0]))
        c = torch.zeros_like(c)
        c[parts[j]] = least[j][1][:, 0]
        c[j] = -draw.power(-6, -2) * float(c.sum().sign())
    rows = [row for row in torch.eye(net.units, dtype=torch.float64) if float(row @ c) == 0]
    for i in range(net.units):
        for j in range(net.units):
            if c[i] > 0 > c[j]:
                row = torch.zeros_like(c)
                row[i], row[j] = -c[j], c[i]
                rows.append(row)
    mixture = torch.rand(net.units, len(rows), generator=draw.source, dtype=torch.float64)
    hidden = mixture @ torch.stack(rows) if rows else torch.zeros(net.units, net.units, dtype=torch.float64)
    inner = (hidden @ torch.linalg.pinv((net.x / net.size).T)) / net.size
    return torch.cat([inner.flatten(), torch.zeros(net.units * net.bias, dtype=torch.float64)])


def awake(draw: Draw, net: Net) -> Tensor:
    """A random model whose determinant is not 0, fitted."""
    for _ in range(20):
        inner = draw.normal(net.units, net.x.shape[1]) / net.size
        theta = net.fitted(torch.cat([inner.flatten(), draw.normal(net.units * net.bias)]))
        if net.sign(theta):
            break
    return theta


def ends(draw: Draw, net: Net, low: Tensor) -> tuple[Tensor, Tensor]:
    """Two models with different signs: a network and its swapped copy, random ones, or both sides of the wall."""
    how = draw.whole(0, 3)
    first = net.units * net.x.shape[1] + net.units * net.bias
    if how < 2 or net.units == 1:
        size = float(low[:first].abs().max()) or 1 / net.size
        step = draw.power(-7, -1) * size * draw.normal(first)
        a, b = low.clone(), low.clone()
        a[:first] += step
        b[:first] -= step
        if how == 1:  # the best at either end
            a, b = net.fitted(a[:first]), net.fitted(b[:first])
        return a, b
    a = awake(draw, net)
    if how == 3:
        return a, awake(draw, net)
    inner, bias, outer = net.parts(a[None])
    order = [1, 0, *range(2, net.units)]
    swapped = [inner[0][order].flatten(), bias[0][order] if net.bias else bias[0], outer[0][:, order].flatten()]
    return a, torch.cat(swapped)


def height(net: Net, beads: Tensor, samples: int = 33) -> float:
    """The largest sample of a string, those where the sign changes among them."""
    highest = -math.inf
    for a, b in pairwise(beads):
        ts = torch.linspace(0, 1, samples, dtype=torch.float64)
        low, high, first = 0.0, 1.0, net.sign(a)
        if first * net.sign(b) < 0:
            for _ in range(50):
                middle = (low + high) / 2
                low, high = (middle, high) if net.sign(torch.lerp(a, b, middle)) == first else (low, middle)
            ts = torch.cat([ts, torch.tensor([low, high], dtype=torch.float64)])
        values = net.losses(torch.lerp(a, b, ts.unsqueeze(1)))
        highest = max(highest, float(values.nan_to_num(math.inf).max()))
    return highest


def lowest_detour(draw: Draw, net: Net, a: Tensor, b: Tensor, low: Tensor) -> tuple[float, Tensor]:
    """The lowest of paths through the wall's lowest place, one like it, or random models; then random steps."""
    best, string = math.inf, torch.stack([a, b])
    ts = torch.linspace(0, 1, 17, dtype=torch.float64).view(-1, 1, 1)
    places = [low, net.fitted(singular(draw, net)), torch.lerp(a, b, 0.5)]
    middles = torch.stack(places + [places[draw.whole(0, 2)] * (1 + 0.3 * draw.normal(len(a))) for _ in range(12)])
    step = 0.1
    for _ in range(3):
        pieces = torch.cat([torch.lerp(a, middles, ts), torch.lerp(middles, b, ts)])
        tops = net.losses(pieces.flatten(0, 1)).view(len(pieces), -1).nan_to_num(math.inf).amax(0)
        i = int(tops.argmin())
        if float(tops[i]) < best:
            best, string = float(tops[i]), torch.stack([a, middles[i], b])
        middles = string[1] * (1 + step * draw.normal(15, len(a)))
        step /= 5
    return height(net, string), string


def certified(net: Net, string: Tensor) -> float:
    """How high a string is at most; infinite where nothing can be certified."""
    try:
        beads = ws.WeightString(net.problem, list(string.to(net.problem.dtype)))
        return ws.certify(net.problem, beads, seconds=5, tol=1e-2).upper_bound
    except WeightstringError:
        return math.inf


def try_net(draw: Draw, tally: Tally, name: str, kind: str, form: str) -> None:
    """One group of networks with one hidden layer."""
    net = build(draw, kind, form)
    low = wall(draw, net)
    room = ROOM * (1000 if net.problem.dtype is torch.float32 else 1)
    for i in range(GROUP):
        a, b = (end.to(net.problem.dtype) for end in ends(draw, net, low))
        tally.counts[f"{kind}: instances"] += 1
        if not bool(torch.isfinite(torch.cat([a, b])).all()):
            continue
        try:
            proof = prove(net.problem, a, b)
        except WeightstringError as error:
            tally.counts["refused by the product itself"] += 1
            tally.found.append(f"{name}/{i} {kind} {form}: {error}")
            continue
        if proof is None:
            continue
        a, b = a.double(), b.double()
        line = height(net, torch.stack([a, b]), 257)
        detour, string = lowest_detour(draw, net, a, b, low)
        tally.met(kind, min(line, detour), proof.bound)
        for what, top, path in (("line", line, torch.stack([a, b])), ("detour", detour, string)):
            under = top < proof.bound * (1 - room)
            if under or (what == "line" and (GROUP * int(name) + i) % CERTIFIED == 0):
                upper = certified(net, path)
                tally.counts["certified"] += upper < math.inf
                if upper < proof.bound:
                    tally.counts["contradictions"] += 1
                elif under:
                    tally.counts["suspects"] += 1
                if upper < proof.bound or under:
                    tally.found.append(
                        f"{name}/{i} {kind} {form}: {what} {top!r}, at most {upper!r}, bound {proof.bound!r}"
                    )
        if (GROUP * int(name) + i) % CONNECTED == 0:
            try_connect(tally, f"{name}/{i} {kind} {form}", net, a, b, proof.bound)


def try_connect(tally: Tally, name: str, net: Net, a: Tensor, b: Tensor, bound: float) -> None:
    """The whole command, at a threshold under the bound."""
    ends_ = [end.to(net.problem.dtype) for end in (a, b)]
    threshold = max(0.5 * bound, float(net.problem.measure(torch.stack(ends_))["loss"].max()))
    if threshold >= bound:
        return
    result = ws.connect(net.problem, *ends_, threshold, stop=ws.MaxSteps(200), progress=False)
    tally.counts["connect: asked"] += 1
    tally.counts["connect: disconnected"] += isinstance(result.outcome, ws.Disconnected)
    if result.connected:
        tally.counts["suspects"] += 1
        tally.found.append(f"{name}: connected at {threshold!r} under the bound {bound!r}")


def try_linear(draw: Draw, tally: Tally, name: str, form: str) -> None:
    """One group of deep linear networks of equal widths: Γ beside the path that should attain it, and lower ranks."""
    m, layers = draw.whole(1, 3), draw.whole(2, 3)
    widths = [m + draw.whole(0, 1), *[m] * (layers - 1), m]
    x, y, _ = data(draw, form if form not in ("small", "large") else "line", draw.whole(m, m + 4), widths[0], m)
    X, Y = x.T, y.T
    loss = SquaredLoss(X, Y)
    scale = float(Y.square().sum()) / X.shape[1]
    for i in range(GROUP):
        tally.counts["linear: instances"] += 1
        A, B = (tuple(draw.normal(high, low) for low, high in pairwise(widths)) for _ in range(2))
        if i % 2:  # a good model, and its mirror image
            target = Y @ torch.linalg.pinv(X, rtol=1e-8)
            tail = product(A[1:])
            A = (torch.linalg.solve(tail, target), *A[1:])
            flip = torch.eye(m, dtype=torch.float64)
            flip[0, 0] = -1
            B = (*(w for w in A[:-2]), flip @ A[-2], A[-1] @ flip)
        try:
            found = barrier(A, B, X, Y)
        except WeightstringError:
            tally.counts["linear: refused"] += 1
            continue
        if found.same_component:
            continue
        met = math.inf
        # The best of lower rank, by alternating fits. In an orthonormal basis of X's rows: PX = (PUS)V, and factors
        # that must be as large as 1/S would round to a product of higher rank.
        values, basis = torch.linalg.svd(X, full_matrices=False)[1:]
        basis = basis[values > 1e-8 * values[0]]
        for _ in range(8):
            right = draw.normal(max(m - 1, 1), len(basis)) * (m > 1)
            for _ in range(30):
                left = torch.linalg.lstsq((right @ basis).T, Y.T, driver="gelsd").solution.T
                right = torch.linalg.pinv(left) @ Y @ basis.T
            fit = left @ right @ basis if m > 1 else torch.zeros_like(Y)
            met = min(met, float((fit - Y).square().sum()) / X.shape[1])
        path = through_barrier(A, B, X, Y)
        top = max(loss(product(unflatten(path.at(s / 128), widths))) for s in range(129))
        assert torch.equal(path.at(0.0), flatten(A))
        tally.met("linear", min(met, top), found.gamma, least=1e-12 * scale)
        if min(met, top) < found.gamma - 1e-7 * scale:
            tally.counts["contradictions"] += 1
            tally.found.append(f"{name}/{i} linear {form}: {met!r}, path {top!r}, Γ said to be {found.gamma!r}")


def blocks(seed: int, instances: int, done: int) -> Iterator[dict[str, object]]:
    """What each block of instances came to, from the first that is not done."""
    for block in range(done, instances // (GROUP * BLOCK)):
        tally, started = Tally(), time.process_time()
        for group in range(block * BLOCK, (block + 1) * BLOCK):
            draw = Draw(seed, group)
            kind, form = KINDS[draw.whole(0, len(KINDS) - 1)], DATA[draw.whole(0, len(DATA) - 1)]
            if kind == "linear":
                try_linear(draw, tally, str(group), form)
            else:
                try_net(draw, tally, str(group), kind, form)
        yield {
            "seed": seed,
            "block": block,
            "instances": GROUP * BLOCK,
            "counts": dict(sorted(tally.counts.items())),
            "closest": tally.closest,
            "found": tally.found,
            "cpu seconds": round(time.process_time() - started, 1),
        }


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    """All blocks in one."""
    counts: Counter[str] = Counter()
    closest: dict[str, float] = {}
    for row in rows:
        counts.update(row["counts"])  # type: ignore[call-overload]
        for kind, share in row["closest"].items():  # type: ignore[attr-defined]
            closest[kind] = min(closest.get(kind, math.inf), share)
    return {
        "instances": sum(int(row["instances"]) for row in rows),  # type: ignore[call-overload]
        "proved": sum(count for name, count in counts.items() if name.endswith(": proved")),
        "contradictions": counts["contradictions"],
        "suspects": counts["suspects"],
        "counts": dict(sorted(counts.items())),
        "least height over bound": closest,
        "cpu seconds": round(sum(float(row["cpu seconds"]) for row in rows)),  # type: ignore[arg-type]
    }


def main() -> None:
    """Go on with the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=10_000, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON lines, one for each block of instances")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    if any(row["seed"] != given.seed for row in rows):
        raise SystemExit(f"{given.out} holds another seed's results: give another --out")
    for row in blocks(given.seed, given.instances, len(rows)):
        rows.append(row)
        with given.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for line in row["found"]:  # type: ignore[attr-defined]
            print(line, flush=True)
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
