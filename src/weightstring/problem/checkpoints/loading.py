"""A checkpoint in a copy of the module, put there by torch's own rules, under whichever names fit.

``load_state_dict`` knows versions, pre-hooks, renamed keys and modules that load themselves, so it is asked, never
imitated. What it is asked about are the readings of a checkpoint: the state dict itself or one inside a larger file,
with the prefix of a wrapper before its keys or without. A reading fits if torch loads all of it and misses nothing.
"""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weightstring.arrays import Theta
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.misfits import Misfit, are, named, reason
from weightstring.problem.checkpoints.readings import (
    CANDIDATES,
    REMEDY,
    WRAPPERS,
    Reading,
    by_prefix,
    copy_versions,
    readings_of,
    replaceable,
)
from weightstring.problem.copying import announces, copied
from weightstring.problem.flat import Layout
from weightstring.problem.tensors import identical, named_tensors


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint in a copy of the module.

    Args:
        net: the copy.
        reading: of the checkpoint.
        theta: what the copy's trainable parameters are views of, where they are.
    """

    net: nn.Module
    reading: Reading
    theta: Theta | None = None


def load(net: nn.Module, source: nn.Module | Mapping[str, object], layout: Layout | None = None) -> Loaded:
    """Load a checkpoint into a copy of a module; neither is changed.

    Args:
        net: the module whose parameters are wanted.
        source: a module, its state dict, or a mapping with one inside, as training scripts save it.
        layout: of θ, if the copy's parameters may be views of one, so that it is held once.

    Raises:
        InvalidCheckpoint: no reading fits, or several that differ.

    >>> net = nn.Linear(1, 1)
    >>> wrapped = {"epoch": 3, "model": {"module.weight": torch.ones(1, 1), "module.bias": torch.zeros(1)}}
    >>> loaded = load(net, wrapped)
    >>> loaded.net.weight.item(), loaded.reading.where
    (1.0, " at checkpoint['model'] under 'module.'")
    """
    expected = state_of(net)
    readings = readings_of(source, expected)
    tries = _tried(net, expected, readings, layout)
    fitting = [each.answer for each in tries if isinstance(each.answer, Loaded)]
    if not fitting:
        raise InvalidCheckpoint(_refusal(net, expected, readings, tries))
    first, *others = fitting
    for other in others:
        if not _equal(first.net, other.net):
            place = "/".join(other.reading.place)
            word = f" (for the second, the command line takes FILE#{place})" if place else ""
            raise InvalidCheckpoint(
                f"the module is in the checkpoint twice, with other numbers:{first.reading.where or ' as it is'} "
                f"and{other.reading.where}: pass the state dict that you mean{word}"
            )
    return first


def state_of(net: nn.Module) -> OrderedDict[str, object]:
    """The module's state dict, with its parameters and buffers themselves where it returns them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return OrderedDict(net.state_dict(keep_vars=True))
        except TypeError:  # a state_dict of the user's own
            return OrderedDict(net.state_dict())


class _Try(NamedTuple):
    """A reading and the result of loading it: the module, or why it does not fit."""

    reading: Reading
    answer: Loaded | Misfit


def _tried(
    net: nn.Module, expected: Mapping[str, object], readings: list[Reading], layout: Layout | None
) -> list[_Try]:
    """Try all readings; prefixes only if the keys do not fit as they are."""
    tries: list[_Try] = []
    settled: set[tuple[str, ...]] = set()
    for base in readings:
        for reading in by_prefix(base, expected):
            if reading.place not in settled:
                tries.append(_try(net, expected, reading, layout))
            if isinstance(tries[-1].answer, Loaded) and not reading.prefix:
                settled.add(reading.place)
    return tries


def _try(net: nn.Module, expected: Mapping[str, object], reading: Reading, layout: Layout | None = None) -> _Try:
    # A copy for each: what torch has refused, it has loaded in part.
    twin, theta = _twin(net, layout)
    misfit = _misfit(twin, _with_aliases(reading.state, expected), expected)
    if theta is not None and layout is not None:
        held, views = dict(twin.named_parameters(remove_duplicate=False)), layout.views(theta)
        if not all(name in held and held[name].data_ptr() == view.data_ptr() for name, view in views.items()):
            theta = None  # the module put others in their place
    return _Try(reading, Loaded(twin, reading, theta) if misfit is None else misfit)


def _twin(net: nn.Module, layout: Layout | None) -> tuple[nn.Module, Theta | None]:
    """A copy of a module, and θ if its trainable parameters are views of it."""
    own = dict(net.named_parameters(remove_duplicate=False))
    plain = layout is not None and all(
        entry.dtype is None and type(own[entry.name]) is nn.Parameter and not vars(own[entry.name])
        for entry in layout.entries
    )
    # What merges weights when its mode changes would write to θ.
    if layout is None or not plain or announces(net):
        return copied(net), None
    theta = torch.empty(layout.size, dtype=layout.dtype, device=own[layout.entries[0].name].device)
    pieces = zip(layout.entries, layout.pieces(theta), strict=True)
    return copied(net, {id(own[entry.name]): nn.Parameter(piece) for entry, piece in pieces}), theta


def _with_aliases(state: OrderedDict[str, object], expected: Mapping[str, object]) -> OrderedDict[str, object]:
    """The state with every name of its tied tensors: safetensors keeps one."""
    tied: dict[int, str] = {id(expected[name]): name for name in state if isinstance(expected.get(name), Tensor)}
    complete = OrderedDict(state)
    for name, tensor in expected.items():
        if name not in state and id(tensor) in tied:
            complete[name] = state[tied[id(tensor)]]
    copy_versions(state, complete, lambda path: path)
    return complete


def _misfit(net: nn.Module, state: OrderedDict[str, object], expected: Mapping[str, object]) -> Misfit | None:
    """Load into ``net`` by torch's rules; None if everything was loaded and nothing is missing."""
    _forget(net)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch converts
            missing, unknown = _load(net, state)
    except Exception as error:  # whatever a module's own loading may raise
        missing = [name for name, value in expected.items() if name not in state and not replaceable(value)]
        unknown = [name for name in state if name not in expected]
        return Misfit(tuple(missing), tuple(unknown), reason(state, expected, error))
    buffers = dict(net.named_buffers(remove_duplicate=False))
    missing = [name for name in missing if not replaceable(expected.get(name))]
    missing += [name for name in _never_written(net, state) if name not in missing]
    unknown = [name for name in unknown if not (_is_ignored(net, name) or _filled(buffers.get(name), state[name]))]
    return Misfit(tuple(missing), tuple(unknown), None) if missing or unknown else None


def _load(net: nn.Module, state: OrderedDict[str, object]) -> tuple[list[str], list[str]]:
    """The keys that are missing, and those that are unknown."""
    try:
        outcome = net.load_state_dict(state, strict=False)
    except TypeError:  # a load_state_dict of the user's own, without strict
        outcome = net.load_state_dict(state)
    return list(getattr(outcome, "missing_keys", ())), list(getattr(outcome, "unexpected_keys", ()))


def _forget(net: nn.Module) -> None:
    """Overwrite the trainable parameters, so that a module that skips some cannot pass for loaded."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.fill_(torch.nan)


def _never_written(net: nn.Module, state: Mapping[str, object]) -> list[str]:
    forgotten = [name for name, p in net.named_parameters() if p.requires_grad and p.numel() and bool(p.isnan().all())]
    given = {name: state.get(name) for name in forgotten}
    return [name for name, value in given.items() if not (isinstance(value, Tensor) and bool(value.isnan().all()))]


def _is_ignored(net: nn.Module, name: str) -> bool:
    """Whether the module declares the key ignorable, as Hugging Face's do for old checkpoints."""
    patterns = getattr(net, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


def _filled(buffer: Tensor | None, value: object) -> bool:
    """Fill a buffer that is no longer saved but is in this older checkpoint."""
    if buffer is None or not isinstance(value, Tensor) or buffer.shape != value.shape:
        return False
    buffer.copy_(value)
    return True


def _refusal(net: nn.Module, expected: Mapping[str, object], readings: list[Reading], tries: list[_Try]) -> str:
    elsewhere = _under_another_name(net, expected, readings)
    if elsewhere is not None:
        beside, prefix = elsewhere.beside, elsewhere.prefix
        return (
            f"all of the module is in the checkpoint under the prefix {prefix!r}, but {named(beside)} "
            f"{are(beside)} beside it: if that is the module, pass {{key.removeprefix({prefix!r}): tensor for key, "
            f"tensor in checkpoint.items() if key.startswith({prefix!r})}}"
        )
    misfits = [(each.reading, each.answer) for each in tries if isinstance(each.answer, Misfit)]
    best, misfit = min(misfits, key=lambda pair: len(pair[1].missing) + len(pair[1].unknown))
    where = best.where
    said = [misfit.reason] if misfit.reason else []
    if misfit.missing:
        size = f" ({len(misfit.missing)} of the module's {len(expected)} keys)" if len(misfit.missing) > 1 else ""
        said.append(f"{named(misfit.missing)} {are(misfit.missing)} missing from the checkpoint{where}{size}")
    if misfit.unknown:
        said.append(f"{named(misfit.unknown)} {are(misfit.unknown)} in the checkpoint{where} but not in the module")
    return f"{'; '.join(said)}: {REMEDY}"


def _under_another_name(net: nn.Module, expected: Mapping[str, object], readings: list[Reading]) -> Reading | None:
    """The one part of a larger checkpoint that fits the module; it may be another layer of the same shape."""
    for reading in readings:
        heads = {name.partition(".")[0] for name in reading.state if "." in name} - set(WRAPPERS)
        parts = [reading.below(f"{head}.") for head in sorted(heads)[:CANDIDATES]]
        fitting = [part for part in parts if part.beside and isinstance(_try(net, expected, part).answer, Loaded)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(named_tensors(first).values(), named_tensors(second).values(), strict=True)
    return all(x.shape == y.shape and identical(x, y) for x, y in pairs)
