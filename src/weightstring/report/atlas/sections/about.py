"""By what lines and strings were measured, and between which models."""

from __future__ import annotations

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.section import Section
from weightstring.report.string.sections.about import about as of_string


def about(page: AtlasPage) -> Section:
    return of_string(page.atlas)
