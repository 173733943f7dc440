"""Examples that stay in the CPU's memory, where that of a GPU has no room for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weightstring.arrays import BLOCK_BYTES
from weightstring.memory import free_bytes
from weightstring.problem.datasets.data import Examples
from weightstring.problem.datasets.facts import Survey
from weightstring.problem.datasets.stored import Rows, Stored
from weightstring.problem.precision import Dtypes

CPU = torch.device("cpu")

SHARE = 0.5
"""Share of a GPU's free memory that one data set may take; the rest is for models, gradients and activations."""


@dataclass(frozen=True, eq=False)
class HostRows(Rows):
    """Rows of examples on the CPU, sent when they are needed."""

    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def read(self, rows: slice | Tensor, dtypes: Dtypes) -> Examples:
        """Some of the examples."""
        return self.examples.take(rows).to(CPU, *dtypes)

    def targets(self, rows: slice | Tensor, dtypes: Dtypes) -> Tensor:
        """Their targets."""
        return self.read(rows, dtypes).targets

    def only(self, place: slice) -> HostRows:
        """Those in a slice, copied."""
        return HostRows(self.examples.only(place))


def placed(examples: Examples, name: str, dtypes: Dtypes, device: torch.device) -> Examples | Stored:
    """Examples on a device, or on the CPU for a device that has no room for them; the numbers are the same.

    Args:
        examples: on the CPU or already there.
        name: of the set.
        dtypes: of its floating numbers.
        device: where they are computed with.
    """
    if fits(examples.nbytes, device):
        return examples.to(device, *dtypes)
    return hosted(examples, name, dtypes, device)


def fits(needed: int, device: torch.device) -> bool:
    """Whether a device has room for so many bytes of data."""
    return device.type == "cpu" or needed <= SHARE * free_bytes(device)


def hosted(examples: Examples, name: str, dtypes: Dtypes, device: torch.device) -> Stored:
    """Examples on the CPU, as a set that sends what is taken from it."""
    rows = HostRows(examples.to(CPU, *dtypes))
    survey = Survey(len(examples), name)
    for part in rows.examples.chunks(max(1, BLOCK_BYTES * len(examples) // max(1, examples.nbytes))):
        survey.see(part)
    return Stored(rows, survey.facts(), device, dtypes)
