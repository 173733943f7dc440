"""Checkpoints on disk: one file, a folder as Hugging Face saves it, or shards with their index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from weightstring.errors import InvalidCheckpoint
from weightstring.store.files import one_line, replace_file
from weightstring.store.tensor_files import SAFETENSORS, TORCH_SUFFIXES, read_file, read_json

INDEX = ".index.json"

IN_FOLDERS = tuple(
    name + index
    for name in ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors")
    for index in ("", INDEX)
)
"""What libraries call the weights in a folder of theirs; the first that is there is read."""


def read_checkpoint(path: str | Path) -> Mapping[str, object]:
    """Read what a checkpoint holds: a state dict, or a mapping with one inside; ``problem.flatten`` takes either.

    Args:
        path: a .safetensors file; a file of ``torch.save``, read with ``weights_only=True``; a folder with such a file
            under one of the names that Hugging Face uses; or the index of shards (``….index.json``).

    Raises:
        InvalidCheckpoint: it is missing, damaged, of another kind, too large, or would run code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_checkpoint(Path(folder) / "model.safetensors", {"weight": torch.ones(2)}, {})
    ...     read_checkpoint(folder)
    {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    folder = False
    with suppress(OSError, ValueError):  # of a name that cannot be; reading says what is wrong with it
        folder = path.is_dir()
    path = _in_folder(path) if folder else path
    return _read_shards(path) if path.name.endswith(INDEX) else read_file(path)


def write_checkpoint(path: str | Path, state: Mapping[str, object], about: Mapping[str, object]) -> None:
    """Write the tensors of a state dict as .safetensors, with ``about`` as its metadata.

    Raises:
        InvalidCheckpoint: the file cannot be written, or its name does not end in .safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidCheckpoint(f"{path}: checkpoints are written as .safetensors; name it {path.stem}.safetensors")
    # Copies, since safetensors refuses tensors that share memory, as tied ones do. Extra state has no place there.
    whole = torch.contiguous_format
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=whole)
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    # One metadata key: with several, safetensors does not write the same bytes twice.
    content = save_tensors(tensors, metadata={"weightstring": json.dumps(dict(about), sort_keys=True)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as problem:
        raise InvalidCheckpoint(f"{path}: cannot be written: {problem.strerror}") from None


def checkpoints_in(path: str | Path) -> list[Path]:
    """The checkpoints that a path names: itself, or those in a folder that is not one itself, sorted by name.

    Raises:
        InvalidCheckpoint: a folder without any, or one that cannot be looked into.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b", "a"):
    ...         write_checkpoint(Path(folder) / f"{name}.safetensors", {"weight": torch.ones(2)}, {})
    ...     [found.name for found in checkpoints_in(folder)]
    ['a.safetensors', 'b.safetensors']
    """
    path = Path(path)
    try:
        if not path.is_dir() or _is_checkpoint(path):
            return [path]
        checkpoints = sorted(entry for entry in path.iterdir() if _is_checkpoint(entry))
    except (OSError, ValueError) as problem:
        raise InvalidCheckpoint(f"{str(path)!r:.300}: cannot be looked into: {one_line(problem)}") from None
    if not checkpoints:
        raise InvalidCheckpoint(f"{path}: a folder without checkpoints in it; name a folder that has some, or files")
    return checkpoints


def _is_checkpoint(path: Path) -> bool:
    """A file by its name, or a folder as Hugging Face saves it."""
    if path.is_dir():
        return any((path / name).exists() for name in IN_FOLDERS)
    return path.suffix in (SAFETENSORS, *TORCH_SUFFIXES) and not path.name.startswith(".")


def _in_folder(folder: Path) -> Path:
    for name in IN_FOLDERS:
        if (folder / name).exists():
            return folder / name
    raise InvalidCheckpoint(
        f"{folder}: a folder without {IN_FOLDERS[0]}, {IN_FOLDERS[0]}{INDEX} or pytorch_model.bin in it; name the file"
    )


def _read_shards(index: Path) -> Mapping[str, object]:
    """All tensors of the files that an index names, which lie beside it."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(places, Mapping) or not all(isinstance(file, str) for file in places.values()):
        raise InvalidCheckpoint(f"{index}: no index of shards; it must have a weight_map from names to files")
    whole: dict[str, object] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or file.endswith(INDEX):
            raise InvalidCheckpoint(f"{index}: names {file!r} as a shard; shards are files beside the index")
        shard = read_file(index.with_name(file))
        absent = [name for name, place in places.items() if place == file and name not in shard]
        twice = [name for name in shard if name in whole]
        if absent or twice:
            fault = f"lacks {absent[0]!r}, which {index.name} promises" if absent else f"repeats {twice[0]!r}"
            raise InvalidCheckpoint(f"{index.with_name(file)}: {fault}; save or copy the checkpoint again")
        whole |= shard
    return whole
