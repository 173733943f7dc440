"""Checkpoints on disk: one file, a folder as Hugging Face saves it, shards with their index, or an adapter."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from safetensors.torch import save as save_tensors
from torch import Tensor

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.adapters import CONFIG, WEIGHTS
from weightstring.store.files import one_line, replace_file
from weightstring.store.tensor_files import SAFETENSORS, TORCH_SUFFIXES, read_file, read_json

INDEX = ".index.json"

IN_FOLDERS = tuple(
    name + index
    for name in (
        "model.safetensors",
        "pytorch_model.bin",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin",
    )
    for index in ("", INDEX)
)
"""What libraries call the weights in a folder of theirs; the first that is there is read."""

ADAPTER = "adapter_config.json"
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
"""What ``peft`` calls an adapter's configuration and its weights."""

BESIDE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state\w*)\.(bin|pt|pth)")
"""What training scripts keep beside a model."""

SNAPSHOTS = "snapshots"
"""Where a folder of the hub's cache has its versions."""

SHOWN = 6
"""Checkpoints in a folder that a message names."""

INSIDE = "#"
"""Between a file and where in it the state dict lies."""


def read_checkpoint(path: str | Path, allow: Collection[str] = ()) -> Mapping[str, object]:
    """Read what a checkpoint holds: a state dict, or a mapping with one inside; ``problem.flatten`` takes either.

    Tensors are mapped from the file where that can be, and not read before they are used.

    Args:
        path: a .safetensors file; a file of ``torch.save``, read with ``weights_only=True``; a folder with such a file
            under one of the names that Hugging Face uses, or with an adapter of ``peft``, or one of the hub's cache
            (``models--org--name``), of which the snapshot is read that ``main`` names; or the index of shards
            (``….index.json``). ``file.ckpt#ema/module`` is what lies under these keys in a larger file.
        allow: classes that a file of ``torch.save`` may make besides tensors, ``module.Class``. Their code runs.

    Raises:
        InvalidCheckpoint: it is missing, damaged, of another kind, too large, or would run code.
        InvalidSetting: something that cannot be allowed.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_checkpoint(Path(folder) / "model.safetensors", {"weight": torch.ones(2)}, {})
    ...     read_checkpoint(folder)
    {'weight': tensor([1., 1.])}
    """
    path, inside = _parted(Path(path))
    path = _snapshot(path)
    held = _read_folder(path, allow) if _is_folder(path) else _read_one(path, allow)
    for key in inside:
        found = held.get(key)
        if not isinstance(found, Mapping):
            what = "nothing" if found is None else f"a {type(found).__name__}"
            raise InvalidCheckpoint(
                f"{path}: under {key!r} is {what}, no state dict; it holds {', '.join(map(str, held))}"
            )
        held = found
    return held


def files_of(path: str | Path) -> list[Path]:
    """The files that :func:`read_checkpoint` reads; none where the path names no checkpoint.

    >>> files_of("random:1")
    []
    """
    path, _ = _parted(Path(path))
    path = _snapshot(path)
    if _is_folder(path):
        found = [path / name for name in (*IN_FOLDERS, *ADAPTERS) if (path / name).exists()][:1]
        settings = [path / ADAPTER] if (path / ADAPTER).exists() else []
        return [file for each in found for file in files_of(each)] + settings
    if path.name.endswith(INDEX) and path.is_file():
        content = read_json(path)
        places = content.get("weight_map") if isinstance(content, Mapping) else None
        shards = {str(name) for name in places.values()} if isinstance(places, Mapping) else set()
        return [path, *(path.with_name(Path(name).name) for name in sorted(shards))]
    return [path] if path.is_file() else []


def _parted(path: Path) -> tuple[Path, list[str]]:
    """A path, and the keys after it; a file that has the sign in its name is itself."""
    with suppress(OSError, ValueError):  # of a name that cannot be; reading says what is wrong with it
        file, sign, inside = str(path).rpartition(INSIDE)
        if sign and file and inside and not path.exists():
            return Path(file), inside.split("/")
    return path, []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # see above
        return False


def _snapshot(path: Path) -> Path:
    """Of a folder in the hub's cache the snapshot that is meant; any other path as it is.

    Raises:
        InvalidCheckpoint: it has several, and none is called main.
    """
    if not _is_folder(path / SNAPSHOTS):
        return path
    main, found = path / "refs" / "main", sorted((path / SNAPSHOTS).iterdir())
    if main.is_file():
        return path / SNAPSHOTS / main.read_text().strip()
    if len(found) != 1:
        names = ", ".join(each.name for each in found[:SHOWN]) or "none"
        raise InvalidCheckpoint(f"{path}: holds snapshots ({names}), of which no refs/main names one; name a folder")
    return found[0]


def _read_one(path: Path, allow: Collection[str]) -> Mapping[str, object]:
    return _read_shards(path, allow) if path.name.endswith(INDEX) else read_file(path, allow)


def _read_folder(folder: Path, allow: Collection[str]) -> Mapping[str, object]:
    weights = [folder / name for name in IN_FOLDERS if (folder / name).exists()]
    if not (folder / ADAPTER).exists():
        return _read_one(weights[0], allow) if weights else _without_weights(folder)
    if weights:
        raise InvalidCheckpoint(f"{folder}: holds a model and an adapter, {weights[0].name} and {ADAPTER}; name a file")
    for name in ADAPTERS:
        if (folder / name).exists():
            return {CONFIG: read_json(folder / ADAPTER), WEIGHTS: read_file(folder / name, allow)}
    raise InvalidCheckpoint(f"{folder}: has {ADAPTER}, but neither {' nor '.join(ADAPTERS)}")


def _without_weights(folder: Path) -> NoReturn:
    """Say what else a folder holds, and what to do."""
    inside = [entry.name for entry in _checkpoints(folder)]
    if inside:
        shown = ", ".join(inside[:SHOWN]) + (f" and {len(inside) - SHOWN} more" if len(inside) > SHOWN else "")
        raise InvalidCheckpoint(f"{folder}: holds no weights itself, but {shown}; name one of them")
    if (folder / ".metadata").exists():
        join = f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} net.pt"
        raise InvalidCheckpoint(f"{folder}: shards of torch.distributed.checkpoint; join them first: {join}")
    if (folder / "zero_to_fp32.py").exists():
        join = f"python {folder}/zero_to_fp32.py {folder} net"
        raise InvalidCheckpoint(f"{folder}: shards of DeepSpeed; join them first: {join}")
    raise InvalidCheckpoint(
        f"{folder}: a folder without {IN_FOLDERS[0]}, {IN_FOLDERS[0]}{INDEX}, pytorch_model.bin or {ADAPTERS[0]} in "
        "it; name the file"
    )


def write_checkpoint(path: str | Path, state: Mapping[str, object], about: Mapping[str, object]) -> None:
    """Write the tensors of a state dict as .safetensors, with ``about`` as its metadata.

    Raises:
        InvalidCheckpoint: the file cannot be written, or its name does not end in .safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidCheckpoint(f"{path}: checkpoints are written as .safetensors; name it {path.stem}.safetensors")
    # Extra state has no place there.
    tensors = _apart({name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)})
    # One metadata key: with several, safetensors does not write the same bytes twice.
    content = save_tensors(tensors, metadata={"weightstring": json.dumps(dict(about), sort_keys=True)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as problem:
        raise InvalidCheckpoint(f"{path}: cannot be written: {problem.strerror}") from None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; those that share memory, as tied ones do and safetensors refuses, as copies."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        whole = storage.nbytes() == plain.nbytes and storage.data_ptr() not in taken
        apart[name] = plain if whole else plain.clone()
        taken.add(storage.data_ptr())
    return apart


def checkpoints_in(path: str | Path) -> list[Path]:
    """The checkpoints that a path names: itself, or those in a folder that is not one itself, in natural order.

    Raises:
        InvalidCheckpoint: a folder without any, or one that cannot be looked into.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("step-10", "step-9"):
    ...         write_checkpoint(Path(folder) / f"{name}.safetensors", {"weight": torch.ones(2)}, {})
    ...     [found.name for found in checkpoints_in(folder)]
    ['step-9.safetensors', 'step-10.safetensors']
    """
    path = Path(path)
    try:
        if not path.is_dir() or _is_checkpoint(path):
            return [path]
        checkpoints = _checkpoints(path)
    except (OSError, ValueError) as problem:
        raise InvalidCheckpoint(f"{str(path)!r:.300}: cannot be looked into: {one_line(problem)}") from None
    if not checkpoints:
        raise InvalidCheckpoint(f"{path}: a folder without checkpoints in it; name a folder that has some, or files")
    return checkpoints


def _checkpoints(folder: Path) -> list[Path]:
    """Those in a folder; numbers in their names count as numbers."""

    def order(entry: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", entry.name)
        return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]

    return sorted((entry for entry in folder.iterdir() if _is_checkpoint(entry)), key=order)


def _is_checkpoint(path: Path) -> bool:
    """A file by its name, or a folder as Hugging Face saves it."""
    if path.is_dir():
        return any((path / name).exists() for name in (*IN_FOLDERS, ADAPTER, SNAPSHOTS))
    weights = path.suffix in (SAFETENSORS, *TORCH_SUFFIXES) and not path.name.startswith(".")
    return weights and not BESIDE.fullmatch(path.name)


def _read_shards(index: Path, allow: Collection[str]) -> Mapping[str, object]:
    """All tensors of the files that an index names, which lie beside it."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(places, Mapping) or not all(isinstance(file, str) for file in places.values()):
        raise InvalidCheckpoint(f"{index}: no index of shards; it must have a weight_map from names to files")
    whole: dict[str, object] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or file.endswith(INDEX):
            raise InvalidCheckpoint(f"{index}: names {file!r} as a shard; shards are files beside the index")
        shard = read_file(index.with_name(file), allow)
        absent = [name for name, place in places.items() if place == file and name not in shard]
        twice = [name for name in shard if name in whole]
        if absent or twice:
            fault = f"lacks {absent[0]!r}, which {index.name} promises" if absent else f"repeats {twice[0]!r}"
            raise InvalidCheckpoint(f"{index.with_name(file)}: {fault}; save or copy the checkpoint again")
        whole |= shard
    return whole
