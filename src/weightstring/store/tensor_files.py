"""One file of tensors: mapped, without running anything that it contains, and only if it is what it says.

Tensors lie in the file until they are used, and writing to one does not change it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.outputs import tensors_of
from weightstring.store.allowed import allowing, refused
from weightstring.store.files import one_line

SAFETENSORS = ".safetensors"

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar", ".pkl")

LONGEST_HEADER = 10**8
"""Bytes that safetensors allows a header, and that an index of shards may have."""


def read_file(path: Path, allow: Collection[str] = ()) -> Mapping[str, object]:
    """What a .safetensors file, or one that ``torch.save`` wrote, maps from names.

    Args:
        path: of the file, which must not change while its tensors are in use.
        allow: classes that a pickle may make, by their full names.

    Raises:
        InvalidCheckpoint: it is missing, no file, larger than memory, damaged, of another kind, or would run code.
        InvalidSetting: something cannot be allowed.
    """
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _read_torch(path, allow)
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

    file = _opened(path, check, "no index of a checkpoint")
    try:
        with file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidCheckpoint(f"{path}: truncated, damaged, or no index: {one_line(problem)}") from None


def _opened(path: Path, check: Callable[[BinaryIO, int], None], kind: str) -> BinaryIO:
    """A regular file, opened, that a look at its beginning does not refuse."""
    try:
        status = path.stat()  # before it is opened: a pipe would wait for somebody to write
        if not stat.S_ISREG(status.st_mode):
            raise InvalidCheckpoint(f"{path}: no regular file; give a file of tensors, or a folder with one")
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            check(file, status.st_size)
            _check_size(path, status.st_size)
            file.seek(0)
            stack.pop_all()
            return file
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
    _opened(path, _check_header, "not safetensors").close()
    try:
        return load_file(path)
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


def _read_torch(path: Path, allow: Collection[str]) -> Mapping[str, object]:
    loaded = _load_torch(path, allow)
    if isinstance(loaded, nn.Module):  # all of whose classes were allowed
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping) or not any(isinstance(name, str) for name in loaded):
        raise InvalidCheckpoint(f"{path}: holds no state dict of names and tensors; save net.state_dict()")
    _check_dense(path, loaded)
    return loaded


def _check_start(file: BinaryIO, size: int) -> None:
    """That it begins, or for an archive ends, like what ``torch.save`` writes."""
    start = file.read(264)
    if not (start.startswith(b"\x80") or start[257:262] == b"ustar" or zipfile.is_zipfile(file)):
        raise ValueError(f"it begins with {start[:4]!r}")


def _load_torch(path: Path, allow: Collection[str]) -> object:
    with _opened(path, _check_start, "not written by torch.save") as file, allowing(allow):
        try:
            archived = zipfile.is_zipfile(file)
            records = _records(path, file) if archived else []
            # Older files cannot be mapped, nor archives with something before them, which torch does not allow for.
            mapped = min((record.header_offset for record in records), default=1) == 0
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What torch warns of here, it refuses in the same breath.
                source = path if mapped else file
                loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
            if mapped:
                _check_sizes(loaded, records)
            return loaded
        except InvalidCheckpoint:
            raise
        except pickle.UnpicklingError as problem:
            raise _more_than_tensors(path, problem, archived) from None
        except Exception as problem:
            raise _refusal(path, problem, "truncated or damaged") from None


def _more_than_tensors(path: Path, problem: pickle.UnpicklingError, archived: bool) -> InvalidCheckpoint:
    """The refusal of what ``weights_only`` refuses, with all that it may not make."""
    with suppress(Exception):  # of a pickle that cannot be read at all
        if archived:
            return refused(path, torch.serialization.get_unsafe_globals_in_checkpoint(path))
    named = re.search(r"GLOBAL ([\w.]+)", str(problem))
    return refused(path, [named[1]] if named else [])


def _records(path: Path, file: BinaryIO) -> list[zipfile.ZipInfo]:
    """What an archive holds: by the right checksums, which torch does not look at, and no larger when unpacked."""
    with zipfile.ZipFile(file) as archive:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
            raise zipfile.BadZipFile("its records are larger than the file")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged!r} is not that of its content")
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise InvalidCheckpoint(
                f"{path}: a TorchScript archive, which holds code; save torch.jit.load({str(path)!r}).state_dict()"
            )
        return archive.infolist()


def _check_sizes(loaded: object, records: list[zipfile.ZipInfo]) -> None:
    """That mapped tensors do not reach beyond the records that hold their numbers, which torch does not look at."""
    plain = [each for each in tensors_of(loaded) if _is_dense(each)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in plain}
    beyond = Counter(storages.values()) - Counter(record.file_size for record in records) - Counter({0: len(storages)})
    if beyond:
        raise zipfile.BadZipFile(f"no record has the {min(beyond)} bytes of one of its tensors")


def _check_dense(path: Path, held: Mapping[Any, object]) -> None:
    for name, value in held.items():
        if isinstance(value, Mapping) and isinstance(name, str):
            _check_dense(path, value)
        elif isinstance(value, Tensor) and not _is_dense(value):
            raise InvalidCheckpoint(f"{path}: {name!r} is no dense tensor with numbers in it; save a dense one")


def _is_dense(tensor: Tensor) -> bool:
    odd = tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized
    return not odd and tensor.device.type == "cpu"
