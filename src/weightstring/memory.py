"""What fits into memory, and what to do where it does not."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from weightstring.errors import WeightstringError

SHARE = 0.5
"""Share of a machine's memory that outputs kept for one measurement may take."""
CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")
PAGES = Path("/proc/self/statm")


ASKED = re.compile(r"allocate (\d+) bytes")
"""What an allocator says that failed."""


class Activations(NamedTuple):
    """Bytes that one call keeps beside its models: of a measurement, and of the gradient of one model's minibatch."""

    measuring: int
    descending: int


class DoesNotFit(WeightstringError, MemoryError):
    """An allocation that failed, or was not tried, with what helps."""


def tell_lack(error: BaseException, what: str) -> None:
    """Tell in one line what there was no memory for, where that is what an error says and nobody has told it yet.

    Raises:
        DoesNotFit: that.

    >>> tell_lack(ValueError(), "align")
    >>> tell_lack(RuntimeError("DefaultCPUAllocator: you tried to allocate 8000000000 bytes."), "align")
    Traceback (most recent call last):
    weightstring.memory.DoesNotFit: align does not fit into memory (8.0 GB more were asked for): ...
    """
    if isinstance(error, WeightstringError) or not is_out_of_memory(error):
        return
    wanted = ASKED.search(str(error))
    more = f" ({gigabytes(int(wanted[1]))} more were asked for)" if wanted else ""
    raise DoesNotFit(
        f"{what} does not fit into memory{more}: pass the problem a smaller chunk= or batch_size=, free memory, or use "
        "a larger machine"
    ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a CPU or a GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def most_bytes(device: torch.device) -> int:
    """Bytes that outputs kept for one measurement may take: half of the device's memory, whatever is in use now.

    >>> most_bytes(torch.device("cpu")) > 0
    True
    """
    return int(SHARE * machine_bytes(device))


def machine_bytes(device: torch.device) -> int:
    """All memory of the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses now, what torch keeps for later included; of what is neither CPU nor CUDA, all."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    return max(0, allowed_bytes(device) - bytes_in_use(device))


def allowed_bytes(device: torch.device) -> int:
    """Memory that this process may use: the device's, or less where a control group or ``ulimit -v`` says so."""
    allowed = machine_bytes(device)
    if device.type == "cpu":
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        with suppress(OSError, ValueError):  # no such file, or "max"
            allowed = min(allowed, int(CONTROL_GROUP.read_text()))
        allowed = allowed if limit == resource.RLIM_INFINITY else min(allowed, limit)
    return allowed


def bytes_in_use(device: torch.device) -> int:
    """Memory that this process uses now."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    with suppress(OSError):
        return int(PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # no Linux: the most it has ever used


def most_in_use(device: torch.device) -> int:
    """The most memory that this process has used so far; on a GPU that of its tensors there.

    >>> most_in_use(torch.device("cpu")) >= bytes_in_use(torch.device("cpu")) // 2
    True
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gigabytes(count: float) -> str:
    """A number of bytes, in words.

    >>> gigabytes(1_500_000_000), gigabytes(20_000_000), gigabytes(1234)
    ('1.5 GB', '20 MB', '1 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{math.ceil(count / 1e6)} MB"
