"""What every store of runs must keep to, checked by a search that is interrupted wherever that can happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from weightstring.arrays import Thetas
from weightstring.errors import InvalidRun
from weightstring.problem.surfaces import Ring
from weightstring.runs.connect import connect
from weightstring.runs.recording import load
from weightstring.runs.result import Result
from weightstring.store import Round, Store, StoreLike, opened

CONTENTS = (b"", b"{}", bytes(range(256)) * 400)
SURFACE, THRESHOLD = Ring(size=3, radii=(1.0, 1.5)), 0.1


def check_store(empty: Callable[[], StoreLike]) -> None:
    """Hold a store against all that a run relies on.

    It is checked that a name holds what was written last, also when the place is opened again; that a search which
    was interrupted before or after any of its rounds goes on to the same bits; that a verdict reads back as it was
    written; and that changed models are noticed.

    Args:
        empty: makes a new place where nothing is kept: what :func:`weightstring.connect` takes as ``store``.

    Raises:
        AssertionError: it does not keep to something; in one line, what.

    >>> check_store(dict)
    """
    _check_names(opened(empty()))
    whole = _search(empty())
    rounds = len(whole.history)
    for number in range(rounds):
        for after in (False, True):
            place = empty()
            with _interrupted(opened(place), number, after) as store:
                _search(store)
            when = f"interrupted {'after' if after else 'before'} its round {number} was written, a search"
            _require(not opened(place).finished, f"{when} has a verdict")
            kept = len(opened(place).replay())
            _require(kept == number + after, f"{when} has {kept} rounds")
            _require(_same(_search(place), whole), f"{when} goes on to another string")
    _check_verdict(place, whole)


def _check_names(store: Store) -> None:
    name, within = "beads/tried.safetensors", store.inside("plain")
    with store.locked():
        _require(store.read("never.json") is None, "a name that was never written must read as None")
        store.remove("never.json")
        for content in CONTENTS:
            for each in ("tried.json", "tried.json"):  # the second time it is replaced
                store.write(each, content)
                _require(store.read(each) == content, f"{len(content)} bytes are read back as others")
        _require(store.has("tried.json"), "has() knows nothing of a name that was written")
        _require(not within.has("tried.json"), "a store within it holds the same names")
        store.remove("tried.json")
        _require(store.read("tried.json") is None, "a name that was removed can still be read")
        digest = store.keep("tried", torch.eye(3))
        _require(torch.equal(store.models("tried", digest), torch.eye(3)), "models are read back as others")
        store.remove(name)


def _check_verdict(place: StoreLike, whole: Result) -> None:
    found, store = load(place, SURFACE), opened(place)
    _require(_same(found, whole), "the result that is read back is another")
    _require(_same(_search(place), whole), "the same call makes another run of a finished one")
    content = store.read("beads/string.safetensors")
    _require(content is not None, "the string's models are not under the name beads/string.safetensors")
    assert content is not None
    with store.locked():
        store.write("beads/string.safetensors", content[:-1] + bytes([content[-1] ^ 1]))
    try:
        load(place)
    except InvalidRun:
        return
    raise AssertionError("models that were changed are read back without a word")


@contextmanager
def _interrupted(store: Store, number: int, after: bool) -> Iterator[Store]:
    """A store in which a search gets only as far as a round."""
    append, written = store.append, 0

    def ended(finished: Round) -> Thetas | None:
        nonlocal written
        if written == number and not after:
            raise _Interruption
        kept = append(finished)
        if written == number:
            raise _Interruption
        written += 1
        return kept

    store.append = ended  # type: ignore[method-assign]
    try:
        yield store
    except _Interruption:
        return
    finally:
        del store.append
    raise AssertionError(f"a search of more than {number} rounds appended fewer")


class _Interruption(BaseException):
    """As if the process had been killed."""


def _search(store: StoreLike) -> Result:
    return connect(SURFACE, *SURFACE.ends, THRESHOLD, store=store, progress=False)


def _same(one: Result, other: Result) -> bool:
    return (
        one.outcome == other.outcome
        and torch.equal(one.string.beads, other.string.beads)
        and [each.values for each in one.history] == [each.values for each in other.history]
    )


def _require(holds: bool, says: str) -> None:
    if not holds:
        raise AssertionError(f"the store breaks a promise: {says}")
