"""Content digests that are the same in every process: no memory addresses, no ``hash()``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256

import torch
from torch import Tensor, nn

SETTINGS = (bool, int, float, str)
"""Types of attributes by which modules of one class differ."""


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


def callable_name(function: Callable[..., object]) -> str:
    """A function's qualified name, or an object's class, settings and constants.

    >>> callable_name(nn.functional.mse_loss)
    'torch.nn.functional.mse_loss'
    >>> callable_name(partial(nn.functional.huber_loss, delta=0.5))
    "partial(torch.nn.functional.huber_loss, (), [('delta', 0.5)])"
    """
    if isinstance(function, partial):
        # A tensor's text has four digits, and dots for what is many.
        given = {name: _exact(value) for name, value in function.keywords.items()}
        args = tuple(map(_exact, function.args))
        return without_addresses(f"partial({callable_name(function.func)}, {args}, {sorted(given.items())})")
    name = getattr(function, "__qualname__", None)
    if name is not None:
        return f"{function.__module__}.{name}"
    kind = type(function)
    constants = ""
    if isinstance(function, nn.Module):
        constants = f"{tensors_digest(function.state_dict())} {_settings(function)}"
    return without_addresses(f"{kind.__module__}.{kind.__qualname__} {function!r} {constants}")


def _exact(value: object) -> object:
    return tensor_digest(value) if isinstance(value, Tensor) else value


def _settings(module: nn.Module) -> list[tuple[str, object]]:
    """Reduction, ignored class and the like of a loss of torch's, which its text leaves out.

    A module of the user's may count its calls in an attribute, and would not stay the same.
    """
    settings = vars(module).items() if type(module).__module__.startswith("torch.nn.") else ()
    return sorted((name, value) for name, value in settings if name[0] != "_" and isinstance(value, SETTINGS))


def without_addresses(text: str) -> str:
    """Drop what differs from process to process: ``at 0x7f…`` in a repr."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
