"""How the values of options are read from text. Nothing here imports PyTorch."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

LARGEST = 2**63 - 1
"""The largest whole number that generators and manifests hold."""
MOST_MODELS = 1000
"""Models in an average, or points on a side of a plane."""


def key_value(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def several(text: str) -> tuple[str, list[str]]:
    """``KEY=V,V,...``."""
    key, values = key_value(text)
    listed = [value for value in values.split(",") if value]
    if not listed:
        raise argparse.ArgumentTypeError(f"{text!r} has no values: write them after the =, joined by commas")
    return key, listed


def numbers(text: str) -> list[float]:
    """Numbers joined by commas."""
    return [number(part) for part in text.split(",") if part]


def names(text: str) -> list[str]:
    """Names joined by commas."""
    return [name for name in text.split(",") if name]


def data_option(text: str) -> tuple[str, str]:
    """A directory as the task's option ``data``."""
    return "data", str(directory(text))


def directory(text: str) -> Path:
    """A directory, as an absolute path."""
    # Absolute: a run that is resumed elsewhere must find the same data.
    return Path(text).resolve()


def number(text: str) -> float:
    """A number, infinite ones included."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def finite(text: str) -> float:
    """A number that is not infinite."""
    value = number(text)
    if math.isinf(value):
        raise argparse.ArgumentTypeError(f"{text!r} is infinite")
    return value


def duration(text: str) -> float:
    """Seconds, infinitely many included."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def positive(text: str) -> int:
    """A whole number from 1."""
    return integer(text, 1)


def whole(text: str) -> int:
    """A whole number from 0."""
    return integer(text, 0)


def two_or_more(text: str) -> int:
    """A whole number from 2, of models that are computed together."""
    value = integer(text, 2)
    if value > MOST_MODELS:
        raise argparse.ArgumentTypeError(f"{value} is more than {MOST_MODELS}")
    return value


def place(text: str) -> float | str:
    """A place on a string."""
    if text in ("best", "midpoint"):
        return text
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not on the string: give 0 to 1, midpoint or best")
    return share


def integer(text: str, least: int) -> int:
    """A whole number, not below the least, and of 63 bits: seeds and counts are kept in no more."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"{text:.40} is more than {LARGEST}")
    return value
