"""A checkpoint in a copy of the module, put there by torch's own rules, under whichever names fit.

``load_state_dict`` knows versions, pre-hooks, renamed keys and modules that load themselves, so it is asked, never
imitated. What it is asked about are the readings of a checkpoint: the state dict itself or one inside a larger file,
with the prefix of a wrapper before its keys or without. A reading fits if torch loads all of it and misses nothing.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.copying import copied
from weightstring.problem.data import form
from weightstring.problem.flat import identical, named_tensors
from weightstring.problem.functional import first_line

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "model", "net", "network", "_forward_module")
"""What DataParallel, AveragedModel, torch.compile, Lightning and the like call the module that they hold; beside it
they may keep tensors of their own (``n_averaged``)."""

INSIDE = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What wrappers of single layers put into the middle of a key."""

DEPTH = 3
"""How deep a state dict may lie in a larger file."""

CANDIDATES = 8
"""State dicts of a larger file that are tried, those of the most fitting size first."""

NAMED = 3
"""How many keys a message names."""

REMEDY = "pass a checkpoint of the same module, or load it as your own code does and pass (or save) that module"


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read a checkpoint.

    Args:
        place: the keys that lead to the state dict in a larger file.
        prefix: what was before its keys.
        state: the state dict.
        beside: keys that do not have the prefix.
    """

    place: tuple[str, ...]
    prefix: str
    state: OrderedDict[str, object]
    beside: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Where it is, in words that follow a subject; empty for the checkpoint itself."""
        place = f" at checkpoint{''.join(f'[{key!r}]' for key in self.place)}" if self.place else ""
        return place + (f" under {self.prefix!r}" if self.prefix else "")

    def below(self, head: str) -> Reading:
        """What is under a further prefix."""
        inside = OrderedDict((name[len(head) :], value) for name, value in self.state.items() if name.startswith(head))
        beside = tuple(name for name in self.state if not name.startswith(head))
        _copy_versions(self.state, inside, lambda at: f"{at}."[len(head) : -1] if f"{at}.".startswith(head) else None)
        return Reading(self.place, self.prefix + head, inside, self.beside + beside)

    def above(self, head: str) -> Reading:
        """The same with a prefix that the module has and the checkpoint lacks."""
        outside = OrderedDict((head + name, value) for name, value in self.state.items())
        _copy_versions(self.state, outside, lambda path: f"{head}{path}".removesuffix("."))
        return Reading(self.place, self.prefix, outside, self.beside)


class Misfit(NamedTuple):
    """Why a reading does not fit.

    Args:
        missing: the module's keys that it lacks.
        unknown: its keys that the module lacks.
        reason: what torch refused besides, and why.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint in a copy of the module.

    Args:
        net: the copy.
        reading: which reading of the checkpoint it holds.
    """

    net: nn.Module
    reading: Reading


def load(net: nn.Module, source: nn.Module | Mapping[str, object]) -> Loaded:
    """Load a checkpoint into a copy of a module; neither is changed.

    Args:
        net: the module whose parameters are wanted.
        source: a module, its state dict, or a mapping with one inside, as training scripts save it.

    Raises:
        InvalidCheckpoint: no reading fits, or several that differ.

    >>> net = nn.Linear(1, 1)
    >>> wrapped = {"epoch": 3, "model": {"module.weight": torch.ones(1, 1), "module.bias": torch.zeros(1)}}
    >>> loaded = load(net, wrapped)
    >>> loaded.net.weight.item(), loaded.reading.where
    (1.0, " at checkpoint['model'] under 'module.'")
    """
    expected = state_of(net)
    readings = _readings(source, expected)
    tries = _tried(net, expected, readings)
    fitting = [one.answer for one in tries if isinstance(one.answer, Loaded)]
    if not fitting:
        raise InvalidCheckpoint(_refusal(net, expected, readings, tries))
    first, *others = fitting
    for other in others:
        if not _equal(first.net, other.net):
            raise InvalidCheckpoint(
                f"the module is in the checkpoint twice, with other numbers:{first.reading.where or ' as it is'} "
                f"and{other.reading.where}: pass the state dict that you mean"
            )
    return first


def state_of(net: nn.Module) -> OrderedDict[str, object]:
    """The module's own state dict, whose tensors are its parameters and buffers themselves where it lets them out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return OrderedDict(net.state_dict(keep_vars=True))
        except TypeError:  # a state_dict of the user's own
            return OrderedDict(net.state_dict())


class _Try(NamedTuple):
    """A reading that torch was asked about: the module with it, or why it does not fit."""

    reading: Reading
    answer: Loaded | Misfit


def _tried(net: nn.Module, expected: Mapping[str, object], readings: list[Reading]) -> list[_Try]:
    """All readings, tried; a prefix is looked for only where the keys do not fit as they are."""
    tries: list[_Try] = []
    settled: set[tuple[str, ...]] = set()
    for base in readings:
        for reading in _by_prefix(base, expected):
            if reading.place not in settled:
                tries.append(_try(net, expected, reading))
            if isinstance(tries[-1].answer, Loaded) and not reading.prefix:
                settled.add(reading.place)
    return tries


def _try(net: nn.Module, expected: Mapping[str, object], reading: Reading) -> _Try:
    # A copy for each: what torch has refused, it has loaded in part.
    own = copied(net)
    misfit = _misfit(own, _with_aliases(reading.state, expected), expected)
    return _Try(reading, Loaded(own, reading) if misfit is None else misfit)


def _readings(source: object, expected: Mapping[str, object]) -> list[Reading]:
    found = [Reading(place, "", state) for place, state in _state_dicts(source, ())]
    if not found:
        raise InvalidCheckpoint(
            f"the checkpoint {_described(source)}: pass an nn.Module or its state dict; a θ that is flat already needs "
            f"only torch.as_tensor"
        )
    return sorted(found, key=lambda reading: abs(len(reading.state) - len(expected)))[:CANDIDATES]


def _described(source: object) -> str:
    if isinstance(source, Mapping):
        name, value = next(iter(source.items()), ("", None))
        return f"holds no tensors: {name!r} is a {type(value).__name__}" if source else "is empty"
    return f"is a {type(source).__name__}"


def _state_dicts(source: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], OrderedDict[str, object]]]:
    """Every mapping from names to tensors in a checkpoint, and the keys that lead to it."""
    if isinstance(source, nn.Module):
        try:
            source = source.state_dict()
        except Exception as error:  # whatever a user's own may raise
            raise InvalidCheckpoint(f"the module has no state dict ({first_line(error)}): {REMEDY}") from error
        if not source:
            source = {"": torch.empty(0)}  # a module without tensors lacks every key
    if not isinstance(source, Mapping):
        return
    named = OrderedDict((name, value) for name, value in source.items() if isinstance(name, str))
    if any(isinstance(value, Tensor) for value in named.values()):
        _copy_versions(source, named, lambda path: path)
        yield place, named
    if len(place) < DEPTH:
        for name, value in named.items():
            if isinstance(value, Mapping | nn.Module):
                yield from _state_dicts(value, (*place, name))


def _by_prefix(reading: Reading, expected: Mapping[str, object]) -> Iterator[Reading]:
    """The reading as it is, without the prefixes of wrappers, with those of the module or of its layers."""
    ahead = [reading]
    for held in ahead:  # grows
        yield held
        heads = Counter(name.partition(".")[0] for name in held.state if "." in name)
        wrapped = [head for head, count in heads.items() if count == len(held.state) or head in WRAPPERS]
        ahead += [held.below(f"{head}.") for head in wrapped]
    firsts: dict[int, str] = {}  # a head that is tied to what is inside does not count as beside it
    for name, tensor in expected.items():
        if not _replaceable(tensor):
            firsts.setdefault(id(tensor), name)
    own = _common(firsts.values())
    for held in ahead:
        if own and not any(name.startswith(own) for name in held.state):
            yield held.above(own)
        renamed = _with_inner_wrappers(held, expected)
        if renamed is not None:
            yield renamed


def _common(names: Iterable[str]) -> str:
    """The longest prefix that ends in a dot and is common to all names."""
    heads = [name.split(".")[:-1] for name in names]
    alike = takewhile(lambda level: len(set(level)) == 1, zip(*heads, strict=False))
    return "".join(f"{level[0]}." for level in alike)


def _with_inner_wrappers(reading: Reading, expected: Mapping[str, object]) -> Reading | None:
    """The reading with the module's names where only wrappers of single layers tell them apart."""
    plain = {_unwrapped(name): name for name in expected}
    renamed = OrderedDict((plain.get(_unwrapped(name), name), value) for name, value in reading.state.items())
    if renamed.keys() == reading.state.keys() or len(plain) != len(expected):
        return None
    return Reading(reading.place, reading.prefix, renamed, reading.beside)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in INSIDE)


def _copy_versions(source: object, to: OrderedDict[str, object], rename: Callable[[str], str | None]) -> None:
    """Carry the modules' versions over to other keys; they tell ``load_state_dict`` what to convert."""
    versions = getattr(source, "_metadata", None)
    if isinstance(versions, Mapping):
        paths = ((rename(path), version) for path, version in versions.items() if isinstance(path, str))
        vars(to)["_metadata"] = OrderedDict((path, version) for path, version in paths if path is not None)


def _with_aliases(state: OrderedDict[str, object], expected: Mapping[str, object]) -> OrderedDict[str, object]:
    """The state with all names of its tied tensors, of which safetensors keeps one."""
    tied: dict[int, str] = {id(expected[name]): name for name in state if isinstance(expected.get(name), Tensor)}
    complete = OrderedDict(state)
    for name, own in expected.items():
        if name not in state and id(own) in tied:
            complete[name] = state[tied[id(own)]]
    _copy_versions(state, complete, lambda path: path)
    return complete


def _misfit(net: nn.Module, state: OrderedDict[str, object], expected: Mapping[str, object]) -> Misfit | None:
    """Load by torch's rules into ``net``; None where all of it was loaded and nothing is missing."""
    _forget(net)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch converts
            missing, unknown = _load(net, state)
    except Exception as error:  # whatever a module's own loading may raise
        missing = [name for name, own in expected.items() if name not in state and not _replaceable(own)]
        unknown = [name for name in state if name not in expected]
        return Misfit(tuple(missing), tuple(unknown), _reason(state, expected, error))
    buffers = dict(net.named_buffers(remove_duplicate=False))
    missing = [name for name in missing if not _replaceable(expected.get(name))]
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
    """Overwrite what a checkpoint must hold, so that a module which loads only what it likes cannot pass for loaded."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.fill_(torch.nan)


def _never_written(net: nn.Module, state: Mapping[str, object]) -> list[str]:
    forgotten = [name for name, p in net.named_parameters() if p.requires_grad and p.numel() and bool(p.isnan().all())]
    given = {name: state.get(name) for name in forgotten}
    return [name for name, own in given.items() if not (isinstance(own, Tensor) and bool(own.isnan().all()))]


def _replaceable(own: object) -> bool:
    """Whether the module can do without: a counter, such as ``num_batches_tracked``, or state that is no tensor."""
    return not isinstance(own, Tensor) or (own.ndim == 0 and not own.is_floating_point() and not own.is_complex())


def _is_ignored(net: nn.Module, name: str) -> bool:
    """Whether the module itself says, as Hugging Face's do, that old checkpoints hold more."""
    patterns = getattr(net, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


def _filled(buffer: Tensor | None, value: object) -> bool:
    """Fill a buffer that is not saved today but was when the checkpoint was written."""
    if buffer is None or not isinstance(value, Tensor) or buffer.shape != value.shape:
        return False
    buffer.copy_(value)
    return True


def _reason(state: Mapping[str, object], expected: Mapping[str, object], error: Exception) -> str:
    """What torch refuses, in one line."""
    both = [(name, state[name], own) for name, own in expected.items() if name in state and isinstance(own, Tensor)]
    for name, found, _ in both:
        if not isinstance(found, Tensor):
            return f"{name!r} is a {type(found).__name__}: a checkpoint must map names to tensors"
    other = [(name, found, own) for name, found, own in both if isinstance(found, Tensor) and found.shape != own.shape]
    if other:
        name, found, own = other[0]
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        return f"{name!r} is {form(found)} but the module's is {form(own)}{more}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[1] if len(lines) > 1 and lines[0].startswith("Error(s) in loading") else first_line(error)
    return f"torch cannot load it ({''.join(c if c.isprintable() else repr(c)[1:-1] for c in said)})"


def _refusal(net: nn.Module, expected: Mapping[str, object], readings: list[Reading], tries: list[_Try]) -> str:
    elsewhere = _under_another_name(net, expected, readings)
    if elsewhere is not None:
        beside, prefix = elsewhere.beside, elsewhere.prefix
        return (
            f"all of the module is in the checkpoint under the prefix {prefix!r}, but {_named(beside)} "
            f"{_are(beside)} beside it: if that is the module, pass {{key.removeprefix({prefix!r}): tensor for key, "
            f"tensor in checkpoint.items() if key.startswith({prefix!r})}}"
        )
    misfits = [(one.reading, one.answer) for one in tries if isinstance(one.answer, Misfit)]
    best, misfit = min(misfits, key=lambda pair: len(pair[1].missing) + len(pair[1].unknown))
    where = best.where
    said = [misfit.reason] if misfit.reason else []
    if misfit.missing:
        size = f" ({len(misfit.missing)} of the module's {len(expected)} keys)" if len(misfit.missing) > 1 else ""
        said.append(f"{_named(misfit.missing)} {_are(misfit.missing)} missing from the checkpoint{where}{size}")
    if misfit.unknown:
        said.append(f"{_named(misfit.unknown)} {_are(misfit.unknown)} in the checkpoint{where} but not in the module")
    return f"{'; '.join(said)}: {REMEDY}"


def _under_another_name(net: nn.Module, expected: Mapping[str, object], readings: list[Reading]) -> Reading | None:
    """The only part of a checkpoint that is the module, beside others: it may be another layer of the same shape."""
    for reading in readings:
        heads = {name.partition(".")[0] for name in reading.state if "." in name} - set(WRAPPERS)
        parts = [reading.below(f"{head}.") for head in sorted(heads)[:CANDIDATES]]
        fitting = [part for part in parts if part.beside and isinstance(_try(net, expected, part).answer, Loaded)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _named(names: Sequence[str]) -> str:
    """The first few names and how many more.

    >>> _named(["a", "b"]), _named(["a", "b", "c", "d", "e"])
    ("'a', 'b'", "'a', 'b', 'c' and 2 more")
    """
    shown = ", ".join(repr(name) for name in names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(named_tensors(one).values(), named_tensors(other).values(), strict=True)
    return all(x.shape == y.shape and identical(x, y) for x, y in pairs)
