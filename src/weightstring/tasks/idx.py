"""The IDX format, in which MNIST and the sets made in its image are published.

All numbers are big-endian. Two zero bytes, the kind of the elements (8: unsigned bytes), the number of axes,
four bytes for the length of each axis, then the elements, last axis fastest: Y. LeCun, C. Cortes and C. J. C.
Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase

import torch
from jaxtyping import UInt8
from torch import Tensor

from weightstring.errors import InvalidData

GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 8


def unpack(stream: BufferedIOBase, where: str, most: int) -> bytes:
    """The content of a file, decompressed if it is a gzip file, whatever its name.

    Args:
        stream: the file, at its beginning; it can be sought.
        where: what messages call it.
        most: bytes expected; no more than one byte beyond is read, however many there are.

    Raises:
        InvalidData: the gzip file is truncated or damaged.

    >>> import io
    >>> unpack(io.BytesIO(gzip.compress(b"abc")), "here", 3), unpack(io.BytesIO(b"abc"), "here", 3)
    (b'abc', b'abc')
    """
    compressed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    if not compressed:
        return stream.read(most + 1)
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            return file.read(most + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise InvalidData(f"{where}: a truncated or damaged gzip file ({problem})") from None


def parse(content: bytes, where: str, shape: tuple[int, ...]) -> UInt8[Tensor, "*axes"]:
    """The array of unsigned bytes in an IDX file, of the shape expected.

    Args:
        content: of the file, not compressed.
        where: what messages call it.
        shape: its axes; 60,000 images of 28 by 28 are (60000, 28, 28).

    Raises:
        InvalidData: another kind of file, another shape, or too few or too many bytes.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), "labels", (3,))
    tensor([7, 2, 1], dtype=torch.uint8)
    """
    magic = bytes([0, 0, UNSIGNED_BYTES, len(shape)])
    if content[:4] != magic:
        raise InvalidData(
            f"{where}: not an IDX file of unsigned bytes with {len(shape)} axes: "
            f"it begins with {content[:4].hex() or 'nothing'}, not {magic.hex()}"
        )
    begin = header_size(shape)
    if len(content) >= begin:
        sizes = struct.unpack_from(f">{len(shape)}I", content, len(magic))
        if sizes != shape:
            raise InvalidData(f"{where}: its header counts {_by(sizes)}, not {_by(shape)}")
    require_size(content, where, begin + math.prod(shape))
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=begin).view(shape)


def require_size(content: bytes, where: str, size: int) -> None:
    """Refuse a content of another size.

    Raises:
        InvalidData: too few or too many bytes.
    """
    if len(content) != size:
        flaw = f"ends after {len(content)} of" if len(content) < size else "goes on after"
        raise InvalidData(f"{where}: truncated or damaged: it {flaw} {size} bytes")


def header_size(shape: tuple[int, ...]) -> int:
    """Bytes before the first element.

    >>> header_size((60000, 28, 28))
    16
    """
    return 4 + 4 * len(shape)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
