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
    try:
        require_regular(path)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= SMALL:
                return parse_beads(path, file.read(), sha256)
            same = sha256 is None or hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError as problem:
        raise InvalidRun(f"{path}: cannot be read: {problem.strerror}") from None
    if not same:
        raise _changed(path)
    return map_beads(path)


def bead_bytes(thetas: Sequence[Theta] | Thetas) -> bytes:
    """The content of the file that :func:`write_beads` would write."""
    return b"".join([_header(thetas[0], len(thetas)), *map(_numbers, thetas)])


def parse_beads(place: object, content: bytes, sha256: str | None = None) -> Thetas:
    """The models (k, P) in the content of a bead file.

    Args:
        place: where it comes from, for messages.
        content: the file's.
        sha256: what its digest must be; None where what it holds is checked otherwise.

    Raises:
        InvalidRun: it is damaged, of another kind, or was changed.
    """
    if sha256 is not None and sha256_of(content) != sha256:
        raise _changed(place)
    return _parsed(place, lambda: load(content)[NAME].clone())


def sha256_of(content: bytes) -> str:
    """SHA-256 of a content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _changed(place: object) -> InvalidRun:
    return InvalidRun(f"{place}: its SHA-256 is not the one written down for it; the file was changed or damaged")


def map_beads(path: Path) -> Thetas:
    """The models of a bead file (k, P) that was checked or written just now, mapped.

    Raises:
        InvalidRun: it is not a bead file.
    """

    def mapped() -> Tensor:
        with safe_open(path, framework="pt") as file:
            thetas: Tensor = file.get_tensor(NAME)
            return thetas

    return _parsed(path, mapped)


def _parsed(path: object, read: Callable[[], Tensor]) -> Thetas:
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
