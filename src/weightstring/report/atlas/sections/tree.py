"""The disconnectivity tree."""

from __future__ import annotations

from weightstring.report.atlas.page import AtlasPage
from weightstring.report.draw.tree import disconnectivity_tree
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section


def tree(page: AtlasPage) -> Section:
    atlas = page.atlas
    what = atlas.lines.label(atlas.lines.quantity)
    figure = disconnectivity_tree(atlas.bounds, atlas.labels, atlas.threshold, what)
    html = template("atlas/sections/figure.html", figure="tree", label="A tree of models", caption=CAPTION)
    return Section("At which level which models join", html, {"tree": [Drawing("tree", figure)]})


CAPTION = (
    "Each model hangs at its own loss. Where two branches meet, a path over lines and strings joins them whose largest "
    "sample is that level; no lower one was found."
)
