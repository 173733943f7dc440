"""Of more than two models: the barrier between every two, and at which level straight lines join them."""

from __future__ import annotations

import torch

from weightstring.codec import finite_or_none
from weightstring.report.draw.heat import heat_figure
from weightstring.report.draw.tree import disconnectivity_tree
from weightstring.report.html import template
from weightstring.report.section import Drawing, Section
from weightstring.study.components import Components
from weightstring.study.lines import Matrix
from weightstring.study.mergeability import Mergeability


def barriers(found: Mergeability) -> Section | None:
    lines = found.lines
    if len(found.models) < 3 or lines is None:
        return None
    kinds = {"as given": False, **({"aligned": True} if lines.aligned else {})}
    maps = [_map(lines, words, aligned) for words, aligned in kinds.items()]
    trees = [tree for words, aligned in kinds.items() if (tree := _tree(found, lines, words, aligned)) is not None]
    drawn = {"barriers": maps, **({"tree": trees} if trees else {})}
    midpoints = all(len(pair.given.t) == 3 for pair in lines.lines.values())
    html = template(
        "merging/sections/barriers.html", found=found, labels=[each.label for each in maps], midpoints=midpoints,
        trees=[each.label for each in trees],
    )  # fmt: skip
    return Section("Between every two", html, drawn)


def _map(lines: Matrix, words: str, aligned: bool) -> Drawing:
    rows = [[finite_or_none(value) for value in row] for row in lines.barriers(aligned=aligned).tolist()]
    name = "barriers-aligned" if aligned else "barriers"
    return Drawing(name, heat_figure(lines.names, rows, "barrier"), words)


def _tree(found: Mergeability, lines: Matrix, words: str, aligned: bool) -> Drawing | None:
    """Single linkage of the lines' maxima; none where one of these is not finite."""
    heights = lines.barriers("max", aligned=aligned)
    losses = heights.diagonal().clone()
    if not bool(heights.isfinite().all()):
        return None
    below = torch.maximum(losses[:, None], losses[None, :])
    joined = Components(losses, torch.maximum(heights, below), below)
    figure = disconnectivity_tree(joined, lines.names)
    figure.update_yaxes(title={"text": f"{found.label('loss')}, of lines sampled"})
    return Drawing("tree-aligned" if aligned else "tree", figure, words)
