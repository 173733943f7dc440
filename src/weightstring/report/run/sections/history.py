"""What the search did: Γ̃ by depth, the recursion, and every round."""

from __future__ import annotations

from weightstring.report.draw.branching import branching_figure
from weightstring.report.draw.depth import depth_figure
from weightstring.report.html import template
from weightstring.report.run.data import RunData
from weightstring.report.section import Drawing, Section
from weightstring.store.attempts import attempts, told
from weightstring.store.records import step_found


def history(run: RunData) -> Section:
    result, figures = run.result, {}
    if result.rounds:
        figures["depth"] = [Drawing("depth", depth_figure(result.rounds, result.threshold))]
    if run.evolution is not None and run.evolution.branches:
        figures["branching"] = [Drawing("branching", branching_figure(run.evolution.branches, run.held))]
    tried = told(attempts(result.rounds), result.outcome.kind == "connected")
    return Section(
        "Search history",
        template("run/sections/history.html", run=run, tried=tried, step=step_found(result.rounds)),
        figures,
    )
