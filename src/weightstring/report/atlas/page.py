"""An atlas on a page: how many components, the tree, N(λ), every height as a map of colours, and every pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightstring.registry import Registry
from weightstring.report.html import write_page
from weightstring.report.run.page import PAGE, write_run_report
from weightstring.report.section import Page, Sections, render_page
from weightstring.study.atlas import STRINGS
from weightstring.study.charting import Atlas


@dataclass(frozen=True)
class AtlasPage:
    """What an atlas's page shows.

    Args:
        atlas: bounds and searches.
        pages: where the page of each run is, seen from this one, by the run's name.
    """

    atlas: Atlas
    pages: dict[str, str]


ATLAS_SECTIONS: Sections[AtlasPage] = Registry("section of an atlas's page", group="weightstring.atlas_sections")
"""The sections of an atlas's page, in its order."""
for _name in ("verdict", "tree", "counts", "heights", "pairs", "models", "about"):
    ATLAS_SECTIONS.add(_name, f"weightstring.report.atlas.sections.{_name}:{_name}")


def write_atlas_report(atlas: Atlas, out: Path) -> Path:
    """Write the page of an atlas, and those of its runs where they lie beside it and have none.

    See :func:`weightstring.write_report`.
    """
    pages = {}
    for run in sorted({own.run for own in atlas.searched.values() if own.run}):
        folder = out.parent / STRINGS / run
        if folder.is_dir():
            if not (folder / PAGE).exists():
                write_run_report(folder)
            pages[run] = f"{STRINGS}/{run}/{PAGE}"
    heading = f"An atlas of {len(atlas.names)} models"
    facts = f"{atlas.spent}{', units in one order' if atlas.aligned else ''}"
    if task := atlas.about.get("task"):
        facts = f"{task}: {facts}"
    page = Page("run", heading, "how low paths between many models lead", heading, facts)
    return write_page(out, render_page(page, ATLAS_SECTIONS, AtlasPage(atlas, pages)))
