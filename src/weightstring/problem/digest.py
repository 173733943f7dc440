"""Content digests that are the same in every process: no memory addresses, no ``hash()``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

import torch
from torch import Tensor


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and values.

    >>> tensor_digest(torch.zeros(2, 3)) == tensor_digest(torch.zeros(3, 2))
    False
    """
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return sha256(head + tensor_bytes(tensor)).hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values' bytes, row by row; numpy has no bfloat16, so they are read as plain bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors, whatever their order."""
    lines = [f"{name} {tensor_digest(tensor)}" for name, tensor in sorted(tensors.items())]
    return text_digest(*lines)


def text_digest(*parts: str) -> str:
    """SHA-256 of texts; where one ends and the next begins matters.

    >>> text_digest("ab", "c") == text_digest("a", "bc")
    False
    """
    return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def without_addresses(text: str) -> str:
    """Drop what differs from process to process: ``at 0x7f…`` in a repr."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
