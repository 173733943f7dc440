"""All lines between many models on a page: barriers as a map of colours, every line in numbers."""

from __future__ import annotations

from pathlib import Path

from weightstring.registry import Registry
from weightstring.report.html import write_page
from weightstring.report.section import Page, Sections, render_page
from weightstring.study.lines import Matrix

MATRIX_SECTIONS: Sections[Matrix] = Registry("section of a matrix's page", group="weightstring.matrix_sections")
"""The sections of a matrix's page, in its order."""
for _name in ("barriers", "models", "lines"):
    MATRIX_SECTIONS.add(_name, f"weightstring.report.matrix.sections.{_name}:{_name}")
MATRIX_SECTIONS.add("about", "weightstring.report.string.sections.about:about")


def write_matrix_report(matrix: Matrix, out: Path) -> Path:
    """Write the page of a matrix; see :func:`weightstring.write_report`."""
    heading = f"Straight lines between {len(matrix.names)} models"
    facts = f"{len(matrix.lines)} pairs" + (", as given and aligned" if matrix.aligned else "")
    if task := matrix.about.get("task"):
        facts = f"{task}: {facts}"
    page = Page("run", heading, "measured, not searched", heading, facts)
    return write_page(out, render_page(page, MATRIX_SECTIONS, matrix))
