"""What a module reads off its data while it runs: numbers, and indices as many as numbers say.

``torch.export`` traces without numbers, so ``int(batch.max()) + 1``, ``h[mask]`` or ``h.repeat_interleave(counts, 0)``
stop it. What is read is noted as the module runs, and told to it as it is traced: so the trace is of these data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from weightstring.errors import Unsupported
from weightstring.text import first_line
from weightstring.tracing.steps import name_of

Reading: TypeAlias = Any
"""A number, a tensor or several."""

NUMBERS = (Tensor.item, Tensor.tolist, Tensor.__int__, Tensor.__bool__, Tensor.__float__, Tensor.__index__)
SHAPED = (torch.bincount, Tensor.bincount, torch.nonzero, Tensor.nonzero, torch.unique, Tensor.unique)
"""Whose arguments' numbers decide how many they return."""


def readings(module: nn.Module, leaves: Sequence[Tensor], subject: str, remedy: str) -> list[Reading]:
    """What a module reads off its data.

    Args:
        module: the module.
        leaves: its positional arguments.
        subject: the first words of a refusal.
        remedy: its last.

    Raises:
        Unsupported: it reads numbers that depend on its parameters.

    >>> class Pooled(nn.Module):
    ...     def forward(self, h, graph):
    ...         return h.new_zeros(int(graph.max()) + 1).index_add(0, graph, h)
    >>> readings(Pooled(), [torch.ones(3), torch.tensor([0, 1, 1])], "", "")
    [1]
    """
    parameters = module.named_parameters(remove_duplicate=False)
    held: dict[str, Tensor] = {name: parameter.detach().as_subclass(_OfTheta) for name, parameter in parameters}
    try:
        reader = Reader()
        with torch.no_grad(), reader:
            functional_call(module, held, tuple(leaves), tie_weights=False, strict=False)
    except Exception as error:  # whatever a stranger's code raises for tensors of another class
        reason = "it reads numbers off its activations" if isinstance(error, _ReadsActivations) else first_line(error)
        raise Unsupported(
            f"{subject}{name_of(module)} cannot be traced as a fixed course of operations ({reason}): {remedy}"
        ) from error
    return reader.noted


class _OfTheta(Tensor):
    """A parameter, or what came of one: torch hands the class on to results."""


class _ReadsActivations(Exception):
    """A number that depends on θ is asked for."""


def same(one: Sequence[Reading], other: Sequence[Reading]) -> bool:
    """Whether the same was read, in the same order."""
    first, second = tree_leaves(list(one)), tree_leaves(list(other))
    return len(first) == len(second) and all(
        torch.equal(x, y) if isinstance(x, Tensor) and isinstance(y, Tensor) else (type(x), x) == (type(y), y)
        for x, y in zip(first, second, strict=True)
    )


class Reader(TorchFunctionMode):
    """Notes what is read off tensors, or tells it to what is traced.

    Args:
        told: what to tell, in order; None: it is read, and noted.
    """

    def __init__(self, told: Sequence[Reading] | None = None) -> None:
        super().__init__()
        self.noted: list[Reading] = []
        self._told: Iterator[Reading] | None = None if told is None else iter(told)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the call returns."""
        kwargs = kwargs or {}
        asked = _asked(func, args, kwargs)
        if self._told is None:
            return self._noted(asked) if asked else _handing_on(func, args, kwargs)
        if asked is None or func is Tensor.tolist:  # which asks for one number after the other
            return func(*args, **kwargs)
        for reading in self._told:
            return asked.use(reading)
        raise Unsupported("while it is traced it reads more than while it runs")

    def _noted(self, asked: _Asked) -> Any:
        if any(isinstance(tensor, _OfTheta) for tensor in asked.of):
            raise _ReadsActivations
        reading = asked.read()
        self.noted += tree_leaves(reading) if isinstance(reading, list) else [reading]
        return asked.use(reading)


class _Asked(NamedTuple):
    """What a call needs to read: off what, how, and what it returns for that."""

    of: Sequence[object]
    read: Callable[[], Reading]
    use: Callable[[Reading], Any] = lambda reading: reading


def _asked(func: Any, args: Any, kwargs: Any) -> _Asked | None:
    """What a call needs to read, if anything."""
    if func in NUMBERS or func in SHAPED:
        return _Asked(tree_leaves((args, kwargs)), lambda: func(*args, **kwargs))
    if func in (torch.repeat_interleave, Tensor.repeat_interleave):
        return _repeated(*args, **kwargs)
    if func is Tensor.__getitem__:
        chosen = args[1] if isinstance(args[1], tuple) else (args[1],)
        masks = [part for part in chosen if _is_mask(part)]
        if masks:
            return _Asked(
                masks,
                lambda: tuple(mask.nonzero(as_tuple=True) for mask in masks),
                lambda places: func(args[0], _filled(chosen, iter(places))),
            )
    return None


def _is_mask(part: object) -> bool:
    return isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8)


def _filled(chosen: tuple[Any, ...], places: Iterator[tuple[Tensor, ...]]) -> tuple[Any, ...]:
    """An index with the places of its masks in their stead."""
    return tuple(one for part in chosen for one in (next(places) if _is_mask(part) else (part,)))


def _repeated(x: Tensor, repeats: Any = None, dim: int | None = None, **rest: Any) -> _Asked | None:
    """Repeating rows, as taking them by their numbers."""
    if repeats is None:
        return _Asked([x], lambda: x.repeat_interleave(**rest))
    if not isinstance(repeats, Tensor):
        return None
    flat, axis = (x.flatten(), 0) if dim is None else (x, dim)
    return _Asked(
        [repeats],
        lambda: torch.arange(flat.shape[axis], device=x.device).repeat_interleave(repeats),
        lambda rows: flat.index_select(axis, rows),
    )


def _handing_on(func: Any, args: Any, kwargs: Any) -> Any:
    """What a call returns; what it writes to depends on θ if what it takes does."""
    result = func(*args, **kwargs)
    name = getattr(func, "__name__", "")
    writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    if writes and type(args[0]) is Tensor and any(isinstance(part, _OfTheta) for part in tree_leaves((args, kwargs))):
        args[0].__class__ = _OfTheta
    return result
