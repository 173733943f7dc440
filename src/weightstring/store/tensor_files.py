"""One file of tensors: read whole, without running anything that it contains, and only if it is what it says."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from weightstring.errors import InvalidCheckpoint
from weightstring.store.files import one_line

SAFETENSORS = ".safetensors"

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar", ".pkl")

LONGEST_HEADER = 10**8
"""Bytes that safetensors allows a header, and that an index of shards may have."""


def read_file(path: Path) -> Mapping[str, object]:
    """What a .safetensors file, or one that ``torch.save`` wrote, maps from names.

    Raises:
        InvalidCheckpoint: it is missing, no file, larger than memory, damaged, of another kind, or would run code.
    """
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _read_torch(path)
    raise InvalidCheckpoint(
        f"{path}: unknown kind of checkpoint {path.suffix or '(no ending)'!r}; save it with "
        "safetensors.torch.save_file(net.state_dict(), 'net.safetensors')"
    )


def read_json(path: Path) -> object:
    """A small JSON file.

    Raises:
        InvalidCheckpoint: it cannot be read.
    """

    def check(file: BinaryIO, size: int) -> None:
        if size > LONGEST_HEADER:
            raise ValueError(f"it has {size} bytes")

    content = _content(path, check, "no index of a checkpoint")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise InvalidCheckpoint(f"{path}: truncated, damaged, or no index: {one_line(problem)}") from None


def _content(path: Path, check: Callable[[BinaryIO, int], None], kind: str) -> bytes:
    """All bytes of a regular file that a look at its beginning does not refuse."""
    try:
        status = path.stat()  # before it is opened: a pipe would wait for somebody to write
        if not stat.S_ISREG(status.st_mode):
            raise InvalidCheckpoint(f"{path}: no regular file; give a file of tensors, or a folder with one")
        with path.open("rb") as file:
            check(file, status.st_size)
            _check_size(path, status.st_size)
            file.seek(0)
            return file.read()
    except InvalidCheckpoint:
        raise
    except OSError as problem:
        raise InvalidCheckpoint(f"{path}: cannot be read: {problem.strerror or one_line(problem)}") from None
    except (MemoryError, ValueError) as problem:  # a name with a zero byte, or what ``check`` says
        raise _refusal(path, problem, f"truncated, damaged, or {kind}") from None


def _refusal(path: Path, problem: Exception, guess: str) -> InvalidCheckpoint:
    """What to say where reading failed: that memory does not suffice, or else what the file may be."""
    if isinstance(problem, MemoryError) or "allocate memory" in str(problem):
        return InvalidCheckpoint(f"{path}: does not fit into memory; give a smaller checkpoint")
    return InvalidCheckpoint(f"{path}: {guess}: {one_line(problem)}")


def _check_size(path: Path, size: int) -> None:
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > memory > 0:
            raise InvalidCheckpoint(
                f"{path}: {size / 1e9:.0f} GB, more than the {memory / 1e9:.0f} GB of memory here; give a smaller one"
            )


def _read_safetensors(path: Path) -> Mapping[str, object]:
    content = _content(path, _check_header, "not safetensors")
    try:
        return load_tensors(content)
    except Exception as problem:  # A parser of bytes that come from anywhere fails in ways of its own.
        raise _refusal(path, problem, "truncated, damaged, or not safetensors") from None


def _check_header(file: BinaryIO, size: int) -> None:
    """That the file is as long as its header says, before all of it is read."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    try:
        header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        end = max(ends, default=0)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError) as problem:
        raise ValueError(f"its header is none: {one_line(problem)}") from None
    if end != size - 8 - length:
        raise ValueError(f"tensors of {end} bytes in a file that holds {size - 8 - length}")


def _read_torch(path: Path) -> Mapping[str, object]:
    content = _content(path, _check_start, "not written by torch.save")
    loaded = _load_torch(path, content)
    if not isinstance(loaded, Mapping) or not any(isinstance(name, str) for name in loaded):
        raise InvalidCheckpoint(f"{path}: holds no state dict of names and tensors; save net.state_dict()")
    _check_dense(path, loaded)
    return loaded


def _check_start(file: BinaryIO, size: int) -> None:
    """That it begins, or for an archive ends, like what ``torch.save`` writes."""
    start = file.read(264)
    if not (start.startswith(b"\x80") or start[257:262] == b"ustar" or zipfile.is_zipfile(file)):
        raise ValueError(f"it begins with {start[:4]!r}")


def _load_torch(path: Path, content: bytes) -> object:
    file = io.BytesIO(content)
    try:
        if zipfile.is_zipfile(file):
            _check_archive(path, file, len(content))
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What torch warns of here, it refuses in the same breath.
            return torch.load(file, map_location="cpu", weights_only=True)
    except InvalidCheckpoint:
        raise
    except pickle.UnpicklingError as problem:
        raise InvalidCheckpoint(_more_than_tensors(path, str(problem))) from None
    except Exception as problem:
        raise _refusal(path, problem, "truncated or damaged") from None


def _more_than_tensors(path: Path, problem: str) -> str:
    """What to do about a pickle that ``weights_only`` refuses, which names what it may not make."""
    match = re.search(r"GLOBAL ([\w.]+)", problem)
    more = f" ({match[1]})" if match else ", or damaged"
    trusting = f"torch.load({str(path)!r}, weights_only=False)"
    return (
        f"{path}: a pickle with more than tensors in it{more}; loading it could run code. Save net.state_dict() alone; "
        f"where you trust the file, torch.save({trusting}['state_dict'], 'net.pt') takes it out of a larger one"
    )


def _check_archive(path: Path, file: io.BytesIO, size: int) -> None:
    """The checksums, which torch does not look at, and that nothing grows when it is unpacked."""
    with zipfile.ZipFile(file) as archive:
        if sum(record.file_size for record in archive.infolist()) > size:
            raise zipfile.BadZipFile("its records are larger than the file")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged!r} is not that of its content")
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise InvalidCheckpoint(
                f"{path}: a TorchScript archive, which holds code; save torch.jit.load({str(path)!r}).state_dict()"
            )


def _check_dense(path: Path, held: Mapping[Any, object]) -> None:
    for name, value in held.items():
        if isinstance(value, Mapping) and isinstance(name, str):
            _check_dense(path, value)
        elif isinstance(value, Tensor) and (
            value.layout is not torch.strided or value.is_nested or value.is_quantized or value.device.type != "cpu"
        ):
            raise InvalidCheckpoint(f"{path}: {name!r} is no dense tensor with numbers in it; save a dense one")
