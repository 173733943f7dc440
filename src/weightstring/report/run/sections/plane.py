"""The loss on a plane through the string, where it was measured."""

from __future__ import annotations

from weightstring.report.draw.plane import draw_plane
from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Drawing, Section


def plane(run: RunData) -> Section | None:
    if run.plane is None:
        return None
    figure = draw_plane(run.plane, run.result.threshold, run.held)
    html = template("run/sections/plane.html", run=run)
    return Section("The loss around the string", html, {"plane": [Drawing("plane", figure)]})
