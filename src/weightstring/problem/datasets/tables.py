"""Arrays and tables as scikit-learn takes them, as tensors: NumPy's, pandas', SciPy's sparse ones."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from weightstring.errors import InvalidData

DENSE_BYTES = 2**28
"""The most bytes that a sparse matrix is made dense into."""

NARROW = ("b1", "i1", "i2", "i4", "u2", "u4")
"""Integers that torch's losses do not take as classes: labels become int64."""

SHOWN = 4
"""Columns that a message names."""


@runtime_checkable
class Table(Protocol):
    """A DataFrame, a Series or a sparse matrix: what has a shape, and is read by :func:`as_tensor`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""


def as_tensor(given: Any, what: str, targets: bool = False) -> Any:
    """An array or table as a tensor, which shares its memory where that can be; what is none of these as it is.

    Args:
        given: a NumPy array, a DataFrame, a Series, or a sparse matrix.
        what: it is, for messages.
        targets: whether narrow integers are labels, which become int64.

    Raises:
        InvalidData: it holds text, categories or dates, or is sparse and too large to be made dense.

    >>> as_tensor(np.array([1, 0], dtype=np.int32), "y", targets=True)
    tensor([1, 0])
    """
    if isinstance(given, Tensor):
        return given
    array = _dense(_of_table(given, what), what)
    if not isinstance(array, np.ndarray):
        return given
    if array.dtype.kind in "OUSM":
        raise InvalidData(
            f"{what} hold {_kind(array)}: number what they name first, as sklearn.preprocessing's LabelEncoder "
            "(labels) or OneHotEncoder (inputs) does"
        )
    if targets and array.dtype.str[1:] in NARROW:
        array = array.astype(np.int64)
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an array that cannot be written to: nobody will
            return torch.from_numpy(array)
    except (TypeError, ValueError):  # numbers that torch does not have
        return given


def _of_table(given: Any, what: str) -> Any:
    """The numbers of a DataFrame or Series."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(given, pandas.DataFrame | pandas.Series):
        return given
    columns = {str(name): given[name] for name in given} if isinstance(given, pandas.DataFrame) else {"": given}
    named = [name for name, column in columns.items() if not pandas.api.types.is_numeric_dtype(column.dtype)]
    if named:
        shown = ", ".join(map(repr, named[:SHOWN])) + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
        where = f"columns {shown}" if isinstance(given, pandas.DataFrame) else str(given.dtype)
        raise InvalidData(
            f"{what} hold what is no number ({where}): number it first, as sklearn.preprocessing's LabelEncoder "
            "(labels) or OneHotEncoder (inputs) does"
        )
    kinds = {column.dtype.kind for column in columns.values()}
    missing = any(bool(column.isna().any()) for column in columns.values())
    return given.to_numpy(dtype=np.float64, na_value=np.nan) if "f" in kinds or missing else _integers(given, kinds)


def _integers(given: Any, kinds: set[str]) -> Any:
    return given.to_numpy(dtype=bool if kinds == {"b"} else np.int64)


def _dense(given: Any, what: str) -> Any:
    """A sparse matrix as an array, where that is small."""
    if not type(given).__module__.startswith("scipy.sparse"):
        return given
    size = int(np.prod(given.shape)) * given.dtype.itemsize
    if size > DENSE_BYTES:
        raise InvalidData(
            f"{what} are a sparse matrix {given.shape}, {size / 2**30:.3g} GiB if dense: make it smaller first, as "
            "sklearn.decomposition.TruncatedSVD does, or pass batches of torch's sparse tensors to from_batches"
        )
    return given.toarray()


def _kind(array: Any) -> str:
    kind = {"U": "text", "S": "bytes", "M": "dates"}.get(array.dtype.kind, "objects")
    return f"{kind} such as {str(array.flat[0])!r:.40}" if array.size else kind
