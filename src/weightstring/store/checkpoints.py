"""Checkpoint files: read without running anything that they contain, written whole or not at all."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from weightstring.errors import InvalidCheckpoint
from weightstring.store.files import one_line, replace_file

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the state dict when they save more than that."""


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file, or from a .pt file with ``weights_only=True``.

    Raises:
        InvalidCheckpoint: the file is missing, damaged, of another kind, or would run code.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InvalidCheckpoint(f"{path}: cannot be read: {problem.strerror}") from None
    if path.suffix == ".safetensors":
        try:
            return load_tensors(content)
        except Exception as problem:  # A parser of bytes that come from anywhere fails in ways of its own.
            raise InvalidCheckpoint(f"{path}: truncated, damaged, or not safetensors: {one_line(problem)}") from None
    if path.suffix in TORCH_SUFFIXES:
        return _state_dict(path, _load_torch(path, content))
    raise InvalidCheckpoint(
        f"{path}: unknown kind of checkpoint {path.suffix or '(no ending)'!r}; save it with "
        "safetensors.torch.save_file(net.state_dict(), 'net.safetensors')"
    )


def write_checkpoint(path: str | Path, state: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    """Write a state dict as .safetensors, with ``about`` as its metadata.

    Raises:
        InvalidCheckpoint: the file cannot be written, or its name does not end in .safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidCheckpoint(f"{path}: checkpoints are written as .safetensors; name it {path.stem}.safetensors")
    # Copies, since safetensors refuses tensors that share memory, as tied ones do.
    whole = torch.contiguous_format
    tensors = {name: tensor.detach().cpu().clone(memory_format=whole) for name, tensor in state.items()}
    # One metadata key: with several, safetensors does not write the same bytes twice.
    content = save_tensors(tensors, metadata={"weightstring": json.dumps(dict(about), sort_keys=True)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as problem:
        raise InvalidCheckpoint(f"{path}: cannot be written: {problem.strerror}") from None


def _load_torch(path: Path, content: bytes) -> object:
    file = io.BytesIO(content)
    try:
        if zipfile.is_zipfile(file):
            _check_archive(file, len(content))
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What torch warns of here, it refuses in the same breath.
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InvalidCheckpoint(
            f"{path}: a pickle with more than tensors in it, or damaged; loading it could run code. Save "
            "net.state_dict() alone, best with safetensors.torch.save_file"
        ) from None
    except Exception as problem:
        raise InvalidCheckpoint(f"{path}: truncated or damaged: {one_line(problem)}") from None


def _check_archive(file: io.BytesIO, size: int) -> None:
    """The checksums, which torch does not look at, and that nothing grows when it is unpacked."""
    with zipfile.ZipFile(file) as archive:
        if sum(record.file_size for record in archive.infolist()) > size:
            raise zipfile.BadZipFile("its records are larger than the file")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged!r} is not that of its content")


def _state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping):
        loaded = next((loaded[key] for key in NESTED if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise InvalidCheckpoint(f"{path}: holds no state dict of names and tensors; save net.state_dict()")
    for name, value in loaded.items():
        if value.layout is not torch.strided or value.is_nested or value.device.type != "cpu":
            raise InvalidCheckpoint(f"{path}: {name!r} is no dense tensor with numbers in it; save a dense one")
    return dict(loaded)
