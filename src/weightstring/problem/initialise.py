"""Random models: every module's own initialisation under a seed, the global generators untouched."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidModel

CPU = torch.device("cpu")

_generators = threading.RLock()
"""Torch's generators are those of the whole process: threads must take turns with them."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from generators that start at ``seed``, then put them back as they were.

    >>> with seeded(3, torch.device("cpu")):
    ...     first = torch.rand(2)
    >>> with seeded(3, torch.device("cpu")):
    ...     print(torch.equal(first, torch.rand(2)))
    True
    """
    # Only the generators in use: torch.manual_seed would reset those of every other GPU as well.
    cuda = device.type == "cuda"
    with _generators, torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def generator_states(device: torch.device) -> list[Tensor]:
    """The states of the generators that a computation on ``device`` may draw from.

    >>> before = generator_states(CPU)
    >>> with seeded(3, CPU):
    ...     print(torch.equal(generator_states(CPU)[0], before[0]))
    False
    """
    states = [torch.default_generator.get_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def random_copy(net: nn.Module, seed: int, initialise: Callable[[nn.Module], None] | None = None) -> nn.Module:
    """A copy of ``net`` on the CPU with newly drawn parameters.

    Args:
        net: never changed.
        seed: of the draw; the same on every device.
        initialise: draws the whole net in place; None: each module's ``reset_parameters`` (or
            ``_reset_parameters``), children before their parents, as their constructors do.

    Raises:
        InvalidModel: a module owns trainable parameters but has no way to draw them.

    >>> net = nn.Linear(2, 2)
    >>> torch.equal(random_copy(net, 1).weight, random_copy(net, 1).weight)
    True
    """
    drawn = copy.deepcopy(net).to(CPU)
    if initialise is None:
        _check_resets(drawn)
    with seeded(seed, CPU):
        if initialise is None:
            drawn.apply(_reset)
        else:
            initialise(drawn)
    return drawn


def _resets(module: nn.Module) -> Callable[[], None] | None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Callable[[], None] | None = getattr(module, name, None)
        if reset is not None:
            return reset
    return None


def _reset(module: nn.Module) -> None:
    reset = _resets(module)
    if reset is not None:
        reset()


def _check_resets(net: nn.Module) -> None:
    for name, module in net.named_modules():
        owns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if owns and _resets(module) is None:
            raise InvalidModel(
                f"module {name or type(module).__name__!r} ({type(module).__name__}) has trainable parameters but no "
                f"reset_parameters: pass initialise=, a function that draws the whole net in place"
            )
