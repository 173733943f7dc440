"""Random numbers for experiments/soundness_certificates.py, of ordinary and of extreme scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from soundness_networks import Case
from torch import Tensor

from weightstring.proof.enclose.intervals import Intervals

EXAMPLES, INTERVALS = 9, 12

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def scales(how: str, shape: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """What random numbers are multiplied by."""
    if how == "ordinary":
        return np.ones(shape)
    if how == "one":
        return np.full(shape, 10 ** generator.uniform(-150, 150))
    if how == "tiny":
        return np.full(shape, 10 ** generator.uniform(-170, -70))
    if how == "subnormal":
        return 10 ** generator.uniform(-323, -290, shape)
    if how == "mixed":
        return 10 ** generator.uniform(-150, 150, shape)
    if how == "rows":
        return np.broadcast_to(10 ** generator.uniform(-150, 150, (*shape[:-1], 1)), shape)
    if how == "blocks":  # runs of entries, such as layers
        lengths = np.cumsum(generator.random(shape[-1]) < 0.15)
        return np.broadcast_to((10 ** generator.uniform(-150, 150, lengths[-1] + 1))[lengths], shape)
    assert how == "near one", how
    return 10 ** generator.uniform(-6, 6, shape)


HOW = ("ordinary", "one", "tiny", "subnormal", "mixed", "blocks", "near one")


def numbers(how: str, shape: Sequence[int], dtype: str, generator: np.random.Generator) -> Tensor:
    """Random numbers of a dtype, some of them 0 or powers of two, as float64."""
    found = generator.standard_normal(shape) * scales(how, shape, generator)
    odd = generator.random(shape)
    with np.errstate(divide="ignore"):
        powers = np.sign(found) * np.exp2(np.round(np.log2(np.abs(found))))
    found = np.where(odd < 0.1, 0.0, np.where(odd < 0.25, np.nan_to_num(powers), found))
    limit = torch.finfo(DTYPES[dtype]).max
    return torch.tensor(np.clip(found, -limit, limit)).to(DTYPES[dtype]).double()


class Draw(NamedTuple):
    """What is drawn: two models, inputs, of which some are to train with, targets, intervals."""

    beads: Tensor
    inputs: Tensor
    training: Tensor
    targets: Tensor
    intervals: Intervals


def estimates(case: Case) -> bool:
    """Whether running statistics are functions of θ."""
    return any(layer.kind == "batch norm" for layer in case.layers)


def drawn(case: Case, size: int, kind: str, generator: np.random.Generator) -> tuple[Draw, dict[str, str]]:
    """A draw and how it was made."""
    dtype = str(generator.choice(list(DTYPES)))
    how, of_data = (str(generator.choice(HOW)) for _ in range(2))
    beads = numbers(how, (2, size), dtype, generator)
    if generator.random() < 0.2:  # a short segment, of near ties
        beads[1] = (beads[0] * (1 + torch.tensor(generator.standard_normal(size)) * 1e-9)).to(DTYPES[dtype]).double()
    inputs = numbers(of_data, (EXAMPLES, *case.inputs), dtype, generator)
    outputs = next(layer.numbers[1] for layer in reversed(case.layers) if layer.kind == "linear")
    if kind == "tokens":
        targets = torch.tensor(generator.integers(outputs, size=(EXAMPLES, case.inputs[0])))
        targets[0, 0] = 1  # or all may be ignored
    elif kind == "classes":
        targets = torch.tensor(generator.integers(outputs, size=EXAMPLES))
    elif kind == "shares":
        targets = torch.tensor(generator.choice([0.0, 1.0, 0.3], (EXAMPLES, outputs)))
    else:
        targets = numbers(str(generator.choice(HOW)), (EXAMPLES, outputs), dtype, generator)
    width = 0.5 ** generator.integers(0, 12, INTERVALS).astype(float)
    low = np.floor(generator.random(INTERVALS) / width) * width
    intervals = Intervals(torch.zeros(INTERVALS, dtype=torch.int64), torch.tensor(low), torch.tensor(low + width))
    training = numbers(of_data, (EXAMPLES, *case.inputs), dtype, generator) if estimates(case) else inputs
    return Draw(beads, inputs, training, targets, intervals), {"dtype": dtype, "models": how, "data": of_data}
