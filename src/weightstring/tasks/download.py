"""Fetching files of data from the web: only when asked to, and nothing is put in place unchecked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.client import HTTPException
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from weightstring.errors import InvalidData
from weightstring.store import replace_file

TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""


class Fetch(NamedTuple):
    """A file that is wanted.

    Args:
        target: where it is put.
        present: where the right one, or what stands for it, is already; None: nowhere.
        urls: where it is asked for, in order.
        most: bytes that it may have; a mirror that sends more is not believed.
        check: raises InvalidData for a content that is not the published one; told what to call it.
    """

    target: Path
    present: Path | None
    urls: tuple[str, ...]
    most: int
    check: Callable[[BufferedIOBase, str], object]


def download(
    files: Iterable[Fetch],
    on_file: Callable[[Path, str | None], None] = lambda path, url: None,
    timeout: float = TIMEOUT,
) -> None:
    """Download files; those that are there and right are kept.

    The mirrors are tried in order, for each file anew. A file's content is compared with the published
    checksum before it replaces anything.

    Args:
        files: which.
        on_file: told of each file as soon as it is in place, and from which URL it came; None: it was there.
        timeout: seconds without a byte after which a mirror is given up.

    Raises:
        InvalidData: a directory cannot be written, or no mirror gives the published file.
    """
    for file in files:
        if file.present is not None:
            on_file(file.present, None)
            continue
        target = file.target
        content, url = _fetch(file, timeout)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, content)
        except OSError as problem:
            raise InvalidData(
                f"{target}: cannot be written: {problem.strerror}; name another directory by --data"
            ) from None
        on_file(target, url)


def _fetch(file: Fetch, timeout: float) -> tuple[bytes, str]:
    """The file's bytes, and the URL that gave them."""
    failures = []
    for url in file.urls:
        try:
            content = _get(url, file.most, timeout)
            file.check(BytesIO(content), url)
        except (OSError, HTTPException) as problem:
            failures.append(f"{url}: {str(problem) or type(problem).__name__}")
        except InvalidData as refusal:
            failures.append(str(refusal))
        else:
            return content, url
    reasons = " ".join("; ".join(failures).splitlines())
    raise InvalidData(
        f"{file.target.name}: no mirror gives it ({reasons}); try again later, or put the file at {file.target}"
    )


def _get(url: str, most: int, timeout: float) -> bytes:
    with urlopen(url, timeout=timeout) as response:
        content: bytes = response.read(most)
    return content
