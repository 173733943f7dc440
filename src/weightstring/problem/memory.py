"""What fits into memory, and what to do where it does not."""

from __future__ import annotations

import os

import torch

SHARE = 0.5
"""Share of a machine's memory that outputs kept for one measurement may take."""


class DoesNotFit(MemoryError):
    """An allocation that failed, or was not tried, with what helps."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a CPU or a GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def most_bytes(device: torch.device) -> int:
    """Bytes that outputs kept for one measurement may take: half of the device's memory, whatever is in use now.

    >>> most_bytes(torch.device("cpu")) > 0
    True
    """
    if device.type == "cuda":
        return int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
