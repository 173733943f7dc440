"""N(λ) from both sides."""

from __future__ import annotations

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.draw.counts import counts_figure
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section


def counts(page: AtlasPage) -> Section:
    html = template("atlas/sections/figure.html", figure="counts", label="Steps over the level", caption=CAPTION)
    return Section("Components under a level", html, {"counts": [Drawing("counts", counts_figure(page.atlas))]})


CAPTION = (
    "N(λ): in how many components of the set of all weights with a loss of at most λ these models lie, as far as "
    "lines, strings and proofs can tell. The true number lies between the two curves, as far as samples can tell."
)
