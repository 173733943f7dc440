"""The string in the first two principal components of its beads."""

from __future__ import annotations

from weightstring.report.draw.string import string_figure
from weightstring.report.html import template
from weightstring.report.run.data import Shown
from weightstring.report.section import Drawing, Section


def string(run: Shown) -> Section:
    figure = string_figure(run.string.curve, run.beads)
    html = template("run/sections/string.html", run=run)
    return Section("The string in weight space", html, {"string": [Drawing("string", figure)]})
