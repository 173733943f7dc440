"""Small sets of images in the published form, and the real ones where the environment says they are."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from weightstring.tasks.files import VARIABLE, find
from weightstring.tasks.published import IMAGE_SETS, Content, ImageSet


def _idx(values: Tensor) -> bytes:
    """The IDX file of an array, written without the library."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.numpy().tobytes()


def _small(name: str, train: int, test: int) -> tuple[ImageSet, dict[str, bytes]]:
    """A set with few images of random pixels under the names of a real one, and its files' contents."""
    generator = torch.Generator().manual_seed(train)
    contents = {}
    for file, published in IMAGE_SETS[name].files.items():
        count = train if file.startswith("train") else test
        most = 256 if "images" in file else 10
        drawn = torch.randint(most, (count, *published.shape[1:]), generator=generator, dtype=torch.uint8)
        contents[file] = _idx(drawn)
    table = {
        file: Content(
            ((train if file.startswith("train") else test), *IMAGE_SETS[name].files[file].shape[1:]),
            hashlib.sha256(content).hexdigest(),
        )
        for file, content in contents.items()
    }
    return replace(IMAGE_SETS[name], files=table, mirrors=()), contents


@pytest.fixture(scope="session")
def idx() -> Callable[[Tensor], bytes]:
    return _idx


@pytest.fixture(scope="session")
def small() -> tuple[ImageSet, dict[str, bytes]]:
    """MNIST in 37 training and 11 test images."""
    return _small("mnist", 37, 11)


@pytest.fixture
def small_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of data with both sets, small; for the time of a test the library takes them for the published."""
    for name, train, test in (("mnist", 37, 11), ("fashion-mnist", 29, 7)):
        images, contents = _small(name, train, test)
        monkeypatch.setitem(IMAGE_SETS, name, images)
        (tmp_path / "data" / name).mkdir(parents=True)
        for file, content in contents.items():
            (tmp_path / "data" / name / f"{file}.gz").write_bytes(gzip.compress(content))
    return tmp_path / "data"


@pytest.fixture(params=["mnist", "fashion-mnist"])
def real(request: pytest.FixtureRequest) -> tuple[ImageSet, Path]:
    """A published set, and the directory in which its real files are."""
    images = IMAGE_SETS[request.param]
    root = os.environ.get(VARIABLE)
    if not root:
        pytest.skip(f"needs the real images: set {VARIABLE} to a directory with {images.name}")
    if not all(find(images, file, Path(root)) for file in images.files):
        pytest.skip(f"needs the real images: weightstring download {images.name} --data {root}")
    return images, Path(root)
