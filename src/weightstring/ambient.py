"""Torch's thread-wide state: kept out of every computation, and left unchanged.

Inference mode, autocast, the default device and the default dtype belong to the caller. A loss must not depend on them,
and no call may change them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import torch

from weightstring.memory import tell_lack

Args = ParamSpec("Args")
Returned = TypeVar("Returned")
Own = TypeVar("Own")

CPU = torch.device("cpu")

KINDS = ("cpu", "cuda")
"""Kinds of devices whose autocast is switched off."""


@dataclass(frozen=True)
class Defaults:
    """Torch's default dtype and device, which a new tensor gets unless told otherwise.

    Args:
        dtype: the default floating dtype.
        device: the default device.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device = CPU

    @classmethod
    def found(cls) -> Defaults:
        """The defaults in force now."""
        return cls(torch.get_default_dtype(), torch.get_default_device())

    def in_force(self) -> bool:
        """Whether these defaults are in force already, with gradients and without inference mode or autocast."""
        return (
            torch.is_grad_enabled()
            and not torch.is_inference_mode_enabled()
            and not any(map(torch.is_autocast_enabled, KINDS))
            and torch.get_default_dtype() == self.dtype
            and self.device == (torch.get_default_device() if torch._C._len_torch_function_stack() else CPU)
        )  # where no mode is entered, the device is the CPU: asking for it takes longer than all else


USUAL = Defaults()


@contextmanager
def surroundings(defaults: Defaults) -> Iterator[None]:
    """Temporarily enable gradients, disable inference mode and autocast, and set the given defaults.

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
    """Run a function with torch's own defaults, whatever its caller's are; lack of memory is told in one line.

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
        try:
            if USUAL.in_force():
                return function(*args, **kwargs)
            with surroundings(USUAL):
                return function(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            tell_lack(error, function.__name__)
            raise

    return within


def as_made(method: Callable[Concatenate[Own, Args], Returned]) -> Callable[Concatenate[Own, Args], Returned]:
    """Run a method under the defaults in force when its object was made: the user's code may rely on them.

    Lack of memory is told in one line.
    """
    name = method.__qualname__.removesuffix(".__init__")

    @functools.wraps(method)
    def within(self: Own, *args: Args.args, **kwargs: Args.kwargs) -> Returned:
        defaults: Defaults = getattr(self, "_defaults", None) or Defaults.found()
        try:
            if defaults.in_force():
                return method(self, *args, **kwargs)
            with surroundings(defaults):
                return method(self, *args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            tell_lack(error, name)
            raise

    return within  # type: ignore[return-value]
