"""What EXPERIMENTS.md says of the weights that networks begin with: the cause of most of what differs in lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tables import interval, plain, read, table

FIRST_WEIGHTS = """## Why first weights tell

Length is normalized by the distance of the ends, and most of that is the distance of the random networks they began
as. PyTorch draws the widest layer of MNIST's network, of 3,136 inputs, with a deviation of .01. Where layers are
drawn as in the authors' scripts, with .1 (MNIST) or .04 (most of CIFAR-10's), the ends lie far apart, detours of the
same order count little, and the normalized length comes most of the way to the paper's. *Detour*: length less
distance, of the means.
"""
DRAWN = {
    "MNIST, 2,000 test images": ("mnist", {"0": "mnist_0_2000", "0.1": "mnist_0.1_2000"}),
    "MNIST, all test images": ("mnist", {"0": "mnist_0_10000", "0.1": "mnist_0.1_10000"}),
    "CIFAR-10, 2,000 test images": ("cifar10", {"0": "cifar10_0_2000", "0.04": "cifar10_0.04_2000"}),
}
"""Results by the deviation of first weights; 0: as PyTorch draws them."""
HEADINGS = ("task", "test error", "first weights", "paper: length", "length", "distance of the ends", "detour", "pairs")
Row = Mapping[str, Any]


def section(paper: Mapping[str, Mapping[float, tuple[float, float]]]) -> str:
    """Thresholds that are measured from both kinds of first weights, side by side."""
    rows: list[tuple[object, ...]] = []
    for task, (panel, names) in DRAWN.items():
        found = {drawn: _by_level(name) for drawn, name in names.items()}
        both = set.intersection(*(set(own) for own in found.values()))
        for level in sorted(both, reverse=True):
            length, _ = paper[panel].get(level, (None, None))
            rows += [
                (task, f"{level:g}", "PyTorch's" if drawn == "0" else drawn, plain(length), *_measured(own[level]))
                for drawn, own in found.items()
            ]
    return "\n".join([FIRST_WEIGHTS, table(HEADINGS, rows)])


def _by_level(name: str) -> dict[float, Row]:
    """Summaries of a result in which pairs are connected, by threshold."""
    result = read(name)
    rows = [] if result is None else result["summary"]
    return {own["threshold"]: own for own in rows if own["distance"][0] is not None}


def _measured(own: Row) -> tuple[object, ...]:
    length, distance = own["means"]["normalized_length"], own["distance"]
    pairs = round(own["connected"][0] * own["pairs"])
    return (
        interval(length, 3, pairs),
        interval(distance, 1, pairs),
        f"{(length[0] - 1) * distance[0]:.1f}",
        own["pairs"],
    )
