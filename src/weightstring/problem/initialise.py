"""Random models: every module's own initialisation under a seed, the global generators untouched."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from weightstring.errors import InvalidModel
from weightstring.problem.copying import copied
from weightstring.problem.digests.digest import tensor_bytes

CPU = torch.device("cpu")

_generators = threading.RLock()
"""Torch's generators are those of the whole process: threads must take turns with them."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from generators that start at ``seed``, torch's, Python's and NumPy's, then put them back as they were.

    >>> with seeded(3, torch.device("cpu")):
    ...     first = torch.rand(2), random.random()
    >>> with seeded(3, torch.device("cpu")):
    ...     print(torch.equal(first[0], torch.rand(2)), first[1] == random.random())
    True True
    """
    # Only the generators in use: torch.manual_seed would reset those of every other GPU as well.
    cuda = device.type == "cuda"
    with _generators, torch.random.fork_rng(devices=[device] if cuda else []), _python_and_numpy(seed):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _python_and_numpy(seed: int) -> Iterator[None]:
    kept, kept_numpy = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(kept)
        numpy.random.set_state(kept_numpy)


def generator_states(device: torch.device) -> tuple[object, ...]:
    """Comparable states of all generators that a computation on ``device`` may draw from.

    >>> before = generator_states(CPU)
    >>> with seeded(3, CPU):
    ...     print(generator_states(CPU)[0] == before[0])
    False
    """
    states = [torch.default_generator.get_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    state = numpy.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    _, key, *rest = state
    return (*map(tensor_bytes, states), random.getstate(), numpy.asarray(key).tobytes(), *rest)


def random_copy(net: nn.Module, seed: int, initialise: Callable[[nn.Module], None] | None = None) -> nn.Module:
    """A copy of ``net`` on the CPU with newly drawn parameters.

    Args:
        net: never changed.
        seed: of the draw; the same on every device.
        initialise: draws the whole net in place; None: each module's ``reset_parameters`` (or
            ``_reset_parameters``), then the ``_init_weights(module)`` of the model around it, as Hugging Face, timm
            and many scripts call it; children before their parents, as their constructors do.

    Raises:
        InvalidModel: a module owns trainable parameters but has no way to draw them.

    >>> net = nn.Linear(2, 2)
    >>> torch.equal(random_copy(net, 1).weight, random_copy(net, 1).weight)
    True
    """
    drawn = copied(net).to(CPU)
    if initialise is None:
        _check_resets(drawn)
    scramble(drawn)
    with seeded(seed, CPU):
        if initialise is None:
            for module, draw in _drawers(drawn):
                _reset(module)
                if draw is not None:
                    with torch.no_grad():
                        draw(module)
        else:
            initialise(drawn)
    return drawn


def check_draws(net: nn.Module, seed: int, initialise: Callable[[nn.Module], None] | None = None) -> None:
    """Refuse an initialisation by which two seeds give the same numbers, unless those follow a plain pattern.

    Args:
        net: never changed.
        seed: it and the next are compared.
        initialise: see :func:`random_copy`.

    Raises:
        InvalidModel: a trainable parameter is not drawn, or drawn from a seed of its own.
    """
    first, second = (dict(random_copy(net, each, initialise).named_parameters()) for each in (seed, seed + 1))
    scrambled = copied(net).to(CPU)
    scramble(scrambled)
    kept = dict(scrambled.named_parameters())
    for name, parameter in first.items():
        if not parameter.requires_grad or not torch.equal(parameter, second[name]):
            continue
        if torch.equal(parameter, kept[name]) or not _patterned(parameter.detach()):
            who = "initialise" if initialise is not None else "reset_parameters"
            raise InvalidModel(
                f"parameter {name!r} is the same for seeds {seed} and {seed + 1}: {who} leaves it as it was or draws "
                f"it from a seed of its own; pass initialise=, a function that draws the whole net in place from "
                f"torch's, Python's or NumPy's global generators"
            )


def scramble(net: nn.Module) -> None:
    """Overwrite the trainable parameters with fixed noise, so that an undrawn one is recognised."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device="cpu"))


def _patterned(parameter: Tensor) -> bool:
    """Whether numbers follow a plain pattern: few different ones (zeros, ones, identities) or all in order."""
    flat = parameter.reshape(-1).double()
    if len(torch.unique(flat)) <= max(1, min(4, len(flat) // 2), int(len(flat) ** 0.5)):
        return True
    steps = parameter.double().diff(dim=-1) if parameter.ndim else flat
    return parameter.shape[-1:] >= (6,) and bool((steps >= 0).all() | (steps <= 0).all())


def _drawers(
    module: nn.Module, around: Callable[[nn.Module], None] | None = None
) -> Iterator[tuple[nn.Module, Callable[[nn.Module], None] | None]]:
    """Every module, children first, with the ``_init_weights`` of the innermost model around it that has one."""
    own = getattr(module, "_init_weights", None)
    if inspect.ismethod(own) and len(inspect.signature(own).parameters) == 1:
        around = own
    for child in module.children():
        yield from _drawers(child, around)
    yield module, around


def _resets(module: nn.Module) -> Callable[[], None] | None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Callable[[], None] | None = getattr(module, name, None)
        if reset is not None:
            return reset
    return None


def _reset(module: nn.Module) -> None:
    reset = _resets(module)
    if reset is None:
        return
    if not parametrize.is_parametrized(module):
        reset()
        return
    # The weight of a parametrized module is computed from others: what is drawn goes back to these.
    with parametrize.cached():
        reset()
        drawn = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
    for name, value in drawn.items():
        with suppress(RuntimeError, NotImplementedError):  # a parametrization without an inverse
            setattr(module, name, value)


def _check_resets(net: nn.Module) -> None:
    names = {module: name for name, module in net.named_modules()}
    for module, draw in _drawers(net):
        if isinstance(module, parametrize.ParametrizationList):  # drawn through the module whose weight it is
            continue
        owns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if owns and _resets(module) is None and draw is None:
            raise InvalidModel(
                f"module {names[module] or type(module).__name__!r} ({type(module).__name__}) has trainable parameters "
                "but no reset_parameters: pass initialise=, a function that draws the whole net in place"
            )
