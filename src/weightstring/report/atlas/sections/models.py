"""What was measured at each of the models."""

from __future__ import annotations

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.matrix.sections.models import models as of_matrix
from weightstring.report.section import Section


def models(page: AtlasPage) -> Section:
    return of_matrix(page.atlas.lines)
