"""The readings of a checkpoint: where in it the state dict lies, and under which prefixes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint
from weightstring.text import first_line

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "model", "net", "network", "_forward_module")
"""What DataParallel, AveragedModel, torch.compile, Lightning and the like call the module that they hold; beside it
they may keep tensors of their own (``n_averaged``)."""

INSIDE = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What wrappers of single layers put into the middle of a key."""

LIGHTNING = "pytorch-lightning_version"
"""A key of Lightning's files, whose model is their ``state_dict``."""

DEPTH = 3
"""How deep a state dict may lie in a larger file."""

CANDIDATES = 8
"""State dicts of a larger file that are tried, those of the most fitting size first."""

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
        """Where in the checkpoint it is, in words; empty for the checkpoint itself."""
        place = f" at checkpoint{''.join(f'[{key!r}]' for key in self.place)}" if self.place else ""
        return place + (f" under {self.prefix!r}" if self.prefix else "")

    def below(self, head: str) -> Reading:
        """The reading below a further prefix."""
        inside = OrderedDict((name[len(head) :], value) for name, value in self.state.items() if name.startswith(head))
        beside = tuple(name for name in self.state if not name.startswith(head))
        copy_versions(self.state, inside, lambda at: f"{at}."[len(head) : -1] if f"{at}.".startswith(head) else None)
        return Reading(self.place, self.prefix + head, inside, self.beside + beside)

    def above(self, head: str) -> Reading:
        """The reading with a prefix that the module has and the checkpoint lacks."""
        outside = OrderedDict((head + name, value) for name, value in self.state.items())
        copy_versions(self.state, outside, lambda path: f"{head}{path}".removesuffix("."))
        return Reading(self.place, self.prefix, outside, self.beside)


def readings_of(source: object, expected: Mapping[str, object]) -> list[Reading]:
    """The state dicts in a checkpoint, those of the module's size first.

    Raises:
        InvalidCheckpoint: there is none.
    """
    parts = {name.partition(".")[0] for name in expected}
    nested = parts if parts.isdisjoint(expected) else set()
    readings = [Reading(place, "", state) for place, state in _state_dicts(source, (), nested)]
    if not readings:
        raise InvalidCheckpoint(
            f"the checkpoint {_described(source)}: pass an nn.Module or its state dict; of a file, "
            "ws.read_checkpoint(path); a θ that is flat already needs only torch.as_tensor"
        )
    return sorted(readings, key=lambda reading: abs(len(reading.state) - len(expected)))[:CANDIDATES]


def _described(source: object) -> str:
    if isinstance(source, Mapping):
        name, value = next(iter(source.items()), ("", None))
        return f"holds no tensors: {name!r} is a {type(value).__name__}" if source else "is empty"
    return f"is a {type(source).__name__}"


def _state_dicts(
    source: object, place: tuple[str, ...], parts: Set[str]
) -> Iterator[tuple[tuple[str, ...], OrderedDict[str, object]]]:
    """Every mapping from names to tensors in a checkpoint, and the keys that lead to it.

    Mappings in a mapping, as in a TensorDict, are names with dots, where all of the module's ``parts`` are among them.
    """
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
    if parts and parts <= named.keys() and all(isinstance(named[part], Mapping) for part in parts):
        yield place, OrderedDict(_flattened({part: named[part] for part in parts}, ""))
    if any(isinstance(value, Tensor) for value in named.values()):
        copy_versions(source, named, lambda path: path)
        yield place, named
    if LIGHTNING in named:  # beside it may be others, which it does not load
        named = OrderedDict((name, named[name]) for name in ("state_dict",) if name in named)
    if len(place) < DEPTH:
        for name, value in named.items():
            if isinstance(value, Mapping | nn.Module):
                yield from _state_dicts(value, (*place, name), parts)


def _flattened(nested: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def by_prefix(reading: Reading, expected: Mapping[str, object]) -> Iterator[Reading]:
    """The reading as it is, without wrappers' prefixes, and with those of the module or its layers."""
    ahead = [reading]
    for held in ahead:  # grows
        yield held
        heads = Counter(name.partition(".")[0] for name in held.state if "." in name)
        wrapped = [head for head, count in heads.items() if count == len(held.state) or head in WRAPPERS]
        ahead += [held.below(f"{head}.") for head in wrapped]
    firsts: dict[int, str] = {}  # a head that is tied to what is inside does not count as beside it
    for name, tensor in expected.items():
        if not replaceable(tensor):
            firsts.setdefault(id(tensor), name)
    prefix = _common(firsts.values())
    for held in ahead:
        if prefix and not any(name.startswith(prefix) for name in held.state):
            yield held.above(prefix)
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


def copy_versions(source: object, to: OrderedDict[str, object], rename: Callable[[str], str | None]) -> None:
    """Carry the modules' versions over to other keys; they tell ``load_state_dict`` what to convert."""
    versions = getattr(source, "_metadata", None)
    if isinstance(versions, Mapping):
        paths = ((rename(path), version) for path, version in versions.items() if isinstance(path, str))
        vars(to)["_metadata"] = OrderedDict((path, version) for path, version in paths if path is not None)


def replaceable(value: object) -> bool:
    """Whether a checkpoint may lack it: a counter such as ``num_batches_tracked``, or state that is no tensor."""
    return not isinstance(value, Tensor) or (
        value.ndim == 0 and not value.is_floating_point() and not value.is_complex()
    )
