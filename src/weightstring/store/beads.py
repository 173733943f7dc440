"""Bead files: models side by side, written row by row, and large ones read without being held in memory.

A file is what ``safetensors.torch.save({"thetas": thetas})`` makes of them, byte for byte: the length of
a header (8 bytes, little-endian), the header in JSON, padded with spaces to a multiple of 8, and the
numbers (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.store.files import one_line, replacing
from weightstring.store.members import require_regular

NAME = "thetas"

SMALL = 2**22
"""Bytes up to which a file is read whole: mapping it saves little, and what happens to it later cannot harm."""

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_beads(path: Path, thetas: Sequence[Theta] | Thetas) -> str:
    """Write models of one size and dtype; no more than one of them is copied at a time.

    Returns:
        SHA-256 of the file.

    Raises:
        OSError: it cannot be written.
    """
    header = _header(thetas[0], len(thetas))
    sha256 = hashlib.sha256(header)
    with replacing(path) as file:
        file.write(header)
        for theta in thetas:
            numbers = _numbers(theta)
            sha256.update(numbers)
            file.write(numbers)
    return sha256.hexdigest()


def read_beads(path: Path, sha256: str | None = None) -> Thetas:
    """The models of a bead file (k, P); those of a large one mapped: the disk's until touched, copied where written to.

    Args:
        path: the file.
        sha256: what its digest must be; None where what it holds is checked otherwise.

    Raises:
        InvalidRun: the file is missing, damaged, of another kind, or was changed.
    """
    content = None
    try:
        require_regular(path)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= SMALL:
                content = file.read()
            found = sha256
            if sha256 is not None:
                found = (
                    hashlib.file_digest(file, "sha256") if content is None else hashlib.sha256(content)
                ).hexdigest()
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be read: {problem.strerror}") from None
    if found != sha256:
        raise InvalidRun(f"{path}: its SHA-256 is not the one written down for it; the file was changed or damaged")
    return map_beads(path) if content is None else _parsed(path, lambda: load(content)[NAME].clone())


def map_beads(path: Path) -> Thetas:
    """The models of a bead file (k, P) that was checked or written just now, mapped.

    Raises:
        InvalidRun: it is not a bead file.
    """

    def mapped() -> Tensor:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_tensor(NAME)
            return found

    return _parsed(path, mapped)


def _parsed(path: Path, read: Callable[[], Tensor]) -> Thetas:
    try:
        thetas = read()
    except Exception as problem:  # A parser of bytes that anyone may have changed fails in ways of its own.
        raise InvalidRun(f"{path}: damaged, or not a bead file: {one_line(problem)}") from None
    if thetas.ndim != 2 or thetas.dtype not in DTYPES:
        raise InvalidRun(f"{path}: not a bead file: its {NAME} are {thetas.dtype} of shape {tuple(thetas.shape)}")
    return thetas


def digest(theta: Theta) -> str:
    """SHA-256 of a θ's bytes.

    >>> digest(torch.zeros(2))[:8]
    'af5570f5'
    """
    return hashlib.sha256(_numbers(theta)).hexdigest()


def _header(theta: Theta, count: int) -> bytes:
    size = theta.numel()
    end = count * size * theta.element_size()
    about = {"dtype": DTYPES[theta.dtype], "shape": [count, size], "data_offsets": [0, end]}
    text = msgspec.json.encode({NAME: about})
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _numbers(theta: Theta) -> memoryview:
    """The bytes of a θ, without a copy where it lies in memory in one piece."""
    return theta.detach().cpu().contiguous().view(torch.uint8).numpy().data
