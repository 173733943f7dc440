"""Data sets as users have them, read once into memory in a fixed order, and refused if they are not fixed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.memory import is_out_of_memory, machine_bytes
from weightstring.problem.datasets.data import READ_BATCH, Examples, form
from weightstring.problem.datasets.finite import check_finite
from weightstring.problem.datasets.hosted import CPU, fits, placed
from weightstring.problem.datasets.stored import Stored
from weightstring.problem.datasets.streaming import UNCHANGING, Streamed, is_pair, stored_set
from weightstring.problem.datasets.tables import Table, as_tensor
from weightstring.problem.precision import Dtypes

Array: TypeAlias = Tensor | np.ndarray | Table
Pair: TypeAlias = tuple[Array | tuple[Array, ...] | Mapping[str, Array], Array]
"""(inputs, targets), one example per row."""

Source: TypeAlias = Pair | Dataset[object] | Iterable[Pair] | Streamed
"""A data set as a user has it: (inputs, targets), a Dataset, batches that can be read twice (a DataLoader), or one that
stays on disk."""

LOG = logging.getLogger("weightstring")

RESERVED = ("loss", "train", "evaluate", "both")
"""What a hold-out set cannot be called: the loss, and words by which a threshold says what it binds."""

PIECE_BYTES = 2**26
"""Bytes of a loader's batches that are put together as soon as they are read."""

CONVERT = "torch.as_tensor converts arrays and numbers"
"""What to do about what is no tensor."""


def read(
    source: object, name: str, dtype: torch.dtype | None, device: torch.device, targets: torch.dtype | None = None
) -> Examples | Stored:
    """Read a data set into memory: copies on ``device``, floating tensors as ``dtype``; what is stored stays there.

    A Dataset or DataLoader is read twice and must give the same both times. A DataLoader is
    read to its last example, whatever its ``drop_last``, and with ``shuffle=True`` in its dataset's own
    order, since order carries no information here; any other sampler is used as it is.

    Args:
        source: a :data:`Source`; anything else is refused.
        name: what messages call the set.
        dtype: floating dtype of the inputs; None: as they are. Integers stay as they are.
        device: where it is computed with, and kept if there is room for it.
        targets: floating dtype of the targets; None: as the inputs.

    Raises:
        InvalidData: the set is empty, malformed, not finite, or changes between the two passes.

    >>> inputs, targets = torch.ones(3, 2), torch.tensor([0, 1, 1])
    >>> len(read((inputs, targets), "train", torch.float32, torch.device("cpu")))
    3
    """
    stored = stored_set(source, partial(_split, name=name), name, Dtypes(dtype, targets), device)
    if stored is not None:
        return stored
    try:
        return _brought(source, name, Dtypes(dtype, targets), device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"allocate (\d+) bytes", str(error))
        how_much = f" (another {int(wanted[1]) / 2**30:.3g} GiB)" if wanted else ""
        raise InvalidData(
            f"{name} does not fit into memory{how_much} of {machine_bytes(CPU) / 2**30:.3g} GiB: leave it on disk, as "
            "tensors mapped from their files (numpy.memmap) or as ws.streamed(dataset)"
        ) from None


def _brought(source: object, name: str, dtypes: Dtypes, device: torch.device) -> Examples | Stored:
    """The set in memory."""
    dtype, targets = dtypes
    if is_pair(source):
        given = _split(source, name)
        if dtype == torch.float32 and any(leaf.dtype == torch.float64 for leaf in given.leaves):
            LOG.info(
                "%s: inputs are float64 and are rounded to the model's float32; dtype=torch.float64 keeps them", name
            )
        # Copied, so that later changes of the user's cannot change the loss.
        whole = given.to(device if fits(given.nbytes, device) else CPU, dtype, targets, copy=True)
        _check(whole, name)
        return placed(whole, name, dtypes, device)
    batches = _as_batches(source, name)
    # A DataLoader draws a seed for its workers from the global generator, which a reader must not move. One fork for
    # both passes: the second must not meet the draws of the first again.
    with torch.random.fork_rng(devices=[]):
        moved = (part.to(CPU, dtype, targets) for part in _parts(batches, name))
        whole = _join(list(_in_pieces(moved, name)), name)
        _check(whole, name)
        if not _repeats(whole, (part.to(CPU, dtype, targets) for part in _parts(batches, name))):
            raise InvalidData(f"{name} changes from one pass to the next: {UNCHANGING}")
    return placed(whole, name, dtypes, device)


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
        return whole_in_order(source)
    if isinstance(source, Dataset):
        return DataLoader(source, batch_size=READ_BATCH)
    if isinstance(source, Iterable) and not isinstance(source, Tensor | Mapping | str):
        return source
    raise InvalidData(f"{name} is a {type(source).__name__}: pass (inputs, targets), a torch Dataset or a DataLoader")


def whole_in_order(loader: DataLoader[object]) -> DataLoader[object]:
    """A loader that gives the whole of its dataset, without shuffling it."""
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
    return (_split(batch, name) for batch in told(batches, name))


def told(batches: Iterable[object], name: str) -> Iterator[object]:
    """The batches; what goes wrong while they are read is told in one line."""
    try:
        yield from batches
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
    leaves = tuple(as_tensor(leaf, f"{name}: inputs") for leaf in leaves)
    targets = as_tensor(targets, f"{name}: targets", targets=True)
    for what, leaf in [*(("inputs", leaf) for leaf in leaves), ("targets", targets)]:
        if not isinstance(leaf, Tensor):
            raise InvalidData(
                f"{name}: {what} contain a {type(leaf).__name__}: inputs must be a tensor, a tuple or a dict "
                f"of tensors, targets one tensor ({CONVERT})"
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


def _in_pieces(parts: Iterable[Examples], name: str) -> Iterator[Examples]:
    """Parts put together to pieces so large that an allocator gives back the memory of each."""
    held: list[Examples] = []
    size = 0
    for part in parts:
        held.append(part)
        size += part.nbytes
        if size >= PIECE_BYTES:
            yield _join(held, name)  # which empties the list
            size = 0
    if held:
        yield _join(held, name)


def _join(parts: list[Examples], name: str) -> Examples:
    """All parts as one set; they are let go of one by one, so that hardly more is ever held."""
    if not parts:
        _no_examples(name)
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
    keys, end = first.keys, sum(map(len, parts))
    whole = [leaf.new_empty((end, *leaf.shape[1:])) for leaf in (*first.leaves, first.targets)]
    del first, part, expected, given
    while parts:
        last = parts.pop()
        for leaf, given in zip(whole, (*last.leaves, last.targets), strict=True):
            leaf[end - len(last) : end] = given
        end -= len(last)
    return Examples(tuple(whole[:-1]), whole[-1], keys)


def _no_examples(name: str) -> NoReturn:
    raise InvalidData(f"{name} has no examples: pass at least one (inputs, targets) example")


def _check(examples: Examples, name: str) -> None:
    """Refuse an empty set, and what makes every loss NaN."""
    if not len(examples):
        _no_examples(name)
    check_finite(examples, name)


def _repeats(whole: Examples, again: Iterable[Examples]) -> bool:
    """Whether a second pass gives the same, however it is cut."""
    start = 0
    for part in again:
        stop = start + len(part)
        first = whole.take(slice(start, stop))
        if part.keys != whole.keys or len(part.leaves) != len(whole.leaves) or stop > len(whole):
            return False
        pairs = zip((*first.leaves, first.targets), (*part.leaves, part.targets), strict=True)
        if not all(torch.equal(one, other) for one, other in pairs):
            return False
        start = stop
    return start == len(whole)
