"""CIFAR on disk: the published files in either form, in folders or in their archives, known by their content."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, cast

import torch
from jaxtyping import UInt8
from torch import Tensor

from weightstring.errors import InvalidData
from weightstring.tasks.cifar_published import CHANNELS, PIXELS, SIDE, CifarSet, Records
from weightstring.tasks.download import Fetch
from weightstring.tasks.files import data_directory, fetching
from weightstring.tasks.idx import require_size
from weightstring.tasks.pickled import numbers_and_bytes

SPARE = 1 << 20
"""Bytes by which a file of Python's form may exceed its pixels: labels, and the images' names."""
ARCHIVE_BYTES = 1 << 28
"""More than any of the archives has; a mirror that sends more is not believed."""
Opened = Callable[[str], BufferedIOBase | None]
"""Opens a file by its name in a folder; None where there is none."""


class Coloured(NamedTuple):
    """Colour images, 0 to 255, and their classes."""

    pixels: UInt8[Tensor, "N 3 height width"]
    labels: UInt8[Tensor, " N"]


class Form(NamedTuple):
    """One of the two forms.

    Args:
        name: as in the archive's name.
        folder: that it has in the archive.
        ending: of the files' names.
        read: the records of a file in the binary form, from its content.
    """

    name: str
    folder: str
    ending: str
    read: Callable[[BufferedIOBase, str, CifarSet, Records], bytes]


def forms(images: CifarSet) -> tuple[Form, Form]:
    """Both, the one that needs no decoding first."""
    return Form("binary", images.binary, ".bin", _binary), Form("python", images.python, "", _python)


def read_cifar(images: CifarSet, data: Path | None = None) -> tuple[Coloured, Coloured]:
    """The training and the test images.

    Looked for in the directory and in its folder of the set's name: the folder of the binary form, that of Python's,
    which torchvision keeps too, the archive of the one, the archive of the other.

    Args:
        images: which set.
        data: the directory; None: the one that the environment names.

    Raises:
        InvalidData: no directory is named, or the files are missing, damaged, or not those of this set.
    """
    root = data_directory(images.name, data)
    try:
        with _source(images, root) as (where, form, opened):
            records = _all(images, where, form, opened)
    except InvalidData as refusal:
        raise InvalidData(f"{refusal}; fetch the right one with: {fetching(images.name, root)}") from None
    return _part(images, records, images.train), _part(images, records, images.test)


def fetches(images: CifarSet, data: Path | None = None) -> Iterator[Fetch]:
    """What is to be downloaded: the archive of the binary form; nothing where all files are there and right."""
    root = data_directory(images.name, data)
    archive = images.archive("binary")
    present = None
    try:
        with _source(images, root) as (where, form, opened):
            _all(images, where, form, opened)
            present = where
    except InvalidData:
        pass
    urls = tuple(f"{mirror}/{archive}" for mirror in images.mirrors)

    binary, _ = forms(images)

    def check(stream: BufferedIOBase, where: str) -> None:
        with _archived(stream, where, binary.folder) as opened:
            _all(images, Path(where), binary, opened)

    yield Fetch(root / images.name / archive, present, urls, ARCHIVE_BYTES, check)


@contextmanager
def _source(images: CifarSet, root: Path) -> Iterator[tuple[Path, Form, Opened]]:
    """Where the files are, in which form, and how they are opened."""
    folders = (root / images.name, root)
    for form in forms(images):
        for folder in folders:
            place = folder / form.folder
            if place.is_dir():
                yield place, form, lambda name, place=place: _file(place / name)  # type: ignore[misc]
                return
    for form in forms(images):
        for folder in folders:
            archive = folder / images.archive(form.name)
            if archive.is_file():
                with _opened(archive) as stream, _archived(stream, str(archive), form.folder) as opened:
                    yield archive, form, opened
                return
    wanted = [form.folder for form in forms(images)] + [images.archive("binary"), images.archive("python")]
    raise InvalidData(f"{images.name}: there is none of {', '.join(wanted)} in {folders[0]} or {root}")


def _file(path: Path) -> BufferedIOBase | None:
    return _opened(path) if path.is_file() else None


def _opened(path: Path) -> BufferedIOBase:
    try:
        return path.open("rb")
    except OSError as problem:
        raise InvalidData(f"{path}: cannot be read: {problem.strerror}") from None


@contextmanager
def _archived(stream: BufferedIOBase, where: str, folder: str) -> Iterator[Opened]:
    """Opens the files in a folder of an archive; nothing is extracted to the disk."""
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}

            def opened(name: str) -> BufferedIOBase | None:
                member = members.get(f"{folder}/{name}")
                content = None if member is None else archive.extractfile(member)
                return cast("BufferedIOBase | None", content)

            yield opened
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        raise InvalidData(f"{where}: a truncated or damaged archive ({problem})") from None


def _all(images: CifarSet, where: Path, form: Form, opened: Opened) -> dict[str, bytes]:
    """The records of all files, by name."""
    return {name: _records(images, name, where, form, opened) for name in images.files}


def _records(images: CifarSet, name: str, where: Path, form: Form, opened: Opened) -> bytes:
    """A file's records, compared with what was published."""
    place, published = where / f"{name}{form.ending}", images.files[name]
    file = opened(f"{name}{form.ending}")
    if file is None:
        raise InvalidData(f"{place}: there is no such file")
    with closing(file):
        content = form.read(file, str(place), images, published)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != published.md5:
        raise InvalidData(f"{place}: not the {name} of {images.name}: as records its MD5 is {found}")
    return content


def _binary(file: BufferedIOBase, where: str, images: CifarSet, published: Records) -> bytes:
    size = published.count * images.record
    content = file.read(size + 1)
    require_size(content, where, size)
    return content


def _python(file: BufferedIOBase, where: str, images: CifarSet, published: Records) -> bytes:
    size = published.count * PIXELS
    labels, pixels = numbers_and_bytes(file.read(size + published.count * 64 + SPARE), where, images.labels, size)
    columns = [labels[name] for name in images.labels]
    if any(len(column) != published.count or not all(0 <= label < 256 for label in column) for column in columns):
        raise InvalidData(f"{where}: holds other labels than one for each of {published.count} images")
    table = torch.tensor(columns, dtype=torch.uint8).T
    block = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(published.count, PIXELS)
    return torch.cat([table, block], dim=1).numpy().tobytes()


def _part(images: CifarSet, records: Mapping[str, bytes], names: Mapping[str, Records]) -> Coloured:
    """The images of a part, in the order of its files."""
    content = bytearray(b"".join(records[name] for name in names))
    table = torch.frombuffer(content, dtype=torch.uint8).view(-1, images.record)
    labels = len(images.labels)
    return Coloured(table[:, labels:].reshape(-1, CHANNELS, SIDE, SIDE), table[:, labels - 1].clone())
