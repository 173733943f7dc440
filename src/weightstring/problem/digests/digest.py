"""Content digests that are the same in every process: no memory addresses, no ``hash()``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import torch
from torch import Tensor

from weightstring.arrays import in_blocks


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and values.

    >>> tensor_digest(torch.zeros(2, 3)) == tensor_digest(torch.zeros(3, 2))
    False
    """
    found = sha256(head_of(tensor.dtype, tensor.shape))
    for part in bytes_in_order(tensor):
        found.update(part.numpy().data)
    return found.hexdigest()


def head_of(dtype: torch.dtype, shape: Sequence[int]) -> bytes:
    """What a tensor's digest begins with."""
    return f"{dtype} {tuple(shape)} ".encode()


def bytes_in_order(tensor: Tensor) -> Iterator[Tensor]:
    """The values' bytes, row by row; numpy has no bfloat16, so they are read as plain bytes.

    What lies in order on the CPU is not copied, anything else a block at a time.
    """
    tensor = tensor.detach()
    if (tensor.is_contiguous() and tensor.device.type == "cpu") or not tensor.ndim:
        yield tensor.cpu().reshape(-1).view(torch.uint8)
        return
    for block in in_blocks(tensor):
        yield block.cpu().contiguous().reshape(-1).view(torch.uint8)


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values' bytes, row by row."""
    return b"".join(part.numpy().tobytes() for part in bytes_in_order(tensor))


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


DECLARED = "declared "
"""What the digest of data begins with that were not read: that of a text by which the user vouches for them."""


def declared_digest(*parts: str) -> str:
    """The digest of texts that stand for data.

    >>> declared_digest("version 1")[:20]
    'declared 86ef519df92'
    """
    return DECLARED + text_digest(*parts)


def without_addresses(text: str) -> str:
    """Drop what differs from process to process: ``at 0x7f…`` in a repr."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
