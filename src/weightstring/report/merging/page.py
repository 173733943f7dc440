"""Will these models merge? The verdict on a page: every way in numbers, the lines, the layer to blame, what to do."""

from __future__ import annotations

from pathlib import Path

from weightstring.registry import Registry
from weightstring.report.html import write_page
from weightstring.report.section import Page, Sections, render_page
from weightstring.study.mergeability import Mergeability
from weightstring.text import seconds_in_words

MERGING_SECTIONS: Sections[Mergeability] = Registry(
    "section of a verdict's page", group="weightstring.merging_sections"
)
"""The sections of the page of a verdict on merging, in its order."""
for _name in ("verdict", "ways", "between", "barriers", "blame", "next_steps", "models"):
    MERGING_SECTIONS.add(_name, f"weightstring.report.merging.sections.{_name}:{_name}")
MERGING_SECTIONS.add("about", "weightstring.report.string.sections.about:about")


def write_merging_report(found: Mergeability, out: Path) -> Path:
    """Write the page of a verdict; see :func:`weightstring.write_report`."""
    heading = f"Will these {len(found.models)} models merge?"
    task = found.about.get("task")
    facts = f"{len(found.ways)} ways tried and measured in {seconds_in_words(found.seconds)}"
    page = Page("run", heading, "merging", heading, f"{task}: {facts}" if task else facts)
    return write_page(out, render_page(page, MERGING_SECTIONS, found))
