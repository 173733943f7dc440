"""What was measured of each of the models, and the file that it came from."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.study.mergeability import Mergeability


def models(found: Mergeability) -> Section:
    quantities = list(next(iter(found.models.values())))
    return Section("Models", template("merging/sections/models.html", found=found, quantities=quantities))
