"""Checkpoints in and out: what a module would load silently wrong is refused, with its key."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.adapters import with_adapter
from weightstring.problem.checkpoints.conversion import Conversion, conversion
from weightstring.problem.checkpoints.loading import Loaded, load, state_of
from weightstring.problem.checkpoints.readings import Reading
from weightstring.problem.copying import copied
from weightstring.problem.flat import Layout, Own
from weightstring.problem.tensors import identical, named_tensors


@dataclass(frozen=True, eq=False)
class Saved:
    """What a checkpoint holds.

    Args:
        theta: its trainable parameters, in θ's dtype: exactly the numbers that the module computes with.
        constants: its frozen parameters and buffers, by the names that the problem's module has for them.
        net: the copy that it was loaded into.
        origin: the module that was given; None where a state dict was.
        conversion: what became of numbers of another dtype; None where there were none.
    """

    theta: Theta
    constants: Mapping[str, Tensor]
    net: nn.Module
    origin: nn.Module | None
    conversion: Conversion | None = None


@dataclass(frozen=True, eq=False)
class Template:
    """Reads and writes checkpoints of a problem's module.

    Args:
        net: the module, which stays as it is.
        layout: of its trainable parameters.
        original: dtypes of the user's own module, by name.

    >>> net = nn.Linear(2, 1)
    >>> template = Template(net, Layout.of(net), {})
    >>> template.read({"weight": torch.ones(1, 2), "bias": torch.zeros(1)}).theta
    tensor([1., 1., 0.])
    """

    net: nn.Module
    layout: Layout
    original: Mapping[str, torch.dtype]

    @cached_property
    def own(self) -> Own:
        """The module's θ."""
        return Own(self.net, self.layout)

    def read(self, source: nn.Module | Mapping[str, object]) -> Saved:
        """A checkpoint, loaded by torch's own rules into a copy of the module: see :func:`load`.

        Raises:
            InvalidCheckpoint: it does not belong to the module, or holds numbers that are not finite.
        """
        source = with_adapter(self.net, source)
        with torch.inference_mode(False), torch.no_grad():
            loaded = load(self.net, source, self.layout)
            self._check_tied(loaded.reading)
            converted = self._conversion(loaded.reading)
            held = named_tensors(loaded.net)
            self._check_parameters(held)
            origin = _origin(source, loaded)
            tensors = named_tensors(self.net)
            constants = {
                name: held[name].detach() for name in tensors if name in held and name not in self.layout.names
            }
            # What is not saved, a module has all the same.
            constants |= _unsaved(origin, constants, state_of(self.net))
            theta = self.layout.flatten(held) if loaded.theta is None else loaded.theta
            return Saved(theta, constants, loaded.net, origin, converted)

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict that the module itself would save with the given tensors in it: detached copies."""
        return state_at(self.net, tensors)

    def _conversion(self, reading: Reading) -> Conversion | None:
        """What loading converts."""
        expected = state_of(self.net)
        names = {id(tensor): name for name, tensor in named_tensors(self.net).items()}
        given = {name: tensor for name, tensor in reading.state.items() if isinstance(tensor, Tensor)}
        computed, asked = dict[str, torch.dtype](), dict[str, torch.dtype]()
        for name, tensor in given.items():
            wanted = expected.get(name)
            if isinstance(wanted, Tensor):
                computed[name] = wanted.dtype
                asked[name] = self.original.get(names.get(id(wanted), name), wanted.dtype)
            elif tensor.is_floating_point():  # a key that torch renames
                computed[name] = self.layout.computes or tensor.dtype
                asked[name] = tensor.dtype if tensor.dtype in self.original.values() else computed[name]
        return conversion(given, computed, asked)

    def _check_tied(self, reading: Reading) -> None:
        """Refuse tied tensors with different values."""
        expected = state_of(self.net)
        tied: dict[int, str] = {}
        for name, given in reading.state.items():
            wanted = expected.get(name)
            if not isinstance(given, Tensor):
                continue
            first = tied.setdefault(id(wanted), name) if isinstance(wanted, Tensor) else name
            if first != name and not identical(given, reading.state[first]):  # type: ignore[arg-type]
                raise InvalidCheckpoint(
                    f"{first!r} and {name!r} are tied in the module but differ in the checkpoint: save it from a "
                    f"module in which they are tied"
                )

    def _check_parameters(self, held: Mapping[str, Tensor]) -> None:
        for entry in self.layout.entries:
            value = held.get(entry.name)
            if value is None or tuple(value.shape) != entry.shape:
                shape = "gone" if value is None else f"of shape {tuple(value.shape)}"
                raise InvalidCheckpoint(
                    f"{entry.name!r} is {shape} after loading where the problem has {entry.shape}: build the problem "
                    f"from a module into which the checkpoint was loaded"
                )
            if not all(alias in held and identical(held[alias], value) for alias in entry.aliases):
                raise InvalidCheckpoint(
                    f"{entry.name!r} and {entry.aliases[0]!r} are tied in the module but differ after loading: save "
                    f"the checkpoint from a module in which they are tied"
                )
            bad = int((~torch.isfinite(value)).sum())
            if bad:
                raise InvalidCheckpoint(
                    f"{entry.name!r} holds {bad} of {value.numel()} numbers that are NaN or infinite: "
                    f"its training has diverged, pass another checkpoint"
                )


def state_at(net: nn.Module, tensors: Mapping[str, Tensor], cloned: bool = True) -> dict[str, Tensor]:
    """The state dict that a module would save with some parameters and buffers in place of its own: detached copies.

    Unless ``cloned``, they are the tensors given where a state dict holds nothing but the module's own tensors.

    >>> dict(state_at(nn.Linear(1, 1), {"weight": torch.ones(1, 1), "bias": torch.zeros(1)}))
    {'weight': tensor([[1.]]), 'bias': tensor([0.])}
    """
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not cloned and (lent := _lent(net, tensors)) is not None:
            return lent
        filled = copied(net)
        for name, place in named_tensors(filled).items():
            if name in tensors:
                place.copy_(tensors[name])
        state = filled.state_dict()
    if not cloned:
        return state
    # They are those of the copy. Extra state that is no tensor is handed on, so that a strict load finds every key.
    copies = {name: held.detach() if isinstance(held, Tensor) else held for name, held in state.items()}
    written: OrderedDict[str, Tensor] = OrderedDict(copies)
    vars(written).update({"_metadata": versions} if (versions := getattr(state, "_metadata", None)) else {})
    return written


def _lent(net: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The state dict of a module with the tensors given in it, none of them copied; None where it holds others."""
    state = net.state_dict(keep_vars=True)
    names = {id(tensor): name for name, tensor in named_tensors(net).items()}
    if any(id(held) not in names for held in state.values()):
        return None
    for key, held in state.items():
        given = tensors.get(names[id(held)])
        state[key] = held.detach().clone() if given is None else given
    return state


def _origin(source: object, loaded: Loaded) -> nn.Module | None:
    """The user's module that was read, inside its wrappers."""
    for key in loaded.reading.place:
        source = source[key] if isinstance(source, Mapping) else source
    if not isinstance(source, nn.Module):
        return None
    try:
        return source.get_submodule(loaded.reading.prefix.removesuffix("."))
    except (AttributeError, RuntimeError):  # a prefix that only its state dict has, or a scripted module
        return None


def _unsaved(
    origin: nn.Module | None, constants: Mapping[str, Tensor], saved: Mapping[str, object]
) -> dict[str, Tensor]:
    """Buffers of a module that its state dict leaves out (``persistent=False``)."""
    if origin is None:
        return {}
    held = dict(origin.named_buffers(remove_duplicate=False))
    kept = {id(value) for value in saved.values()}
    return {
        name: held[name].detach().to(own.device, own.dtype)
        for name, own in constants.items()
        if name in held and name not in saved and id(own) not in kept
    }
