"""The string after each round of the search: the paper's animation."""

from __future__ import annotations

from weightstring.report.draw.evolution import evolution_figure
from weightstring.report.html import source, template
from weightstring.report.run.data import RunData
from weightstring.report.section import Drawing, Section


def evolution(run: RunData) -> Section | None:
    if run.evolution is None:
        return None
    return Section(
        "The search, round by round",
        template("run/sections/evolution.html", run=run),
        {"evolution": [Drawing("evolution", evolution_figure(run.evolution, run.held))]},
        script=source("run/sections/evolution.js"),
    )
