"""Which layer raises the line between two of the models."""

from __future__ import annotations

from weightstring.report.draw.parts import parts_figure
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section
from weightstring.study.mergeability import Mergeability


def blame(found: Mergeability) -> Section | None:
    if found.blame is None:
        return None
    html = template(
        "merging/sections/blame.html",
        blame=found.blame,
        said=found.blame.verdict.splitlines(),
        names=found.blamed,
        aligned=found.better_aligned,
    )
    return Section("Which layer is to blame", html, {"parts": [Drawing("parts", parts_figure(found.blame))]})
