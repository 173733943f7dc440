"""Devices other than the CPU: what is sent there, and what waits for them."""

from __future__ import annotations

import torch
from torch import Tensor


def on_cpu(tensor: Tensor) -> bool:
    """Whether a tensor lies on the CPU, where threads are counted and small calls cost little.

    >>> on_cpu(torch.ones(1))
    True
    """
    return tensor.device.type == "cpu"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device; a GPU fetches it from pinned memory, while the CPU goes on.

    >>> sent(torch.ones(1), torch.device("cpu"))
    tensor([1.])
    """
    if tensor.device == device or (tensor.device.type == device.type == "cpu"):
        return tensor
    if device.type == "cuda" and on_cpu(tensor):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def wait_for(device: torch.device) -> None:
    """Wait until a device has computed what it was given: a clock is read after that."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu" and hasattr(module := torch.get_device_module(device), "synchronize"):
        module.synchronize()
