"""A finished run's string on other data: a curve beside the run's own, which it never replaces."""

from __future__ import annotations

import re

import msgspec

from weightstring.codec import Record
from weightstring.errors import InvalidSetting
from weightstring.store.records import CURVE_NAME, CurveName, CurveRecord, TaskRef


class MeasuredRecord(Record, frozen=True, kw_only=True):
    """A curve measured by a problem that had no part in the search."""

    name: CurveName
    task: TaskRef | None
    problem: str
    """Digest of the problem that measured it."""
    digests: dict[str, str]
    """Of that problem's module and data, by name."""
    evaluation: str
    """What its quantities without a prefix are measured on: ``evaluate`` or ``train``."""
    date: str
    """UTC."""
    command: tuple[str, ...] = ()
    """The words of the command line; empty: it was measured from Python."""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    beads_sha256: str
    """Of the bead file of the string: the curve of another string is not one of the run's."""
    curve: CurveRecord

    def flaw(self, own: CurveRecord) -> str | None:
        """What makes it one that is never written beside a curve; None for a sound one."""
        if not all(map(str.isidentifier, self.curve.values)) or "loss" not in self.curve.values:
            return "it holds no loss, or quantities by names that none can have"
        if (self.curve.s, self.curve.segment, self.curve.t) != (own.s, own.segment, own.t):
            return "its points are not those of the run's own curve"
        return None if {len(column) for column in self.curve.values.values()} == {len(own.s)} else "columns are cut"


def check_name(name: str) -> str:
    """Refuse a name that no curve can have.

    Raises:
        InvalidSetting: it has other characters than letters, digits, ``-``, ``_`` and ``.``, or too many.

    >>> check_name("shifted-2")
    'shifted-2'
    """
    if not isinstance(name, str) or not re.fullmatch(CURVE_NAME, name):
        raise InvalidSetting(f"name={name!r:.80}: give up to 60 letters, digits, '-', '_' and '.'")
    return name
