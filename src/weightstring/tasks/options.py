"""Options of the built-in tasks that are one of several names."""

from __future__ import annotations

from collections.abc import Iterable

from weightstring.errors import InvalidSetting


def choose(task: str, option: str, value: str, known: Iterable[str]) -> None:
    """Refuse an unknown value of an option.

    Raises:
        InvalidSetting: it is none of the known values.

    >>> choose("polynomial", "target", "cubic", ["quadratic", "cubic"])
    """
    names = list(known)
    if value not in names:
        raise InvalidSetting(f"{task}: {option}={value!r}: choose one of {', '.join(names)}")
