"""Data sets as users have them, read once into memory in a fixed order, and refused if they are not fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem.data import Examples, Inputs, form

Source: TypeAlias = tuple[Inputs, Tensor] | Dataset[object] | Iterable[tuple[Inputs, Tensor]]
"""A data set as a user has it: (inputs, targets), a Dataset, or batches that can be read twice (a DataLoader)."""

RESERVED = ("loss", "train", "evaluate", "both")
"""What a hold-out set cannot be called: the loss, and words by which a threshold says what it binds."""

READ_BATCH = 1024
"""Examples of a Dataset read at a time; without influence on what is read."""


def read(source: object, name: str, dtype: torch.dtype, device: torch.device) -> Examples:
    """Read a data set into memory: copies on ``device``, floating tensors as ``dtype``.

    A Dataset or DataLoader is read twice and must give the same both times. A DataLoader is
    read to its last example, whatever its ``drop_last``, and with ``shuffle=True`` in its dataset's own
    order, since order carries no information here; any other sampler is used as it is.

    Args:
        source: a :data:`Source`; anything else is refused.
        name: what messages call the set.
        dtype: floating dtype of inputs and targets; integers stay as they are.
        device: where the set is kept.

    Raises:
        InvalidData: the set is empty, malformed, not finite, or changes between the two passes.

    >>> inputs, targets = torch.ones(3, 2), torch.tensor([0, 1, 1])
    >>> len(read((inputs, targets), "train", torch.float32, torch.device("cpu")))
    3
    """
    batches = _as_batches(source, name)
    # A DataLoader draws a seed for its workers from the global generator, which a reader must not move. One fork for
    # both passes: the second must not meet the draws of the first again.
    with torch.random.fork_rng(devices=[]):
        parts = [part.to(device, dtype) for part in _parts(batches, name)]
        if not parts or not sum(len(part) for part in parts):
            raise InvalidData(f"{name} has no examples: pass at least one (inputs, targets) example")
        whole = _join(parts, name)
        _check_finite(whole, name)
        again = (part.to(device, dtype) for part in _parts(batches, name))
        if not all(_same(first, second) for first, second in zip_longest(parts, again)):
            raise InvalidData(
                f"{name} changes from one pass to the next: remove random augmentation from the dataset, "
                f"a sampler that draws at random, or a generator that is empty on its second pass; "
                f"tensors and lists of batches do not change"
            )
    return whole


def holdouts(given: object) -> dict[str, object]:
    """Hold-out sets by name; a single one is called ``"holdout"``.

    Raises:
        InvalidSetting: a name that is no identifier, is taken, or is a prefix of another's.

    >>> list(holdouts({"shifted": ..., "rotated": ...})), list(holdouts((torch.ones(1, 1), torch.ones(1))))
    (['shifted', 'rotated'], ['holdout'])
    """
    if not isinstance(given, Mapping):
        return {} if given is None else {"holdout": given}
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or name in RESERVED or name.startswith("train_"):
            raise InvalidSetting(
                f"holdout set {name!r:.80}: name it by an identifier other than {', '.join(map(repr, RESERVED))} that "
                "does not begin with 'train_'; its loss is then called NAME_loss"
            )
        longer = next((other for other in given if other != name and str(other).startswith(f"{name}_")), None)
        if longer is not None:
            raise InvalidSetting(
                f"holdout sets {name!r} and {longer!r}: the one's quantities would look like the other's; rename one"
            )
    return dict(given)


def _as_batches(source: object, name: str) -> Iterable[object]:
    """The set as batches that can be read twice."""
    if isinstance(source, DataLoader):
        return _whole_in_order(source)
    if isinstance(source, Dataset):
        return DataLoader(source, batch_size=READ_BATCH)
    if isinstance(source, tuple) or (isinstance(source, list) and len(source) == 2 and isinstance(source[1], Tensor)):
        return (source,)
    if isinstance(source, Iterable) and not isinstance(source, Tensor | Mapping | str):
        return source
    raise InvalidData(f"{name} is a {type(source).__name__}: pass (inputs, targets), a torch Dataset or a DataLoader")


def _whole_in_order(loader: DataLoader[object]) -> DataLoader[object]:
    sampler = loader.sampler
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(sampler)
    if not (shuffles or loader.drop_last):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=None if shuffles or isinstance(loader.dataset, IterableDataset) else sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
        drop_last=False,
    )


def _parts(batches: Iterable[object], name: str) -> Iterator[Examples]:
    try:
        for batch in batches:
            yield _split(batch, name)
    except InvalidData:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        remedy = "pad samples to one shape in collate_fn" if "equal size" in reason else "check its samples"
        raise InvalidData(f"{name} cannot be read: {type(error).__name__}: {reason}: {remedy}") from error


def _split(batch: object, name: str) -> Examples:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise InvalidData(f"{name}: a batch is a {type(batch).__name__}{size}: every batch must be (inputs, targets)")
    inputs, targets = batch
    keys: tuple[str, ...] | None = None
    if isinstance(inputs, Mapping):
        keys, leaves = tuple(inputs), tuple(inputs.values())
    else:
        leaves = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    for what, leaf in [*(("inputs", leaf) for leaf in leaves), ("targets", targets)]:
        if not isinstance(leaf, Tensor):
            raise InvalidData(
                f"{name}: {what} contain a {type(leaf).__name__}: inputs must be a tensor, a tuple or a dict "
                f"of tensors, targets one tensor (torch.as_tensor converts arrays and numbers)"
            )
        if leaf.layout is not torch.strided:
            kind = str(leaf.layout).removeprefix("torch.")
            raise InvalidData(f"{name}: {what} contain a tensor of layout {kind}: pass it dense (tensor.to_dense())")
        if leaf.ndim == 0:
            raise InvalidData(f"{name}: {what} contain a tensor without axes: its first axis must count the examples")
    if not leaves:
        raise InvalidData(f"{name}: inputs hold no tensor: pass what net is called with")
    lengths = [len(leaf) for leaf in leaves]
    if any(length != len(targets) for length in lengths):
        counts = " and ".join(map(str, sorted(set(lengths))))
        raise InvalidData(f"{name}: {counts} inputs but {len(targets)} targets: every example needs one of each")
    return Examples(leaves, targets, keys)


def _join(parts: list[Examples], name: str) -> Examples:
    first = parts[0]
    for part in parts:
        if part.keys != first.keys or len(part.leaves) != len(first.leaves):
            raise InvalidData(f"{name}: batches hold different inputs, {first.form()} and {part.form()}: keep one form")
        for expected, given in zip((*first.leaves, first.targets), (*part.leaves, part.targets), strict=True):
            if expected.shape[1:] != given.shape[1:] or expected.dtype != given.dtype:
                raise InvalidData(
                    f"{name}: batches hold samples of {form(expected[0])} and of {form(given[0])}: "
                    f"pad samples to one shape in collate_fn"
                )
    # torch.cat copies even a single tensor: later changes of the user's data cannot change the loss.
    leaves = tuple(torch.cat(leaf) for leaf in zip(*(part.leaves for part in parts), strict=True))
    return Examples(leaves, torch.cat([part.targets for part in parts]), first.keys)


def _check_finite(examples: Examples, name: str) -> None:
    """Refuse what makes every loss NaN; −inf among the inputs is how attention masks are written."""
    for what, tensors in (("inputs", examples.leaves), ("targets", (examples.targets,))):
        for tensor in tensors:
            if not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            finite = torch.isfinite(tensor)
            if finite.all() or (what == "inputs" and not tensor.is_complex() and (finite | tensor.isneginf()).all()):
                continue
            raise InvalidData(
                f"{name}: {int((~finite).sum())} of {tensor.numel()} numbers in the {what} are NaN or infinite as "
                f"{tensor.dtype}: remove or replace them"
            )


def _same(one: Examples | None, other: Examples | None) -> bool:
    if one is None or other is None or one.keys != other.keys or len(one.leaves) != len(other.leaves):
        return False
    pairs = zip((*one.leaves, one.targets), (*other.leaves, other.targets), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)
