"""LoRA adapters of one base: a base that is held once, and the average of adapters as an adapter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint, Unsupported
from weightstring.problem.checkpoints.adapters import CONFIG, WEIGHTS
from weightstring.problem.checkpoints.lora import LOWER, PREFIX, RAISE, Lora, Product, merged_state, read_lora
from weightstring.store import read_checkpoint, replace_file, write_checkpoint
from weightstring.store.checkpoints import ADAPTER, ADAPTERS

Net = TypeVar("Net", bound=nn.Module)


def adapters_only(net: Net, *folders: str | os.PathLike[str]) -> Net:
    """Leave only those weights of a base model trainable that LoRA adapters change, and return the model.

    θ then holds no others: a model (P,) is as large as the layers with adapters are, and the rest of the base is in
    memory once, however many adapters are compared.

    Args:
        net: the base model; it is changed.
        folders: of the adapters, as ``peft`` saves them; of any ranks.

    Raises:
        InvalidCheckpoint: one is no adapter, or one of another model.
        Unsupported: one is no plain LoRA.

    >>> from tempfile import TemporaryDirectory
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> lora = Lora({"1": Product(torch.ones(1, 3), torch.ones(1, 1), 1.0)}, {})
    >>> with TemporaryDirectory() as folder:
    ...     write_adapter(folder, lora, {})
    ...     [name for name, each in adapters_only(net, folder).named_parameters() if each.requires_grad]
    ['1.weight']
    """
    changed: set[str] = set()
    for folder in folders:
        lora = lora_in(folder)
        if merged_state(net, lora) is None:
            raise Unsupported(
                f"{folder}: changes layers that are neither Linear nor Conv1D; name them trainable yourself"
            )
        changed |= lora.changed
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in changed)
    return net


def lora_in(folder: str | os.PathLike[str]) -> Lora:
    """The adapter in a folder.

    Raises:
        InvalidCheckpoint: there is none.
        Unsupported: it is no plain LoRA.
    """
    return _held_in(folder)[0]


def _held_in(folder: str | os.PathLike[str]) -> tuple[Lora, Mapping[str, Any]]:
    """The adapter in a folder, and its configuration; it raises as :func:`lora_in` does."""
    held = read_checkpoint(Path(folder))
    config, weights = held.get(CONFIG), held.get(WEIGHTS)
    if not isinstance(config, Mapping) or not isinstance(weights, Mapping):
        raise InvalidCheckpoint(f"{folder}: no adapter; name a folder with {ADAPTER} in it")
    found = read_lora(config, {name: value for name, value in weights.items() if isinstance(value, Tensor)})
    if found is None:
        raise Unsupported(f"{folder}: an adapter of another form than plain LoRA, {config.get('peft_type')}")
    return found, config


def average_of(adapters: Sequence[Lora], shares: Sequence[float]) -> Lora:
    """The average of what adapters of any ranks add, Σ w s B A, as one adapter: its rank is the sum of theirs.

    Raises:
        Unsupported: one has modules that were trained whole, whose average is no product.

    >>> one, two = (Lora({"fc": Product(torch.ones(r, 2), torch.ones(3, r), 1.0)}, {}) for r in (1, 2))
    >>> mean = average_of([one, two], [0.5, 0.5]).products["fc"]
    >>> mean.rank, mean.delta[0, 0].item()
    (3, 1.5)
    """
    if any(adapter.whole for adapter in adapters):
        raise Unsupported("adapters with modules that were trained whole (modules_to_save) have no average of low rank")
    layers = dict.fromkeys(layer for adapter in adapters for layer in adapter.products)
    products = {}
    for layer in layers:
        parts = [
            (share, adapter.products[layer])
            for share, adapter in zip(shares, adapters, strict=True)
            if layer in adapter.products
        ]
        lower = torch.cat([part.lower.float() for _, part in parts])
        raise_ = torch.cat([share * part.scale * part.raise_.float() for share, part in parts], dim=1)
        products[layer] = Product(lower, raise_, 1.0)
    return Lora(products, {})


def write_adapter(folder: str | os.PathLike[str], lora: Lora, settings: Mapping[str, Any]) -> None:
    """Write an adapter as ``peft`` reads it, of one rank: thinner layers are filled up with zeros.

    Args:
        folder: a new one.
        lora: the adapter, without whole modules.
        settings: what else its configuration says, such as ``base_model_name_or_path``.

    Raises:
        InvalidCheckpoint: it cannot be written.
    """
    rank = max(product.rank for product in lora.products.values())
    tensors: dict[str, Tensor] = {}
    for layer, product in lora.products.items():
        missing = rank - product.rank
        tensors[PREFIX + layer + LOWER] = nn.functional.pad(product.lower, (0, 0, 0, missing))
        tensors[PREFIX + layer + RAISE] = nn.functional.pad(product.scale * product.raise_, (0, missing))
    form = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": sorted(lora.products)}
    own = {"use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}, "bias": "none", "lora_dropout": 0.0}
    where = Path(folder)
    write_checkpoint(where / ADAPTERS[0], tensors, {})
    config = msgspec.json.format(msgspec.json.encode({**settings, **own, **form, "inference_mode": True}))
    try:
        replace_file(where / ADAPTER, config + b"\n")
    except OSError as problem:
        raise InvalidCheckpoint(f"{where}: cannot be written: {problem.strerror}") from None


KEPT = ("base_model_name_or_path", "revision", "task_type", "fan_in_fan_out")
"""Settings of the first adapter that an average has too."""


def write_average(
    folder: str | os.PathLike[str], adapters: Sequence[str | os.PathLike[str]], shares: Sequence[float]
) -> None:
    """Write the average of the adapters in some folders as an adapter.

    Raises:
        InvalidCheckpoint: one is no adapter, or the average cannot be written.
        Unsupported: one is no plain LoRA, or has whole modules.
    """
    found = [_held_in(each) for each in adapters]
    mean, config = average_of([lora for lora, _ in found], shares), found[0][1]
    write_adapter(folder, mean, {name: config[name] for name in KEPT if config.get(name) is not None})


def is_adapter(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of an adapter."""
    return (Path(path) / ADAPTER).is_file()
