"""A set of images on disk: where its files are looked for, and that they are the published ones."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from jaxtyping import UInt8
from torch import Tensor

from weightstring.errors import InvalidData
from weightstring.tasks.download import Fetch
from weightstring.tasks.idx import parse, unpack
from weightstring.tasks.published import IMAGE_SETS, ImageSet

VARIABLE = "WEIGHTSTRING_DATA"
"""The environment variable that names a directory of data where no option does."""
GZIP_OVERHEAD = 1 << 16
"""Bytes by which a gzip file may exceed its content."""


class Labelled(NamedTuple):
    """Grey images, 0 to 255, and their classes."""

    pixels: UInt8[Tensor, "N height width"]
    labels: UInt8[Tensor, " N"]


class Images(NamedTuple):
    """The two parts of a set."""

    train: Labelled
    test: Labelled


def read_images(images: ImageSet, data: Path | None = None) -> Images:
    """Read a set from a directory of data.

    Each file may be compressed or not, and lie in the folder of the set's name, in torchvision's, or in the
    directory itself.

    Args:
        images: which set.
        data: the directory; None: the one that the environment names.

    Raises:
        InvalidData: no directory is named, or a file is missing, damaged, or not that of this set.
    """
    root = data_directory(images.name, data)
    train_pixels, train_labels, test_pixels, test_labels = (_read(images, name, root) for name in images.files)
    return Images(Labelled(train_pixels, train_labels), Labelled(test_pixels, test_labels))


def fetches(images: ImageSet, data: Path | None = None) -> Iterator[Fetch]:
    """What is to be downloaded: each of the set's files, compressed, unless the right one is there.

    Raises:
        InvalidData: no directory is named.
    """
    root = data_directory(images.name, data)
    for name, published in images.files.items():
        file = find(images, name, root)
        present = file is not None and _is_right(file, images, name)
        yield Fetch(
            places(images, name, root)[0],
            file if present else None,
            tuple(f"{mirror}/{name}.gz" for mirror in images.mirrors),
            published.size + GZIP_OVERHEAD,
            partial(check, images=images, name=name),
        )


def data_directory(name: str, data: Path | None = None) -> Path:
    """The data directory: the one given, or else that of the environment.

    Args:
        name: of the set, for messages.
        data: the one given.

    Raises:
        InvalidData: neither names one.

    >>> data_directory("mnist", Path("here")).name
    'here'
    """
    chosen = data or os.environ.get(VARIABLE)
    if not chosen:
        raise InvalidData(
            f"{name}: no directory of data is named: give --data DIR (from Python the option data), or set "
            f"{VARIABLE}; {fetching(name, Path('DIR'))} fetches the files"
        )
    return Path(chosen)


def places(images: ImageSet, name: str, root: Path) -> list[Path]:
    """Where a file is looked for, in order; downloads go to the first place.

    >>> [str(path) for path in places(IMAGE_SETS["mnist"], "labels", Path("data"))[1:3]]
    ['data/mnist/labels', 'data/MNIST/raw/labels.gz']
    """
    folders = (root / images.name, root / images.torchvision, root)
    return [folder / f"{name}{ending}" for folder in folders for ending in (".gz", "")]


def find(images: ImageSet, name: str, root: Path) -> Path | None:
    """The first of the places where there is a file."""
    return next((path for path in places(images, name, root) if os.path.isfile(path)), None)


def check(stream: BufferedIOBase, where: str, images: ImageSet, name: str) -> UInt8[Tensor, "*axes"]:
    """Read one of a set's files and compare its content with what was published.

    Args:
        stream: the file, compressed or not.
        where: what messages call it.
        images: the set that the file belongs to.
        name: of the file in it.

    Raises:
        InvalidData: it is damaged, or holds something else.
    """
    published = images.files[name]
    content = unpack(stream, where, published.size)
    values = parse(content, where, published.shape)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != published.sha256:
        owners = (known.name for known in IMAGE_SETS.values() for file in known.files.values() if file.sha256 == sha256)
        reason = next((f"it belongs to {owner}" for owner in owners), f"its SHA-256 is {sha256}")
        raise InvalidData(f"{where}: not the {name} of {images.name}: {reason}")
    return values


def _is_right(path: Path, images: ImageSet, name: str) -> bool:
    try:
        with path.open("rb") as file:
            check(file, str(path), images, name)
    except (OSError, InvalidData):
        return False
    return True


def _read(images: ImageSet, name: str, root: Path) -> UInt8[Tensor, "*axes"]:
    path = find(images, name, root)
    if path is None:
        folders = ", ".join(dict.fromkeys(str(place.parent) for place in places(images, name, root)))
        raise InvalidData(
            f"{images.name}: there is no {name}.gz in {folders}; fetch it with: {fetching(images.name, root)}"
        )
    try:
        with path.open("rb") as file:
            return check(file, str(path), images, name)
    except OSError as problem:
        flaw = f"{path}: cannot be read: {problem.strerror}"
    except InvalidData as refusal:
        flaw = str(refusal)
    raise InvalidData(f"{flaw}; fetch the right one with: {fetching(images.name, root)}")


def fetching(name: str, root: Path) -> str:
    """The command that fetches the files of a set.

    >>> fetching("mnist", Path("my data"))
    "weightstring download mnist --data 'my data'"
    """
    return f"weightstring download {name} --data {shlex.quote(str(root))}"
