"""A second device without hardware: its tensors refuse to meet those of the CPU, as a GPU's do, and waiting is counted.

PyTorch lets a backend be written in Python. A tensor of this one is a shell that stands for a tensor on the CPU, on
which every operation is computed; operations on tensors of both devices raise, where they would on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as trees
from torch.utils import backend_registration

NAME = "second"

BOTH = (
    "aten::copy_",
    "aten::_to_copy",
    "aten::_copy_from",
    "aten::index.Tensor",
    "aten::index.Tensor_out",
    "aten::index_put_",
)
"""What takes tensors of two devices on a GPU too."""

WAITING = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select")
"""What the CPU cannot go on without, besides copies to it."""

VIEWS = (
    *("as_strided", "diagonal", "expand", "permute", "select.int", "slice.Tensor", "split.Tensor", "split_with_sizes"),
    *("squeeze", "squeeze.dim", "squeeze.dims", "t", "transpose.int", "unbind.int", "unfold", "unsqueeze", "view"),
    *("view.dtype", "_reshape_alias"),
)

stands_for: dict[int, Tensor] = {}
"""The tensor on the CPU that a storage of this device stands for."""

waits: list[str] = []
"""What the CPU has waited for."""


def shell(held: Tensor) -> Tensor:
    """A tensor of this device that stands for one on the CPU."""
    empty: Tensor = torch._C._acc.create_empty_tensor(tuple(held.shape), held.dtype)
    stands_for[empty.untyped_storage()._cdata] = held
    return empty


def held_by(tensor: Tensor) -> Tensor:
    """The tensor on the CPU that a tensor stands for: itself where it is there."""
    return stands_for[tensor.untyped_storage()._cdata] if tensor.device.type == NAME else tensor


def computed(op: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """An operation on tensors of this device, computed on what they stand for."""
    flat, spec = trees.tree_flatten((args, kwargs))
    tensors = [leaf for leaf in flat if isinstance(leaf, Tensor)]
    if name not in BOTH and any(tensor.device.type != NAME and tensor.ndim for tensor in tensors):
        raise RuntimeError(f"{name}: tensors of the CPU and of {NAME} meet")
    if name in WAITING:
        waits.append(name)
    if name == "aten::_copy_from":
        source, target = tensors
        if target.device.type != NAME:
            waits.append("copy to the CPU")
        held_by(target).copy_(held_by(source))
        return target
    given = [_on_cpu(leaf) for leaf in flat]
    own_args, own_kwargs = trees.tree_unflatten(given, spec)
    try:
        result = op(*own_args, **own_kwargs)
    except RuntimeError as error:
        if "Expected a value of type 'Tensor'" not in str(error):
            raise
        result = op.overloadpacket(*own_args, **own_kwargs)  # a number that was a tensor on its way
    known = {id(own): leaf for own, leaf in zip(given, flat, strict=True) if isinstance(leaf, Tensor)}
    for own, leaf in known.items():
        if leaf.device.type == NAME and held_by(leaf).shape != leaf.shape:  # resized as an out= argument
            leaf.data = shell(held_by(leaf))
        assert own
    return trees.tree_map_only(Tensor, lambda own: known[id(own)] if id(own) in known else shell(own), result)


def _on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return held_by(leaf)
    return torch.device("cpu") if isinstance(leaf, torch.device) else leaf


def register() -> torch.device:
    """Register the device with PyTorch, for the rest of this process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    every = torch.library.Library("_", "IMPL")
    every.fallback(lambda op, *args, **kwargs: computed(op, op.name(), *args, **kwargs), "PrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    kept.extend((every, aten))
    for name in VIEWS:
        packet, _, overload = name.partition(".")
        op: Callable[..., Tensor] = getattr(getattr(torch.ops.aten, packet), overload or "default")
        if name in ("view", "_reshape_alias"):  # a shell is always contiguous, what it stands for may be none
            op = lambda tensor, size, *strides: tensor.reshape(size)  # noqa: E731
        aten.impl(name, partial(computed, op, f"aten::{name}"), "PrivateUse1")
    address, copied = Tensor.data_ptr, Tensor.__deepcopy__
    Tensor.data_ptr = lambda self: address(held_by(self))  # type: ignore[method-assign]
    Tensor.__deepcopy__ = lambda self, memo: _cloned(self, memo) if self.device.type == NAME else copied(self, memo)
    return torch.device(NAME, 0)


def _cloned(tensor: Tensor, memo: dict[int, object]) -> object:
    return memo.setdefault(id(tensor), tensor.detach().clone().requires_grad_(tensor.requires_grad))


kept: list[torch.library.Library] = []
