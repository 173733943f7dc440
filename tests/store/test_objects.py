"""Runs in an object store: what a search relies on there, and one process at a time."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting, RunLocked, StoreFailed
from weightstring.problem.surfaces import Ring
from weightstring.store import ObjectStore, RunDirectory, leases, opened
from weightstring.tasks import load_task
from weightstring.testing.stores import check_store

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
RING = Ring(size=3, radii=(1.0, 1.5))


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}/run"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    fsspec.filesystem("s3", use_listings_cache=False).mkdir("bucket")
    yield "s3://bucket"
    server.stop()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def search(store: object, threshold: float = 0.1) -> ws.Result:
    return ws.connect(RING, *RING.ends, threshold, store=store, progress=False)


def rounds(store: object) -> int:
    return len(opened(store).replay())


@pytest.mark.slow
def test_memory_keeps_to_the_contract(url: str) -> None:
    numbers = count()
    check_store(lambda: f"{url}/{next(numbers)}")


@pytest.mark.slow
def test_a_run_in_a_bucket_is_that_of_a_directory(bucket: str, tmp_path: Path) -> None:
    result, expected = search(f"{bucket}/run"), search(tmp_path / "run")
    assert torch.equal(result.string.beads, expected.string.beads)
    assert ws.load(f"{bucket}/run").outcome == expected.outcome
    store = opened(f"{bucket}/run")
    assert isinstance(store, ObjectStore)
    assert store.names("journal") == [f"journal/{number:06d}.json" for number in range(len(expected.history))]
    assert not store.create("journal/000000.json", b"another")
    with store.locked(), pytest.raises(RunLocked, match=r"is writing this run, heard of \d+ s ago"), store.locked():
        pass


def test_a_search_in_memory_goes_on_to_the_same_string(url: str) -> None:
    first = ws.connect(RING, *RING.ends, 0.1, store=url, stop=ws.MaxBeads(3), progress=False)
    assert not first.connected
    assert rounds(url) > 0
    whole, again = search({}), search(url)
    assert torch.equal(again.string.beads, whole.string.beads)
    assert torch.equal(ws.load(url).string.beads, whole.string.beads)


def test_a_file_url_is_a_run_directory(tmp_path: Path) -> None:
    store = opened(f"file://{tmp_path}/run")
    assert isinstance(store, RunDirectory)
    assert store.path == tmp_path / "run"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("sftp://host/run", "sftp:// is no object store that runs can be kept in; give a directory, or one of memory"),
        ("gs://bucket/run", "needs gcsfs: pip install gcsfs"),
        (Path("s3://bucket/run"), "a URL must be a str; pathlib takes one of its slashes"),
    ],
)
def test_what_is_no_object_store_is_refused(place: object, says: str) -> None:
    with pytest.raises(InvalidSetting, match=says):
        opened(place)  # type: ignore[arg-type]


def test_a_sweep_is_not_kept_in_an_object_store(url: str) -> None:
    with pytest.raises(InvalidSetting, match="single runs can lie there; give a directory that all machines share"):
        ws.sweep(load_task("polynomial"), [0.1], store=url)
    with pytest.raises(InvalidSetting, match="single runs can lie there"):
        ws.matrix(RING, RING.ends, store=url)


def test_a_bucket_that_holds_other_things_is_refused(url: str) -> None:
    opened(url).write("holiday.jpg", b"")
    with pytest.raises(InvalidRun, match=r"holds 'holiday.jpg' but no run; choose an empty or new prefix"):
        search(url)


def test_one_process_at_a_time_writes(url: str) -> None:
    store = opened(url)
    with store.locked(), pytest.raises(RunLocked, match=r"heard of \d+ s ago; wait for it"):
        search(url)
    assert search(url).connected
    assert len(store.names("lock")) == 1  # type: ignore[attr-defined]


def ended(url: str, **changes: object) -> leases.Lease:
    """A lock that its process holds for ever."""
    store = ObjectStore(url)
    lease = leases.Lease.acquired(store)
    lease._over.set()
    if changes:
        store.write(
            "lock/000001.json", leases.msgspec.json.encode(leases.msgspec.structs.replace(lease._owner, **changes))
        )
    return lease


def test_a_lock_is_taken_over_at_once_where_its_process_is_known_to_have_ended(url: str) -> None:
    ended(url, pid=2**22 + 1)
    assert search(url).connected


def test_the_lock_of_another_machine_is_taken_over_when_it_is_silent(url: str, monkeypatch) -> None:
    lease = ended(url, host="elsewhere")
    with pytest.raises(RunLocked, match=r"on elsewhere is writing this run, heard of \d+ s ago"):
        search(url)
    monkeypatch.setattr(leases, "STALE", 0.05)
    time.sleep(0.1)
    assert search(url).connected
    with pytest.raises(StoreFailed, match="another goes on with the run"):
        lease.require()


def test_a_round_is_never_written_twice(url: str) -> None:
    whole: dict[str, bytes] = {}
    search(whole)
    first = opened(whole).replay()[0]
    one, other = ObjectStore(url), ObjectStore(url)
    assert other._begin_line() == 0  # both believe that they may
    one.append(first)
    with pytest.raises(StoreFailed, match="another process wrote this round meanwhile"):
        other.append(first._replace(seconds=first.seconds + 1))
    other._count = 0
    other.append(first)  # a request that was repeated since its answer got lost


class Overwriting:
    """A file system that knows nothing of creating only what is absent."""

    def __init__(self) -> None:
        self._files = fsspec.filesystem("memory")

    def pipe_file(self, path: str, content: bytes, mode: str = "overwrite") -> None:
        self._files.pipe_file(path, content)

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self._files, name)  # type: ignore[no-any-return]


def test_a_store_that_can_hold_no_lock_is_refused(url: str) -> None:
    store = ObjectStore(url, Overwriting())
    with pytest.raises(StoreFailed, match="overwrites an object that was to be created only if absent"):
        search(store)


def test_what_the_vendors_library_raises_is_told_in_one_line(url: str, monkeypatch) -> None:
    class Refusing(Overwriting):
        def cat_file(self, path: str) -> bytes:
            raise PermissionError("no\nkeys")

    with pytest.raises(InvalidRun, match=r"manifest.json: cannot be read: no keys$"):
        ObjectStore(url, Refusing()).manifest()


def test_a_store_travels_without_its_lock(url: str) -> None:
    store = opened(url)
    with store.locked():
        copy = pickle.loads(pickle.dumps(store))
    assert str(copy) == url
    assert copy._lease is None
