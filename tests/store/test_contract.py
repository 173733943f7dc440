"""Every store of ours keeps to what is asked of an outsider's; and the checks fire."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.store import Mapped, RunDirectory, Store, opened
from weightstring.testing.stores import check_store

RING = Ring(size=3, radii=(1.0, 1.5))


@pytest.mark.slow
def test_a_run_directory_keeps_to_the_contract(tmp_path: Path) -> None:
    places = itertools.count()
    check_store(lambda: tmp_path / str(next(places)))


@pytest.mark.slow
def test_a_dict_keeps_to_the_contract() -> None:
    check_store(dict)


class Forgetful(dict):
    """Keeps nothing that is written a second time."""

    def __setitem__(self, name: str, content: bytes) -> None:
        self.setdefault(name, content)


class Short(dict):
    """Keeps half of what is large."""

    def __setitem__(self, name: str, content: bytes) -> None:
        super().__setitem__(name, content[:50_000])


class Sticky(dict):
    """Removes nothing."""

    def pop(self, *arguments: object) -> None:
        return None


class Unmarked(Mapped):
    """Writes rounds without their lines."""

    def write(self, name: str, content: bytes) -> None:
        if not name.startswith("journal/"):
            super().write(name, content)


@pytest.mark.parametrize(
    ("empty", "says"),
    [
        (Forgetful, "2 bytes are read back as others"),
        (Short, "102400 bytes are read back as others"),
        (Sticky, "a name that was removed can still be read"),
        (lambda: Unmarked({}), "interrupted after its round 0 was written, a search has 0 rounds"),
    ],
)
def test_what_breaks_the_contract_is_told(empty: type, says: str) -> None:
    with pytest.raises(AssertionError, match=f"^the store breaks a promise: {says}"):
        check_store(empty)


def test_a_mapping_holds_what_a_directory_does(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    for store in (kept, tmp_path / "run"):
        ws.connect(RING, *RING.ends, 0.1, store=store, certify=True, align=False, progress=False)
    directory = RunDirectory(tmp_path / "run")
    lines = b"".join(content + b"\n" for name, content in sorted(kept.items()) if name.startswith("journal/"))
    assert lines.count(b"\n") == (tmp_path / "run" / "journal.jsonl").read_bytes().count(b"\n")
    for name, content in kept.items():
        if name.startswith("beads/"):
            assert directory.read(name) == content
    assert ws.load(kept).certificate is not None
    assert torch.equal(ws.load(kept).string.beads, ws.load(tmp_path / "run").string.beads)


def test_two_runs_in_one_store_do_not_touch(tmp_path: Path) -> None:
    outer: dict[str, bytes] = {}
    ws.connect(RING, *RING.ends, 0.1, store=outer, progress=False)
    before = dict(outer)
    ws.connect(RING, *RING.ends, 0.2, store=opened(outer).plain, progress=False)
    assert {name: content for name, content in outer.items() if not name.startswith("plain/")} == before
    assert ws.load(opened(outer).plain).threshold == 0.2


def test_another_search_in_a_store_is_refused(refused) -> None:
    kept: dict[str, bytes] = {}
    ws.connect(RING, *RING.ends, 0.1, store=kept, progress=False)
    with refused(ws.InvalidRun, "^the dict given as store: holds another run: the threshold differs"):
        ws.connect(RING, *RING.ends, 0.2, store=kept, progress=False)


def test_what_is_no_store_is_refused(refused) -> None:
    with refused(
        InvalidSetting, r"^store=3: give a directory, a URL, a mapping of names to bytes, or a weightstring Store$"
    ):
        opened(3)  # type: ignore[arg-type]


class Upper(MutableMapping):
    """A mapping that is no dict."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        return self.kept[name.upper()]

    def __setitem__(self, name: str, content: bytes) -> None:
        self.kept[name.upper()] = content

    def __delitem__(self, name: str) -> None:
        del self.kept[name.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


def test_any_mapping_and_any_store_will_do() -> None:
    own = opened(Upper())
    assert isinstance(own, Store)
    assert opened(own) is own
    result = ws.connect(RING, *RING.ends, 0.1, store=own, progress=False)
    assert torch.equal(ws.load(own).string.beads, result.string.beads)
