"""A number for every two models, as a map of colours."""

from __future__ import annotations

import math

import torch

from weightstring.codec import finite_or_none
from weightstring.report.atlas.page import AtlasPage
from weightstring.report.draw.heat import heat_figure
from weightstring.report.html import template
from weightstring.report.run.sections.barriers import BARRIERS as DEFINITIONS
from weightstring.report.section import Drawing, Section


def heights(page: AtlasPage) -> Section:
    atlas = page.atlas
    bounds = atlas.bounds
    tables = {
        "lowest path": (bounds.above, "the largest sample on the lowest path known, over lines and strings"),
        "line, over mean": (atlas.lines.barriers("over_mean"), f"of the straight line: {DEFINITIONS['over_mean']}"),
        "line, largest loss": (atlas.lines.barriers("max"), "the largest sample on the straight line"),
        "proved at least": (bounds.below, "no path stays under this: the higher of the two losses, or a proof"),
        "distance": (atlas.lines.lengths(), "the distance of the two models"),
    }
    if bool(torch.isfinite(atlas.certified).logical_xor(torch.eye(len(atlas.names), dtype=torch.bool)).any()):
        tables["certified at most"] = atlas.certified, "the largest loss on a path of certified strings is at most this"
    drawings = [
        Drawing(
            label.replace(", ", "-").replace(" ", "-"),
            heat_figure(atlas.labels, [[finite_or_none(value) for value in row] for row in table.tolist()], label),
            label,
            caption,
        )
        for label, (table, caption) in tables.items()
        if any(map(math.isfinite, table.flatten().tolist()))
    ]
    labels, captions = [drawing.label for drawing in drawings], [drawing.caption for drawing in drawings]
    html = template("atlas/sections/heights.html", labels=labels, captions=captions)
    return Section("Between every two", html, {"heights": drawings})
