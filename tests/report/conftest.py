"""Records of synthetic runs, computed from their definitions, for the tests of the report."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
import torch

from weightstring.path import Connected, Evidence, Outcome, Unresolved
from weightstring.store.records import (
    CurveRecord,
    Manifest,
    Parameter,
    ResultRecord,
    RoundRecord,
    SegmentRecord,
    StringRecord,
    TaskRef,
)

Loss = Callable[[torch.Tensor], float]
Run = tuple[Manifest, ResultRecord, torch.Tensor]


def valley(theta: torch.Tensor) -> float:
    """A curved valley: low on the parabola y = 1 − x², high on the straight line between (−1, 0) and (1, 0)."""
    x, y = float(theta[0]), float(theta[1])
    return 0.031 + 0.02 * (1 + math.sin(5 * x)) / 2 + 0.9 * (y - 1 + x * x) ** 2 + 0.01 * float((theta[2:] ** 2).sum())


def arch(count: int, size: int = 23) -> torch.Tensor:
    """Unevenly spaced beads on the valley's floor, off the origin in the remaining coordinates."""
    x = torch.sin(torch.linspace(-1, 1, count, dtype=torch.float64) * math.pi / 2)
    rest = 0.1 * torch.randn(count, size - 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return torch.cat([torch.stack([x, 1 - x * x], dim=1), rest], dim=1)


def sampled_string(beads: torch.Tensor, loss: Loss, *, train: bool, per_segment: int = 17) -> StringRecord:
    """A string's record from its definition, one point at a time."""
    lengths = (beads[1:] - beads[:-1]).norm(dim=1).tolist()
    length, distance = math.fsum(lengths), float((beads[-1] - beads[0]).norm())
    points = [(0, 0.0)]
    points += [(k, (j + 1) / per_segment) for k in range(len(lengths)) for j in range(per_segment)]
    evaluated = [loss(torch.lerp(beads[k], beads[k + 1], t)) for k, t in points]
    finite: tuple[float | None, ...] = tuple(value if math.isfinite(value) else None for value in evaluated)
    s = [(sum(lengths[:k]) + t * lengths[k]) / length if length else t for k, t in points]
    values = {"loss": finite, "error": tuple(None if value is None else round(value, 2) for value in finite)}
    if train:
        values |= {f"train_{name}": tuple(v and 0.8 * v for v in column) for name, column in values.items()}
    largest = None if None in finite else max(evaluated)
    ends = (evaluated[0], evaluated[-1])
    over = {"max": 0.0, "over_ends": max(ends), "over_mean": sum(ends) / 2}
    line = [value - ((1 - where) * ends[0] + where * ends[1]) for value, where in zip(evaluated, s, strict=True)]
    segments = []
    for k, one in enumerate(lengths):
        own = [(finite[row], points[row][1]) for row in range(k * per_segment, (k + 1) * per_segment + 1)]
        value, t = max(((math.inf if v is None else v), t) for v, t in own)
        segments.append(SegmentRecord(length=one, max=value if math.isfinite(value) else None, t=t))
    return StringRecord(
        beads=len(beads),
        beads_before_pruning=len(beads) + 4,
        length=length,
        distance=distance,
        normalized_length=length / distance if distance else 1.0,
        max_loss=largest,
        barriers={name: None if largest is None else largest - base for name, base in over.items()}
        | {"over_linear": None if largest is None else max(line)},
        segments=tuple(segments),
        curve=CurveRecord(
            s=tuple(s), segment=tuple(k for k, _ in points), t=tuple(t for _, t in points), values=values
        ),
    )


def run(
    beads: torch.Tensor | int,
    loss: Loss = valley,
    *,
    threshold: float = 0.0625,
    outcome: Outcome | None = None,
    train: bool = True,
    name: str | None = "digits",
    bind: str = "evaluate",
) -> Run:
    """A run's records with every number consistent, over the given beads or so many on the valley's floor."""
    beads = arch(beads) if isinstance(beads, int) else beads
    string = sampled_string(beads, loss, train=train)
    columns = string.curve.values
    ends = ({key: v[0] for key, v in columns.items()}, {key: v[-1] for key, v in columns.items()})
    rounds = tuple(
        RoundRecord(
            depth=depth, descents=2**depth, measured=2 ** (depth + 1), open=max(0, 2**depth - depth**2),
            beads=3 + depth, steps=1240 * depth, evaluations=34 * 2**depth,
            max=None if depth == 0 else 0.9 / 2**depth, seconds=0.21,
        )
        for depth in range(6)
    )  # fmt: skip
    result = ResultRecord(
        outcome=outcome or Connected(),
        threshold=threshold,
        bind=bind,
        names={"evaluate": ("loss",), "train": ("train_loss",), "both": ("loss", "train_loss")}.get(bind, (bind,)),
        evidence="sampled",
        evaluation="evaluate" if train else "train",
        ends=ends,
        string=string,
        rounds=rounds,
        steps=18_600,
        evaluations=4321,
        seconds=1.26,
    )
    first, last = columns["loss"][0], columns["loss"][-1]
    manifest = Manifest(
        format=1,
        versions={"weightstring": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        task=TaskRef(name=name, options={"width": "32"}) if name is not None else None,
        problem="5f0c" * 16,
        ends=("ab" * 32, "cd" * 32),
        end_losses=(first or 0.0, last or 0.0),
        threshold=threshold,
        bind=bind,
        seed=7,
        strategy={"name": "greedy", "alpha": 0.95, "max_depth": 10, "retries": [1, 2]},
        engine="vmap",
        threads=2,
        size=beads.shape[1],
        dtype="float64",
        parameters=()
        if name is None
        else (
            Parameter(name="0.weight", shape=(4, 5), offset=0, aliases=("2.weight",)),
            Parameter(name="0.bias", shape=(3,), offset=20),
        ),
    )
    return manifest, result, beads


STUCK = Unresolved(
    reason="depth",
    evidence=Evidence(
        segment=(0, 1), end_losses=(0.03125, 0.046875), max_per_depth=(0.9375, 0.75, None), open_per_depth=(1, 2, 1),
        retries=3, lowest_loss=0.078125,
    ),
)  # fmt: skip


def spike(theta: torch.Tensor) -> float:
    return math.inf if abs(float(theta[0])) < 0.05 else valley(theta)


def double_well(theta: torch.Tensor) -> float:
    return float((theta[0] ** 2 - 1) ** 2)


def bowl(theta: torch.Tensor) -> float:
    return 0.01 + 0.02 * float((theta**2).sum())


RUNS: dict[str, Run] = {
    "connected": run(arch(9)),
    "long": run(arch(64), threshold=0.0501),
    "unresolved": run(arch(3), outcome=STUCK),
    "null": run(arch(7), spike, outcome=msgspec.structs.replace(STUCK, reason="descent_failed")),
    "linear": run(torch.tensor([[0.5, 0.25, 1.0], [0.625, -0.5, 0.75]]), bowl, train=False),
    "identical": run(torch.full((2, 5), 0.3, dtype=torch.float32), bowl),
    "surface": run(torch.tensor([[-1.0], [0.2], [1.0]]).double(), double_well, outcome=STUCK, train=False, name=None),
}


@pytest.fixture(scope="session")
def runs() -> dict[str, Run]:
    """Runs of every kind, by name."""
    return RUNS


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """The function that builds a run; see its arguments above."""
    return run
