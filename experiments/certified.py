"""Strings between networks of today that are proved: transformers, LSTMs, ResNets, and what a proof costs.

    python experiments/certified.py --data DIR --store runs/certified     # text/tinyshakespeare.txt and CIFAR-10
    python experiments/certified.py --data DIR --store runs/certified --only "GPT, 1 block, fine-tunes"

Each pair is trained, connected with ``certify=True``, and certified and verified once more by itself, beside a grid of
25 points on every segment, the same examples in the same process. A proof that does not reach its threshold in its time
is told as it stands. Pairs, searches and rows are kept as soon as they are known; started again, it goes on. Losses are
of examples that no end was trained on, and the search descends on them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from certified_ends import (
    ESTIMATING,
    IMAGES,
    PHOTOGRAPHS,
    WINDOWS,
    CharGPT,
    CharLSTM,
    Images,
    Source,
    Text,
    ViT,
    encoder,
    nats,
    pair,
    photographs,
)
from harness import keep
from torch import Tensor, nn

import weightstring as ws
from weightstring.tasks.cifar_networks import resnet

MARGINS = {True: 1.01, False: 1.05}
"""The threshold over the higher end's loss, of fine-tunes and of independent ends."""

POINTS = 25
"""Of the grid, on every segment."""


@dataclass(frozen=True)
class Case:
    """A pair of networks.

    Args:
        build: a network, of so many letters.
        of: ``"text"``, ``"hidden"`` letters of it, ``"images"`` or ``"photographs"``.
        tuned: whether the two have a base in common.
        buffers: what running statistics are, where there are any: see :class:`weightstring.ModuleProblem`.
        rate: of AdamW, where a base is trained further.
    """

    build: Callable[[int], nn.Module]
    of: str
    tuned: bool
    buffers: str | None = None
    rate: float = 1e-3


CASES = {
    **{
        f"GPT, {blocks} block{'s' * (blocks > 1)}, {kind}": Case(
            partial(CharGPT, blocks=blocks), "text", kind == "fine-tunes"
        )
        for blocks, kind in [
            (1, "fine-tunes"), (1, "independent"), (2, "fine-tunes"), (2, "independent"), (4, "fine-tunes"),
        ]
    },
    "ViT, 2 blocks, fine-tunes": Case(lambda _: ViT(2), "images", True),
    "ViT, 2 blocks, independent": Case(lambda _: ViT(2), "images", False),
    "LSTM, 2 layers, fine-tunes": Case(CharLSTM, "text", True),
    "LSTM, 2 layers, independent": Case(CharLSTM, "text", False),
    **{
        f"BERT, {layers} layer{'s' * (layers > 1)}, fine-tunes": Case(partial(encoder, layers=layers), "hidden", True)
        for layers in (1, 2, 3, 4)
    },
    **{
        f"ResNet-{6 * blocks + 2}, {how}, fine-tunes": Case(
            lambda _, blocks=blocks: resnet(10, blocks), "photographs", True, buffers, 1e-6  # type: ignore[misc]
        )
        for blocks in (1, 3)
        for how, buffers in (("frozen statistics", "frozen"), ("re-estimated statistics", "recalibrate"))
    },
}  # fmt: skip


def problem_of(case: Case, given: argparse.Namespace, store: Path) -> tuple[ws.ModuleProblem, Tensor, Tensor]:
    """What is measured, and the two ends."""
    draw, steps, letters = torch.Generator().manual_seed(5), 60 if given.quick else given.steps, 0
    parts: tuple[Source, ...]
    if case.of == "images":
        parts = (Images(held=False),) * 3
        held = Images(held=True).drawn(draw, 4 if given.quick else IMAGES)
    elif case.of == "photographs":
        *parts, tested = photographs(given.data)
        held = tested.drawn(draw, 8 if given.quick else PHOTOGRAPHS)
    else:
        content = (given.data / "text" / "tinyshakespeare.txt").read_text()
        known = {letter: index for index, letter in enumerate(sorted(set(content)))}
        tokens, letters = torch.tensor([known[letter] for letter in content]), len(known)
        train, rest = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
        parts = tuple(Text(part, case.of == "hidden", letters) for part in (train, *train.chunk(2)))
        held = Text(rest, case.of == "hidden", letters).drawn(draw, 2 if given.quick else WINDOWS)
    rate = case.rate if case.tuned else None
    nets = pair(lambda: case.build(letters), tuple(parts), steps, rate, store, case.buffers == "frozen")
    data: dict[str, Any] = {"train": _precise(held)}
    if case.buffers == "recalibrate":  # on images that the networks were trained with
        data = {"train": _precise(parts[0].drawn(draw, 8 if given.quick else ESTIMATING)), "evaluate": _precise(held)}
    problem = ws.ModuleProblem(
        nets[0].double().eval(), nats, **data, dtype=torch.float64, buffers=case.buffers, chunk=64
    )
    a, b = (problem.flatten(net.double().state_dict()) for net in nets)
    return problem, a, b


def _precise(held: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    inputs, targets = held
    return inputs.double() if inputs.is_floating_point() else inputs, targets


def row(case: Case, given: argparse.Namespace, store: Path) -> dict[str, Any]:
    """A pair connected, its string proved, and what that costs beside a grid."""
    problem, a, b = problem_of(case, given, store)
    ends = problem.measure(torch.stack([a, b]))["loss"].tolist()
    threshold = float(f"{MARGINS[case.tuned] * max(ends):.6g}")  # the same number whatever computes the ends
    started = time.process_time()
    result = ws.connect(
        problem, a, b, threshold, certify=True, certify_seconds=given.seconds, store=store / "run", progress=False
    )
    searched, string = time.process_time() - started, result.string
    found: dict[str, Any] = {
        "parameters": problem.size,
        "examples": len(problem.observed()),
        "ends": ends,
        "threshold": threshold,
        "seconds at most": given.seconds,
        "outcome": result.outcome.kind,
        "distance": float((a - b).norm()),
        "segments": len(string) - 1,
        "line": float(problem.measure(torch.stack([torch.lerp(a, b, t) for t in _grid(a)]))["loss"].max()),
        "connect and certify, CPU seconds": searched,
    }
    print(found, flush=True)
    thetas = [torch.lerp(x, y, t) for x, y in pairwise(string) for t in _grid(a)]
    problem.measure(torch.stack(thetas[:2]))  # which traces the module, once
    grid, found["grid, CPU seconds"] = _timed(lambda: problem.measure(torch.stack(thetas))["loss"])
    certificate, found["certify, CPU seconds"] = _timed(
        lambda: ws.certify(problem, string, threshold, seconds=given.seconds, explain=True)
    )
    found |= {
        "grid": float(grid.max()),
        "largest sample": certificate.largest_sample,
        "bound": certificate.upper_bound if math.isfinite(certificate.upper_bound) else None,
        "holds": certificate.holds,
        "intervals": certificate.intervals,
        "heights": [_short(height) for height in grid.tolist()],
        "pieces": [[piece.segment, piece.low, piece.high, _short(piece.bound)] for piece in certificate.partition],
        "causes": _causes(certificate),
    }
    print(certificate, flush=True)
    if certificate.holds:
        verified, found["verify, CPU seconds"] = _timed(lambda: ws.verify(problem, string, certificate))
        found["verified"] = verified.ok
        print(verified, flush=True)
    return found


def _short(value: float) -> float | None:
    """For a figure."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _causes(certificate: ws.Certificate) -> list[tuple[str, float]]:
    """The operations that put the highest bound of the loosest segment over the loss, and how much each."""
    loosest = max(certificate.looseness, key=lambda each: each.gap, default=None)
    return [] if loosest is None else [(cause.where, _short(cause.share) or 0.0) for cause in loosest.causes]


def _grid(like: Tensor) -> Tensor:
    return torch.linspace(0, 1, POINTS, dtype=like.dtype)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    found = function()
    return found, time.process_time() - started


def main() -> None:
    """Prove a string for each pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory that holds text/tinyshakespeare.txt")
    parser.add_argument("--store", type=Path, required=True, help="keep ends and runs here, and go on from there")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seconds", type=float, default=900.0, help="for each proof at most (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=800, help="of a training (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a small version, whose results are not kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.only:
        store = given.store / name.replace(", ", "-").replace(" ", "-")
        file = store / "row.json"
        if not file.exists():
            print(name, flush=True)
            found = row(CASES[name], given, store)
            store.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found, indent=1) + "\n")
        if not given.quick:
            rows = {
                each: json.loads(path.read_text())
                for each in CASES
                if (path := given.store / each.replace(", ", "-").replace(" ", "-") / "row.json").exists()
            }
            keep("certified", {"steps": given.steps, "points": POINTS, "rows": rows})


if __name__ == "__main__":
    main()
