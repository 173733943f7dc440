"""A copy of a module of which nothing refers back to the original.

``copy.deepcopy`` takes functions as they are: a hook or a replaced ``forward`` that was written as a closure over the
module would go on reading and writing the original.
"""

from __future__ import annotations

import copy
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn

from weightstring.errors import InvalidModel

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


COPIED = (nn.Module, Tensor, list, dict, set)
"""What a closure may share with its module."""


def copied(net: nn.Module, sharing: Mapping[int, Tensor] | None = None) -> nn.Module:
    """A copy of a module, hooks included; results of autograd without their history.

    Args:
        net: never changed.
        sharing: tensors that the copy shares with it, by ``id``.

    Raises:
        InvalidModel: an attribute cannot be copied.

    >>> def gated(net):
    ...     net.register_forward_hook(lambda module, inputs, output: output * net.bias)
    ...     return net
    >>> own = copied(gated(nn.Linear(1, 1)))
    >>> [hook.__closure__[0].cell_contents is own for hook in own._forward_hooks.values()]
    [True]
    """
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in _results(net)}
    # Each module has a dozen of them, and copy.deepcopy takes long for what is no plain dict.
    memo |= {id(own): OrderedDict() for module in net.modules() for own in vars(module).values() if _is_empty(own)}
    memo |= sharing or {}
    try:
        twin: nn.Module = copy.deepcopy(net, memo)
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise InvalidModel(
            f"net cannot be copied ({lines[0]}): its attributes must not hold locks, open files or "
            f"lists of results of autograd"
        ) from error
    for module in twin.modules():
        for holder, name, function in _functions(module):
            holder[name] = _rebound(function, memo)
    _copy_gradient_hooks(net, twin)
    return twin


def announces(net: nn.Module) -> bool:
    """Whether any part of a module overrides ``train`` or ``eval``.

    >>> announces(nn.Linear(2, 2))
    False
    """
    return any(
        "train" in vars(module)
        or "eval" in vars(module)
        or (type(module).train, type(module).eval) != (nn.Module.train, nn.Module.eval)
        for module in net.modules()
    )


def _is_empty(own: object) -> bool:
    return type(own) is OrderedDict and not own


def _results(net: nn.Module) -> Iterator[Tensor]:
    """Results of autograd among a module's attributes, as the old ``weight_norm`` leaves them behind."""
    for module in net.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor) and not value.is_leaf)


def _functions(module: nn.Module) -> Iterator[tuple[MutableMapping[Any, Any], object, Callable[..., object]]]:
    """Plain functions that a module holds as hooks or attributes, and where."""
    for holder in (vars(module), *(vars(module).get(hooks, {}) for hooks in HOOKS)):
        for name, value in list(holder.items()):
            if isinstance(value, types.FunctionType):
                yield holder, name, value


def _rebound(function: Callable[..., object], copies: Mapping[int, Any]) -> Callable[..., object]:
    """The function with its closure over the copies (by ``id`` of the originals) instead of the originals."""
    assert isinstance(function, types.FunctionType)
    cells = function.__closure__ or ()
    contents = map(_content, cells)
    held = [copies.get(id(content)) if isinstance(content, COPIED) else None for content in contents]
    if not any(twin is not None for twin in held):
        return function
    closure = tuple(cell if twin is None else types.CellType(twin) for cell, twin in zip(cells, held, strict=True))
    rebound = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
    )
    rebound.__kwdefaults__ = function.__kwdefaults__
    rebound.__dict__.update(function.__dict__)
    return rebound


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None


def _copy_gradient_hooks(net: nn.Module, twin: nn.Module) -> None:
    """Hooks of parameters, such as masks on their gradients, which copies of tensors leave behind."""
    names = dict(twin.named_parameters())
    for name, parameter in net.named_parameters():
        target = names[name]
        if target is parameter:
            continue
        for hook in (parameter._backward_hooks or {}).values():
            target.register_hook(hook)  # type: ignore[no-untyped-call]
