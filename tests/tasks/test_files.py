"""Where a set is looked for on disk, and that no other file is taken for one of its own."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest

from weightstring.errors import InvalidData
from weightstring.tasks.files import VARIABLE, find, places, read_images
from weightstring.tasks.published import IMAGE_SETS

TRAIN = "train-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture
def kept(small, tmp_path):
    """``kept(folder)``: the small set's files there, compressed or not."""

    def keep(folder: str, compressed: bool = True) -> Path:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, content in small[1].items():
            path = tmp_path / folder / (f"{name}.gz" if compressed else name)
            path.write_bytes(gzip.compress(content) if compressed else content)
        return tmp_path

    return keep


class TestFound:
    @pytest.mark.parametrize("compressed", [True, False])
    @pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
    def test_in_every_layout(self, small, kept, folder, compressed):
        images, contents = small
        train, test = read_images(images, kept(folder, compressed))
        assert (train.pixels.shape, test.pixels.shape) == ((37, 28, 28), (11, 28, 28))
        assert train.pixels.numpy().tobytes() == contents[TRAIN][16:]
        assert bytes(test.labels.tolist()) == contents[LABELS][8:]

    def test_a_file_is_what_it_holds_and_not_what_it_is_called(self, small, kept):
        root = kept("mnist")
        (root / "mnist" / f"{LABELS}.gz").write_bytes(small[1][LABELS])
        assert read_images(small[0], root).test.labels.tolist() == list(small[1][LABELS][8:])

    def test_the_first_place_is_the_one_that_is_downloaded_to(self, small, kept):
        for folder in ("mnist", "MNIST/raw", "."):
            for compressed in (True, False):
                root = kept(folder, compressed)
        expected = places(small[0], TRAIN, root)
        assert expected[0] == root / "mnist" / f"{TRAIN}.gz"
        assert len(set(expected)) == 6
        for path in expected:
            assert find(small[0], TRAIN, root) == path
            path.unlink()
        assert find(small[0], TRAIN, root) is None

    def test_by_the_environment_unless_a_directory_is_named(self, small, kept, tmp_path, monkeypatch, refused):
        monkeypatch.setenv(VARIABLE, str(kept("mnist")))
        assert len(read_images(small[0]).test.labels) == 11
        with refused(InvalidData, f"in {tmp_path}/other/mnist, "):
            read_images(small[0], tmp_path / "other")


class TestRefused:
    @pytest.mark.parametrize("value", [None, ""])
    def test_no_directory(self, refused, monkeypatch, value):
        monkeypatch.delenv(VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(VARIABLE, value)
        says = (
            "^mnist: no directory of data is named: give --data DIR .* weightstring download mnist --data DIR fetches"
        )
        with refused(InvalidData, says):
            read_images(IMAGE_SETS["mnist"])

    def test_a_missing_file(self, small, kept, refused):
        root = kept("mnist")
        (root / "mnist" / f"{LABELS}.gz").unlink()
        says = f"^mnist: there is no {LABELS}.gz in {root}/mnist, {root}/MNIST/raw, {root}; fetch it with: "
        with refused(InvalidData, f"{says}weightstring download mnist --data {root}$"):
            read_images(small[0], root)

    def test_a_directory_with_a_space_is_quoted_in_the_command(self, small, tmp_path, refused):
        with refused(InvalidData, f"--data '{tmp_path}/my data'$"):
            read_images(small[0], tmp_path / "my data")

    def test_a_file_of_another_set(self, small_sets, refused):
        fashion = small_sets / "fashion-mnist"
        (small_sets / "mnist").rename(small_sets / "elsewhere")
        for path in fashion.iterdir():
            path.rename(small_sets / path.name)
        # As many images as the other set has, or the header gives it away.
        counted = IMAGE_SETS["fashion-mnist"].files[TRAIN].shape
        with refused(InvalidData, f"its header counts {counted[0]} x 28 x 28, not 37 x 28 x 28; fetch the right one"):
            read_images(IMAGE_SETS["mnist"], small_sets)
        assert len(read_images(IMAGE_SETS["fashion-mnist"], small_sets).train.labels) == 29

    def test_real_images_of_the_other_set(self, real, tmp_path, refused):
        images, root = real
        other = IMAGE_SETS["fashion-mnist" if images.name == "mnist" else "mnist"]
        for name in images.files:
            (tmp_path / find(images, name, root).name).symlink_to(find(images, name, root))
        says = f"{TRAIN}.*: not the {TRAIN} of {other.name}: it belongs to {images.name}; fetch the right one with: "
        with refused(InvalidData, f"{says}weightstring download {other.name} --data {tmp_path}$"):
            read_images(other, tmp_path)

    @pytest.mark.parametrize("compressed", [True, False])
    def test_a_changed_pixel(self, small, kept, refused, compressed):
        root = kept("mnist", compressed)
        content = bytearray(small[1][TRAIN])
        content[100] ^= 1
        path = root / "mnist" / (f"{TRAIN}.gz" if compressed else TRAIN)
        path.write_bytes(gzip.compress(content) if compressed else content)
        says = (
            f"^{path}: not the {TRAIN} of mnist: its SHA-256 is [0-9a-f]{{64}}; fetch the right one with: weightstring"
        )
        with refused(InvalidData, says):
            read_images(small[0], root)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda content: gzip.compress(content)[:-20], "a truncated or damaged gzip file"),
            (lambda content: content[:-20], "truncated or damaged: it ends after"),
            (lambda content: content + b"0", "truncated or damaged: it goes on after"),
            (lambda content: content[:4] + struct.pack(">I", 36) + content[8:], "its header counts 36 x 28 x 28"),
            (lambda content: b"version https://git-lfs", "not an IDX file .*begins with 76657273"),
        ],
    )
    def test_a_damaged_file(self, small, kept, refused, change, says):
        root = kept("mnist")
        path = root / "mnist" / f"{TRAIN}.gz"
        path.write_bytes(change(small[1][TRAIN]))
        with refused(InvalidData, f"^{path}: {says}.*; fetch the right one with: weightstring download mnist --data"):
            read_images(small[0], root)

    @pytest.mark.skipif(not os.path.isfile("/proc/self/mem"), reason="needs a file that nobody can read")
    def test_an_unreadable_file(self, small, kept, refused):
        root = kept("mnist")
        path = root / "mnist" / f"{TRAIN}.gz"
        path.unlink()
        path.symlink_to("/proc/self/mem")
        with refused(InvalidData, f"^{path}: cannot be read: Input/output error; .* weightstring download mnist"):
            read_images(small[0], root)
