"""What a sweep asks: thresholds × variants of a task × pairs."""

from __future__ import annotations

import math
import operator
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, get_args

import msgspec

from weightstring.codec import Record
from weightstring.errors import InvalidSetting
from weightstring.runs.settings import Settings
from weightstring.search import Greedy, MaxBeads, StopRule, Strategy
from weightstring.store.records import TaskRef

Ends = Literal["carried", "afresh", "given"]
"""Networks for a lower threshold go on from the same seed's for a higher one, or start from a random model; or they are
checkpoints that were given."""

PAIRS = 32
MAX_BEADS = 256
LONGEST_NAME = 200
"""Bytes of a folder's name; most systems take 255."""
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of pairs, and ends of lines and paragraphs."""
MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
))  # fmt: skip
"""What pandas takes for a missing value, not for a name (``read_csv``, "na_values")."""


@dataclass(frozen=True)
class Plan(Settings):
    """What is swept, beside how all pairs are searched; ``bind`` is one quantity, by which ends are trained too.

    Args:
        thresholds: L0, each by itself, in any order.
        pairs: how many pairs of networks at each threshold and for each variant.
        ends: how they are trained.
        tries: networks trained at most for each that is needed, before a threshold counts as out of reach.
        align: whether the second end of each pair is brought to the symmetric copy of the lowest line from the first.

    Raises:
        InvalidSetting: no thresholds, one that is not positive and finite, counts below 1, or another kind of value.

    >>> Plan((0.1, 0.01), pairs=2).levels
    (0.1, 0.01)
    """

    thresholds: tuple[float, ...]
    pairs: int = PAIRS
    ends: Ends = "carried"
    tries: int = 20
    align: bool = False
    strategy: Strategy[Any] = field(default=Greedy(), kw_only=True)
    stop: StopRule | None = field(default=MaxBeads(MAX_BEADS), kw_only=True)
    bind: str = field(default="loss", kw_only=True)

    def __post_init__(self) -> None:
        if not self.thresholds or not all(math.isfinite(level) and level > 0 for level in self.thresholds):
            raise InvalidSetting(f"sweep(thresholds={shown(self.thresholds)}): give positive numbers")
        for name, least in (("pairs", 1), ("tries", 1), ("seed", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if not isinstance(self.bind, str):
            raise InvalidSetting(f"sweep(bind={shown(self.bind)}): give a name, such as 'loss'")
        if not isinstance(self.align, bool):
            raise InvalidSetting(f"sweep(align={shown(self.align)}): give True or False")
        if self.ends not in get_args(Ends):
            raise InvalidSetting(f"sweep(ends={self.ends!r}): choose one of {', '.join(get_args(Ends))}")
        super().__post_init__()

    @property
    def levels(self) -> tuple[float, ...]:
        """The thresholds from the highest to the lowest, each once: the order in which ends are trained."""
        return tuple(sorted(set(self.thresholds), reverse=True))


def shown(value: object) -> str:
    """A value in a message: in one line, and not too long.

    >>> shown([1, 2]), len(shown(list(range(1000))))
    ('[1, 2]', 80)
    """
    return " ".join(repr(value).split())[:80]


def whole(name: str, value: object, least: int) -> int:
    """A whole number of any type, such as NumPy's."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not least <= number < 2**63:
        raise InvalidSetting(f"sweep({name}={shown(value)}): give a whole number, at least {least} and below 2^63")
    return number


@dataclass(frozen=True)
class Shard:
    """Which of several processes that do a sweep together.

    Args:
        number: this one, from 0.
        of_all: how many there are.

    >>> Shard.of("3/8")
    Shard(number=2, of_all=8)
    """

    number: int
    of_all: int

    @classmethod
    def of(cls, text: str | None) -> Shard | None:
        """As it is written, counted from 1; None: one process does all.

        Raises:
            InvalidSetting: it is no K/N.
        """
        if text is None:
            return None
        number, slash, of_all = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not (slash and number.isdecimal() and of_all.isdecimal() and 1 <= int(number) <= int(of_all)):
            raise InvalidSetting(
                f"shard {shown(text)}: give K/N, the K-th of N from 1, such as 3/8; with `#SBATCH --array=1-8`, "
                "$SLURM_ARRAY_TASK_ID/8"
            )
        return cls(int(number) - 1, int(of_all))


class Variant(Record, frozen=True):
    """One form of the task.

    Args:
        name: of its directory, such as ``width=8``.
        options: what distinguishes it, by name; empty where there is only one.
        task: how to build its problem again; None: built in Python.

    Raises:
        InvalidSetting: the name cannot be a folder's, or does not come back from a table as itself.
    """

    name: str
    options: dict[str, str] = msgspec.field(default_factory=dict)
    task: TaskRef | None = None

    def __post_init__(self) -> None:
        if found := flaw(self.name):
            raise InvalidSetting(f"a variant named {shown(self.name)}: {found}; give another name")


def flaw(name: object) -> str | None:
    """What keeps a name from being that of a folder and of a table's rows; None for a sound one."""
    if not isinstance(name, str):
        return "a name is text"
    if name in MISSING:
        return "tables read it as a missing value"
    if any(unicodedata.category(character) in UNPRINTABLE for character in name):
        return "it holds a character that cannot be printed"
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return "it leads out of the sweep's directory"
    if any(len(part.encode()) > LONGEST_NAME for part in path.parts):
        return f"it is longer than {LONGEST_NAME} bytes"
    return None


def variants(task: TaskRef, over: Mapping[str, Sequence[str]]) -> list[Variant]:
    """All combinations of options of a task.

    Args:
        task: with the options that all have in common.
        over: for each option the values that are swept.

    >>> [variant.name for variant in variants(TaskRef(name="polynomial"), {"width": ["4", "8"]})]
    ['width=4', 'width=8']
    """
    combined: list[dict[str, str]] = [{}]
    for name, values in over.items():
        combined = [{**options, name: value} for options in combined for value in values]
    return [
        Variant(
            ",".join(f"{key}={value}" for key, value in options.items()) or "all",
            options,
            TaskRef(name=task.name, options={**task.options, **options}),
        )
        for options in combined
    ]
