"""What is found about many models, in a notebook: lines between them, components, copies, merges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go

from weightstring.codec import finite_or_none
from weightstring.report.draw.correlation import correlation_figure
from weightstring.report.draw.counts import counts_figure
from weightstring.report.draw.heat import heat_figure
from weightstring.report.draw.parts import parts_figure
from weightstring.report.draw.theme import theme
from weightstring.report.draw.tree import disconnectivity_tree
from weightstring.report.draw.ways import ways_figure
from weightstring.report.notebook.view import View
from weightstring.runs.align_step import groups_of
from weightstring.study.blaming import Blame
from weightstring.study.charting import Atlas
from weightstring.study.components import Components
from weightstring.study.lines import Matrix, Square
from weightstring.study.mergeability import Mergeability
from weightstring.study.merging import Merging
from weightstring.study.repair import Repaired
from weightstring.study.threshold import Suggestion
from weightstring.symmetry.alignment import Aligned
from weightstring.symmetry.lines import POINTS


def matrix_view(matrix: Matrix) -> View:
    """Barriers over the mean of the ends, of every line."""
    kinds = {"barriers": False, **({"aligned": True} if matrix.aligned else {})}
    facts = []
    for aligned in kinds.values():
        tops = [line.curve.barrier("over_mean", matrix.quantity) for line in _lines(matrix, aligned)]
        what = "over the mean of the ends, aligned" if aligned else "over the mean of the ends"
        facts.append((f"{what}, sampled", f"{min(tops):.4g} to {max(tops):.4g}, of {len(tops)} lines"))
    return View(
        heading=matrix.title,
        facts=facts,
        figures={
            name: partial(_heat, matrix.names, matrix.barriers("over_mean", aligned=aligned), "over_mean")
            for name, aligned in kinds.items()
        },
        rows=matrix.to_rows,
    )


def atlas_view(atlas: Atlas) -> View:
    """How the models are connected: the tree, N(λ), and the lowest path between every two."""
    joins = [(f"under {own.level:.6g}", own.one, own.other) for own in atlas.bounds.joins]
    return View(
        heading=atlas.verdict,
        facts=[
            *((under, f"{atlas.group(one)} with {atlas.group(other)}") for under, one, other in joins),
            ("measured and searched", atlas.spent),
        ],
        figures={
            "tree": partial(disconnectivity_tree, atlas.bounds, atlas.labels, atlas.threshold),
            "counts": partial(counts_figure, atlas),
            "heights": partial(_heat, atlas.labels, atlas.bounds.above, "lowest path"),
        },
        rows=atlas.to_rows,
    )


def components_view(components: Components) -> View:
    """At which level which models join."""
    names = [str(number) for number in range(len(components.losses))]
    return View(
        heading=f"{len(names)} models: all joined under {components.joins[-1].level:.6g}, {components.evidence}",
        facts=[
            (f"under {join.level:.6g}", f"{' '.join(map(str, join.one))} with {' '.join(map(str, join.other))}")
            for join in components.joins
        ],
        figures={
            "tree": partial(disconnectivity_tree, components),
            "heights": partial(_heat, names, components.above, "height of the lowest string"),
        },
        rows=lambda: [join._asdict() for join in components.joins],
    )


def aligned_view(aligned: Aligned) -> View:
    """How much nearer the copy lies, how much lower the line to it, and how well units match."""
    groups = groups_of(aligned)
    drawn = {"correlation": partial(_correlation, groups)} if any(group.correlation for group in groups) else {}
    more = ", units mixed" * aligned.chosen.mapped + ", units rescaled" * aligned.chosen.rescaled
    return View(
        heading=f"aligned by {aligned.chosen.method}{more}",
        facts=[
            ("distance", f"{aligned.distance_before:.6g} → {aligned.distance:.6g}"),
            (
                f"barrier of the line, at {POINTS} points",
                f"{aligned.barrier_before:.6g} → {aligned.barrier_after:.6g}",
            ),
            ("units moved", f"{sum(g.moved for g in groups)} of {sum(g.size for g in groups)}"),
            ("difference of outputs", f"{aligned.difference:.2g} of the largest, on {aligned.examples} inputs"),
            ("cost", f"{aligned.evaluations:.3g} evaluations, {aligned.seconds:.1f} s"),
        ],
        figures=drawn,
        rows=lambda: [
            {
                "group": group.name,
                "size": group.size,
                "moved": group.moved,
                "correlation_before": _mean(group.correlation_before),
                "correlation": _mean(group.correlation),
            }
            for group in groups
        ],
    )


def blame_view(blame: Blame) -> View:
    """Which part raises the line between two models."""
    first, *others = blame.verdict.splitlines()
    return View(
        heading=first,
        facts=[("", line) for line in others],
        figures={"parts": partial(parts_figure, blame)},
        rows=blame.to_rows,
    )


def merging_view(merging: Merging) -> View:
    """What the midpoint, the best point and the ensemble are worth beside the ends."""
    rows = [
        {"model": "end A", "s": 0.0, **merging.ends[0].values},
        {"model": "end B", "s": 1.0, **merging.ends[1].values},
        {"model": "midpoint", "s": merging.midpoint.s, **merging.midpoint.values},
        {"model": "best sampled", "s": merging.best.s, **merging.best.values},
    ]
    if merging.ensemble is not None:
        rows.append({"model": f"ensemble of {len(merging.ensemble.models)}", **merging.ensemble.values})
    first, *others = str(merging).splitlines()
    return View(
        heading=first,
        facts=[("", line) for line in others],
        figures={"losses": partial(_bars, rows, "loss", "loss")},
        rows=lambda: rows,
    )


def repaired_view(repaired: Repaired) -> View:
    """What the average was worth, before and after."""
    first, *others = str(repaired).splitlines()
    rows = [{"model": f"model {number}", **values} for number, values in enumerate(repaired.models)]
    rows += [{"model": "average", **repaired.before}, {"model": "repaired", **repaired.after}]
    return View(
        heading=first,
        facts=[("", line) for line in others],
        figures={"losses": partial(_bars, rows, "loss", "loss")},
        rows=lambda: rows,
    )


def mergeability_view(found: Mergeability) -> View:
    """What each way to merge comes to, beside the models."""
    first, *others = found.verdict.splitlines()
    return View(
        heading=first,
        tone="good" if found.merges else "open",
        facts=[("", line) for line in others],
        figures={"losses": partial(ways_figure, found, found.label("loss"))},
        rows=found.to_rows,
    )


def suggestion_view(suggestion: Suggestion) -> View:
    """A threshold on the scale of what is reached beside it."""
    first, *others = str(suggestion).splitlines()
    known = {
        "end A": suggestion.ends[0],
        "end B": suggestion.ends[1],
        "threshold": suggestion.value,
        "straight line": suggestion.line.value,
        **({} if suggestion.constant is None else {"best constant": suggestion.constant}),
    }
    rows: list[dict[str, Any]] = [{"model": name, "value": value} for name, value in known.items()]
    return View(
        heading=first,
        facts=[("", line) for line in others],
        figures={"scale": partial(_bars, rows, "value", suggestion.bound)},
        rows=lambda: rows,
    )


def _lines(matrix: Matrix, aligned: bool) -> list[Any]:
    return [lines.aligned if aligned else lines.given for lines in matrix.lines.values()]


def _heat(names: Sequence[str], table: Square, label: str) -> go.Figure:
    return heat_figure(names, [[finite_or_none(value) for value in row] for row in table.tolist()], label)


def _correlation(groups: Sequence[Any]) -> go.Figure:
    figure = correlation_figure(groups)
    assert figure is not None
    return figure


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _bars(rows: Sequence[dict[str, Any]], column: str, label: str) -> go.Figure:
    """One number of each of a few models, side by side."""
    figure = go.Figure(layout={"template": theme(dark=False)})
    figure.add_scatter(
        x=list(range(len(rows))), y=[row[column] for row in rows], mode="markers", showlegend=False,
        marker={"size": 12, "color": "#2c7fd1"}, name=label,
    )  # fmt: skip
    figure.update_layout(
        xaxis={
            "tickvals": list(range(len(rows))), "ticktext": [row["model"] for row in rows],
            "range": [-0.5, len(rows) - 0.5],
        },
        yaxis={"title": {"text": label}},
    )  # fmt: skip
    return figure
