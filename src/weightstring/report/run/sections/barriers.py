"""The barrier of the string, by each of the four definitions in use."""

from __future__ import annotations

from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Section

BARRIERS = {
    "max": "the largest sampled loss itself",
    "over_ends": "largest sampled loss − the larger end loss",
    "over_mean": "largest sampled loss − the mean of the end losses (Frankle et al. 2020; Ainsworth et al. 2022)",
    "over_linear": "largest sampled excess over the line between the end losses, along the arc length "
    "(Entezari et al. 2021)",
}


def barriers(run: Shown) -> Section:
    return Section("Barriers", template("run/sections/barriers.html", run=run, definitions=BARRIERS))
