"""Outputs to try a criterion on: the net's own, and noise in their domain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from weightstring.problem.datasets.data import DataSet
from weightstring.problem.inspection.passes import PASSES, Seen
from weightstring.problem.outputs import leaves_of, rebuilt, tensors_of
from weightstring.randomness import generator

NOISES = 3
"""Outputs made of noise for the probe; one more has as many examples as the set."""

MANY = 10**5
"""Numbers in an output from which on one lot of noise is tried."""

TRIED_BYTES = 2**25
"""What outputs made of noise may take; of a set with larger ones, fewer examples are tried."""

CLEAR = 100.0
"""How many times the rounding two parts have to differ in the net's own passes, of which there are few."""


class Trial(NamedTuple):
    """Outputs and targets, whole and in parts, and by how many units of rounding parts must differ to count."""

    whole: tuple[object, Tensor]
    parts: list[tuple[object, Tensor]]
    clear: float = 1.0


def trials(seen: Seen, examples: DataSet) -> Iterator[Trial]:
    """The net's own outputs on the probe, then noise, then noise for the whole set."""
    if seen.elsewhere is not None and not seen.separate:
        for passes in (seen, seen.elsewhere):
            parts = [(output, part.targets) for part, output in passes.parts]
            yield Trial((passes.output, passes.probe.targets), parts, math.inf if passes is seen else CLEAR)
        return
    targets = examples.targets_of(examples.spread(len(seen.probe)))
    yield _cut(_taken(seen.output, slice(0, len(targets)), seen.rows), targets, seen.rows)
    most, numbers = TRIED_BYTES // max(1, 8 * _numbers(seen)), _numbers(seen) * len(targets)
    # A hundred thousand numbers tell as much as three times as many, and take as long as a pass of the net.
    for seed in range(NOISES if numbers <= MANY else 1):
        yield _cut(noise_like(seen, len(targets), seed), targets, seen.rows)
    if numbers <= MANY or min(most, len(examples)) > len(targets):
        targets = examples.targets_of(examples.spread(max(len(seen.probe), most)))
        yield _cut(noise_like(seen, len(targets), NOISES), targets, seen.rows)


def _numbers(seen: Seen) -> int:
    return sum(leaf.numel() for leaf in tensors_of(seen.output)) // len(seen.probe)


def _cut(output: object, targets: Tensor, rows: Sequence[int]) -> Trial:
    cut = max(1, len(targets) // 3)
    places = [slice(0, cut), slice(cut, len(targets))] if len(targets) > 1 else [slice(0, 1)]
    return Trial((output, targets), [(_taken(output, place, rows), targets[place]) for place in places])


def _taken(output: object, place: slice, rows: Sequence[int]) -> object:
    """The output for some of the examples."""
    taken = [
        leaf[place.start * count : place.stop * count] if count and isinstance(leaf, Tensor) else leaf
        for leaf, count in zip(leaves_of(output), rows, strict=True)
    ]
    return rebuilt(output, taken)


def noise_like(seen: Seen, examples: int, seed: int) -> object:
    """A random output for so many examples, in the domain of the net's own."""
    draw = generator(seed, "outputs made of noise")
    order = torch.randint(len(seen.probe), (examples,), generator=draw, device="cpu")
    leaves = leaves_of(seen.output)

    def drawn(leaf: object, count: int) -> object:
        if not isinstance(leaf, Tensor) or not count:
            return leaf
        rows = leaf.reshape(-1, count, *leaf.shape[1:])[order.to(leaf.device)].flatten(0, 1)
        return perturbed(rows, draw) if rows.is_floating_point() else rows

    return rebuilt(seen.output, [drawn(leaf, count) for leaf, count in zip(leaves, seen.rows, strict=True)])


def perturbed(output: Tensor, draw: torch.Generator) -> Tensor:
    """Noise in place of an output, in the same domain: distributions, their logarithms, [0, 1], positive numbers.

    >>> found = perturbed(torch.full((2, 4), 0.25), torch.Generator().manual_seed(0))
    >>> found.sum(1), bool((found > 0).all())
    (tensor([1., 1.]), True)
    """
    noise = torch.randn(output.shape, generator=draw, dtype=torch.float32, device="cpu").to(
        output.device, torch.float64
    )
    original = output.detach().double()
    finite = original.isfinite()
    if not bool(finite.any()):
        return output
    low, high = float(original[finite].min()), float(original[finite].max())
    scale = max(1.0, float((original[finite] - original[finite].mean()).square().mean().sqrt()))
    made = original + scale * (noise + 0.3)
    if low >= 0:
        made = noise.sigmoid() if high <= 1 else (original + 0.1 * scale) * noise.exp()
    elif high <= 0:
        made = original * noise.exp()
    for axis in (1, -1) if original.ndim > 1 and bool(finite.all()) else ():
        if low >= 0 and bool(((original.sum(axis) - 1).abs() < PASSES).all()):
            made = (3 * noise).softmax(axis)
        elif high <= PASSES and bool((original.logsumexp(axis).abs() < PASSES).all()):
            made = (3 * noise).log_softmax(axis)
    return torch.where(finite, made, original).to(output.dtype)  # −∞ is a mask
