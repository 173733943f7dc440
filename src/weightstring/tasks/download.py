"""Fetching a set's files from the web: only when asked to, and nothing is put in place unchecked."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

from weightstring.errors import InvalidData
from weightstring.store import replace_file
from weightstring.tasks.files import check, directory, find, places
from weightstring.tasks.published import ImageSet

TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""
GZIP_OVERHEAD = 1 << 16
"""Bytes by which a gzip file may exceed its content; a mirror that sends more is not believed."""


def download(
    images: ImageSet,
    data: Path | None = None,
    on_file: Callable[[Path, str | None], None] = lambda path, url: None,
    timeout: float = TIMEOUT,
) -> None:
    """Download a set's files into a data directory; intact ones are kept.

    The mirrors are tried in order, for each file anew. A file's content is compared with the published
    checksum before it replaces anything.

    Args:
        images: which set.
        data: the directory; None: the one that the environment names. The files go to a folder of the set's name.
        on_file: told of each file as soon as it is in place, and from which URL it came; None: it was there.
        timeout: seconds without a byte after which a mirror is given up.

    Raises:
        InvalidData: no directory is named, it cannot be written, or no mirror gives the published file.
    """
    root = directory(images, data)
    for name in images.files:
        file = find(images, name, root)
        if file is not None and _is_right(file, images, name):
            on_file(file, None)
            continue
        target = places(images, name, root)[0]
        content, url = _fetch(images, name, target, timeout)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, content)
        except OSError as problem:
            raise InvalidData(
                f"{target}: cannot be written: {problem.strerror}; name another directory by --data"
            ) from None
        on_file(target, url)


def _is_right(path: Path, images: ImageSet, name: str) -> bool:
    try:
        with path.open("rb") as file:
            check(file, str(path), images, name)
    except (OSError, InvalidData):
        return False
    return True


def _fetch(images: ImageSet, name: str, target: Path, timeout: float) -> tuple[bytes, str]:
    """The file's bytes, compressed, and the URL that gave them."""
    failures = []
    for mirror in images.mirrors:
        url = f"{mirror}/{name}.gz"
        try:
            content = _get(url, images.files[name].size + GZIP_OVERHEAD, timeout)
            check(BytesIO(content), url, images, name)
        except (OSError, HTTPException) as problem:
            failures.append(f"{url}: {str(problem) or type(problem).__name__}")
        except InvalidData as refusal:
            failures.append(str(refusal))
        else:
            return content, url
    reasons = " ".join("; ".join(failures).splitlines())
    raise InvalidData(f"{target.name}: no mirror gives it ({reasons}); try again later, or put the file at {target}")


def _get(url: str, most: int, timeout: float) -> bytes:
    with urlopen(url, timeout=timeout) as response:
        content: bytes = response.read(most)
    return content
