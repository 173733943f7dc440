"""Downloads from mirrors that answer, fail, lie, stall, and hang up; all of them on this machine."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weightstring.errors import InvalidData
from weightstring.tasks.download import download
from weightstring.tasks.files import VARIABLE, fetches, read_images

TRAIN = "train-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def missing(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_error(404)


def cut(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """Promise all, send half, hang up."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def cut_silently(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """As above, without saying how much there is."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def corrupted(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, content[:40] + bytes([content[40] ^ 1]) + content[41:])


def another(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """A sound file of the right shape with one other pixel."""
    inside = bytearray(gzip.decompress(content))
    inside[-1] ^= 1
    whole(request, gzip.compress(inside))


def login(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, b"<html>Please log in to this network</html>")


def endless(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    while not request.server.leaving.is_set():
        request.wfile.write(bytes(1 << 16))


def stalled(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    request.server.leaving.wait(20)


def nonsense(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.wfile.write(b"no HTTP at all\r\n\r\n")


@dataclass
class Mirrors:
    """Any number of mirrors in one server: the first part of a path says how it answers."""

    url: str
    asked: list[str] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def mirrors(small, monkeypatch) -> Iterator[Mirrors]:
    """Serves the small set; a mirror answers as the function its name says."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    packed = {f"{name}.gz": gzip.compress(content) for name, content in small[1].items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, mirror, name = self.path.split("/")
            serving.asked.append(f"{mirror}/{name}")
            answer: Answer = globals()[mirror]
            answer(self, packed[name])

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        leaving = threading.Event()

        def handle_error(self, *arguments: object) -> None:
            """A client that leaves before the end is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        serving = Mirrors(f"http://127.0.0.1:{server.server_port}", leaving=server.leaving)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        server.leaving.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def at(small, mirrors):
    """``at("missing", "whole")``: the small set with these mirrors, in this order."""
    return lambda *names: replace(small[0], mirrors=tuple(f"{mirrors.url}/{name}" for name in names))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class TestFetched:
    def test_all_files_into_the_folder_of_the_set(self, at, small, mirrors, tmp_path):
        images, told = at("whole"), []
        download(fetches(images, tmp_path / "new" / "data"), on_file=lambda *news: told.append(news))
        folder = tmp_path / "new" / "data" / "mnist"
        assert files(tmp_path) == sorted(f"new/data/mnist/{name}.gz" for name in images.files)
        assert told == [(folder / f"{name}.gz", f"{mirrors.url}/whole/{name}.gz") for name in images.files]
        for name, content in small[1].items():
            assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == content
        assert len(read_images(images, tmp_path / "new" / "data").train.labels) == 37

    def test_what_is_there_and_right_is_not_asked_for(self, at, small, mirrors, tmp_path):
        images, told = at("whole"), []
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
        elsewhere = tmp_path / "MNIST" / "raw" / TRAIN
        elsewhere.write_bytes(small[1][TRAIN])
        download(fetches(images, tmp_path))
        assert mirrors.asked == [f"whole/{name}.gz" for name in images.files if name != TRAIN]
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        download(fetches(images, tmp_path), on_file=lambda *news: told.append(news))
        assert len(mirrors.asked) == 3
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        expected = [elsewhere, *(tmp_path / "mnist" / f"{name}.gz" for name in images.files if name != TRAIN)]
        assert told == [(path, None) for path in expected]

    @pytest.mark.parametrize("place", ["mnist/{}.gz", "mnist/{}", "MNIST/raw/{}.gz", "{}.gz"])
    def test_a_wrong_file_gives_way(self, at, small, mirrors, tmp_path, place):
        images = at("whole")
        download(fetches(images, tmp_path))
        (tmp_path / "mnist" / f"{LABELS}.gz").unlink()
        wrong = tmp_path / place.format(LABELS)
        wrong.parent.mkdir(parents=True, exist_ok=True)
        wrong.write_bytes(b"torn")
        download(fetches(images, tmp_path))
        assert mirrors.asked[4:] == [f"whole/{LABELS}.gz"]
        assert read_images(images, tmp_path).test.labels.tolist() == list(small[1][LABELS][8:])

    @pytest.mark.parametrize(
        "bad", [missing, cut, cut_silently, corrupted, another, login, endless, nonsense], ids=lambda bad: bad.__name__
    )
    def test_a_bad_mirror_is_left_for_the_next(self, at, mirrors, tmp_path, bad):
        images = at(bad.__name__, "whole")
        download(fetches(images, tmp_path))
        assert mirrors.asked == [f"{mirror}/{name}.gz" for name in images.files for mirror in (bad.__name__, "whole")]
        assert len(read_images(images, tmp_path).test.labels) == 11

    def test_a_silent_mirror_is_left_after_the_timeout(self, at, mirrors, tmp_path):
        images = at("stalled", "whole")
        download(fetches(images, tmp_path), timeout=0.1)
        assert mirrors.asked == [f"{mirror}/{name}.gz" for name in images.files for mirror in ("stalled", "whole")]
        assert len(files(tmp_path)) == 4

    def test_where_the_environment_says(self, at, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        download(fetches(at("whole")))
        assert len(files(tmp_path / "mnist")) == 4


class TestRefused:
    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            (missing, "HTTP Error 404: Not Found"),
            (cut, "truncated or damaged gzip file|IncompleteRead"),
            (cut_silently, "truncated or damaged gzip file"),
            (corrupted, "truncated or damaged gzip file"),
            (another, f"not the {TRAIN} of mnist: its SHA-256 is [0-9a-f]{{64}}"),
            (login, "not an IDX file .*begins with 3c68746d"),
            (endless, "not an IDX file .*begins with 00000000"),
            (stalled, "timed out"),
            (nonsense, "no HTTP at all"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_no_good_mirror(self, at, mirrors, tmp_path, refused, bad, says):
        name = bad.__name__
        target = tmp_path / "mnist" / f"{TRAIN}.gz"
        whole_line = (
            f"^{TRAIN}.gz: no mirror gives it .*{mirrors.url}/{name}/{TRAIN}.gz: .*({says}).*put the file at {target}$"
        )
        with refused(InvalidData, whole_line):
            download(fetches(at(name, name), tmp_path), timeout=0.2)
        assert len(mirrors.asked) == 2
        assert files(tmp_path) == []

    def test_nobody_answers(self, small, mirrors, tmp_path, refused):
        images = replace(small[0], mirrors=("http://127.0.0.1:9", "https://127.0.0.1:9"))
        with refused(InvalidData, "no mirror gives it .*http://127.0.0.1:9/.*refused.*https://127.0.0.1:9/.*refused"):
            download(fetches(images, tmp_path))

    def test_what_was_there_stays_when_nothing_better_comes(self, at, tmp_path, refused):
        (tmp_path / "mnist").mkdir()
        path = tmp_path / "mnist" / f"{TRAIN}.gz"
        path.write_bytes(b"torn")
        with refused(InvalidData, "no mirror gives it"):
            download(fetches(at("another"), tmp_path))
        assert path.read_bytes() == b"torn"
        assert files(tmp_path) == [f"mnist/{TRAIN}.gz"]

    def test_a_directory_that_cannot_be_written(self, at, tmp_path, refused):
        (tmp_path / "mnist").write_text("a file")
        with refused(InvalidData, f"^{tmp_path}/mnist/{TRAIN}.gz: cannot be written: .*another directory by --data$"):
            download(fetches(at("whole"), tmp_path))

    def test_no_directory(self, at, mirrors, monkeypatch, refused):
        monkeypatch.delenv(VARIABLE, raising=False)
        with refused(InvalidData, "no directory of data is named"):
            download(fetches(at("whole")))
        assert mirrors.asked == []
