"""Every way to merge: what comes out, beside the models themselves."""

from __future__ import annotations

from weightstring.report.draw.ways import ways_figure
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section
from weightstring.study.mergeability import Mergeability


def ways(found: Mergeability) -> Section:
    label = found.label("loss")
    others = [name for name in found.ways[0].values if name != "loss"]
    html = template("merging/sections/ways.html", found=found, label=label, others=others)
    return Section("Every way", html, {"ways": [Drawing("ways", ways_figure(found, label))]})
