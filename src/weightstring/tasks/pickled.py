"""What a pickle of plain data holds, without executing it.

A pickle is a program, and one that somebody sent may do anything. Its operations can be listed all the same: of a
dictionary whose values are lists of numbers and one array, the numbers and the array's bytes stand among them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection

from weightstring.errors import InvalidData

INTEGERS = {"BININT", "BININT1", "BININT2", "INT"}
"""The operations that push one."""


def numbers_and_bytes(
    content: bytes, where: str, keys: Collection[str], size: int
) -> tuple[dict[str, list[int]], bytes]:
    r"""Lists of integers by the keys before them, and the one text of a given size.

    Args:
        content: the pickle, as Python 2 wrote it.
        where: what messages call it.
        keys: of the lists that are wanted.
        size: bytes of the text that is wanted.

    Raises:
        InvalidData: it is no pickle, or lacks one of them.

    >>> made_by_python_2 = b"\x80\x02}(U\x06labels](K\x03K\x07eU\x04dataU\x02abu."
    >>> numbers_and_bytes(made_by_python_2, "here", ["labels"], 2)
    ({'labels': [3, 7]}, b'ab')
    """
    lists: dict[str, list[int]] = {}
    block: bytes | None = None
    key: str | None = None
    try:
        for operation, argument, _ in pickletools.genops(content):
            if isinstance(argument, str):
                key = argument if argument in keys else None
                if len(argument) == size:
                    block = argument.encode("latin-1")
            elif key is not None and operation.name in INTEGERS and isinstance(argument, int):
                lists.setdefault(key, []).append(argument)
    except ValueError as problem:  # of a damaged one, also that a letter is not in latin-1
        raise InvalidData(f"{where}: not a whole pickle ({problem})") from None
    missing = [name for name in keys if name not in lists] + ["data"] * (block is None)
    if missing or block is None:
        raise InvalidData(f"{where}: holds no {missing[0]} in the published form")
    return lists, block
