"""A string that no search has made, on a page: its curve, its lengths and barriers, and no verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from weightstring.arrays import Theta
from weightstring.codec import Record
from weightstring.path import WeightString
from weightstring.path.quantities import quantity_label
from weightstring.proof.certificate import Certificate
from weightstring.registry import Registry
from weightstring.report.html import number, write_page
from weightstring.report.section import Page, Sections, render_page
from weightstring.runs.manifest import digests_of, versions
from weightstring.runs.recording import string_record
from weightstring.store import digest
from weightstring.store.records import LineRecord, StringRecord

Written = TypeVar("Written", bound=Record)


@dataclass(frozen=True, eq=False)
class StringData:
    """A string and what was measured along it.

    Args:
        string: in numbers.
        beads: its models (P,), the ends included, in order.
        evaluation: what ``loss`` is measured on, ``"evaluate"`` or ``"train"``; empty: not known, or no data.
        about: digests and versions, by what they are of.
        threshold: what it was held to; None: nothing.
        certificate: the proof of a bound over it, if there is one.
        bound: the measured quantities whose largest is the height of a segment.
        line: the straight line between its ends, where it was measured.
    """

    string: StringRecord
    beads: Sequence[Theta]
    evaluation: str
    about: Mapping[str, str]
    threshold: float | None = None
    certificate: Certificate | None = None
    bound: tuple[str, ...] = ("loss",)
    line: LineRecord | None = None
    alignment: None = None

    @property
    def ends(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Every quantity at the two ends."""
        values = self.string.curve.values
        return {name: v[0] for name, v in values.items()}, {name: v[-1] for name, v in values.items()}

    @property
    def measured_on(self) -> str:
        """What to call the data set of the quantities without a prefix."""
        return {"evaluate": "evaluation", "train": "training"}.get(self.evaluation, "")

    @property
    def labels(self) -> dict[str, str]:
        """The measured quantities in words."""
        known = self.string.curve.values
        return {name: quantity_label(name, known, self.measured_on) for name in known}

    @property
    def bound_labels(self) -> list[str]:
        """The loss in words."""
        return [self.labels["loss"]]


STRING_SECTIONS: Sections[StringData] = Registry("section of a string's page", group="weightstring.string_sections")
"""The sections of the page of a string that no search has made, in its order."""
for _name, _place in {
    "unsearched": "string.sections.unsearched:unsearched",
    "barriers": "run.sections.barriers:barriers",
    "along": "run.sections.along:along",
    "string": "run.sections.string:string",
    "segments": "run.sections.segments:segments",
    "looseness": "run.sections.looseness:looseness",
    "ends": "run.sections.ends:ends",
    "about": "string.sections.about:about",
}.items():
    STRING_SECTIONS.add(_name, f"weightstring.report.{_place}")


def in_numbers(string: WeightString) -> StringRecord:
    """A string as a run's record has it."""
    return as_written(string_record(string))


def as_written(record: Written) -> Written:
    """A record as it is read back: what is not finite has no place in JSON, nor on a page, and is None."""
    return msgspec.json.decode(msgspec.json.encode(record), type=type(record))


def data_of(string: WeightString) -> StringData:
    """What the page of a string shows; its curve is measured where it was not.

    Raises:
        InvalidSetting: it has neither a problem nor a curve.
    """
    problem = string.problem
    about = {} if problem is None else {"problem": problem.fingerprint(), **digests_of(problem)}
    ends = {"end A": digest(string[0]), "end B": digest(string[-1])}
    on_data = problem is not None and bool(digests_of(problem))
    evaluation = problem.evaluation if problem is not None and on_data else ""
    told = {f"version: {name}": value for name, value in versions().items()}
    return StringData(in_numbers(string), list(string), evaluation, {**about, **ends, **told})


def write_string_report(string: WeightString, out: Path) -> Path:
    """Write the page of a string that no search has made; see :func:`weightstring.write_report`."""
    data = data_of(string)
    beads, size = data.string.beads, number(string[0].numel())
    heading = f"A string of {beads} beads" if beads > 2 else "A straight line between two models"
    facts = size + f" parameters, {str(string[0].dtype).removeprefix('torch.')}"
    page = Page("run", heading, "measured, not searched", heading, facts)
    return write_page(out, render_page(page, STRING_SECTIONS, data))
