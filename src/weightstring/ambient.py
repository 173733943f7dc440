"""What torch holds for a whole thread, kept out of what is computed and left as it was found.

Inference mode, autocast, the default device and dtype are set by whoever calls, for reasons of his own. A loss must
not depend on them, and no call may change them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import torch

Args = ParamSpec("Args")
Returned = TypeVar("Returned")
Own = TypeVar("Own")

CPU = torch.device("cpu")

KINDS = ("cpu", "cuda")
"""Kinds of devices whose autocast is switched off."""


@dataclass(frozen=True)
class Defaults:
    """What a tensor is, and where, that is made without saying so.

    Args:
        dtype: its floating dtype.
        device: its device.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device = CPU

    @classmethod
    def found(cls) -> Defaults:
        """Those in force."""
        return cls(torch.get_default_dtype(), torch.get_default_device())

    def in_force(self) -> bool:
        """Whether nothing has to be changed: these, gradients, no inference mode and no autocast."""
        return (
            torch.is_grad_enabled()
            and not torch.is_inference_mode_enabled()
            and not any(map(torch.is_autocast_enabled, KINDS))
            and torch.get_default_dtype() == self.dtype
            and torch.get_default_device() == self.device
        )


USUAL = Defaults()


@contextmanager
def surroundings(defaults: Defaults) -> Iterator[None]:
    """Gradients, no inference mode, no autocast, and the given defaults, for a while.

    >>> with torch.inference_mode(), surroundings(Defaults(torch.float64)):
    ...     print(torch.is_inference_mode_enabled(), torch.zeros(1).dtype)
    False torch.float64
    >>> torch.zeros(1).dtype
    torch.float32
    """
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != defaults.device:  # a device's mode is paid for by every operation
            stack.enter_context(defaults.device)
        torch.set_default_dtype(defaults.dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def undisturbed(function: Callable[Args, Returned]) -> Callable[Args, Returned]:
    """Run a function with torch's own defaults, whatever its caller's are.

    >>> @undisturbed
    ... def dtype() -> torch.dtype:
    ...     return torch.ones(1).dtype
    >>> torch.set_default_dtype(torch.float64)
    >>> dtype(), torch.ones(1).dtype
    (torch.float32, torch.float64)
    >>> torch.set_default_dtype(torch.float32)
    """

    @functools.wraps(function)
    def within(*args: Args.args, **kwargs: Args.kwargs) -> Returned:
        if USUAL.in_force():
            return function(*args, **kwargs)
        with surroundings(USUAL):
            return function(*args, **kwargs)

    return within


def as_made(method: Callable[Concatenate[Own, Args], Returned]) -> Callable[Concatenate[Own, Args], Returned]:
    """Run a method with the defaults that were in force when its object was made, on which a user's code may rely."""

    @functools.wraps(method)
    def within(self: Own, *args: Args.args, **kwargs: Args.kwargs) -> Returned:
        defaults: Defaults = getattr(self, "_defaults", None) or Defaults.found()
        if defaults.in_force():
            return method(self, *args, **kwargs)
        with surroundings(defaults):
            return method(self, *args, **kwargs)

    return within  # type: ignore[return-value]
