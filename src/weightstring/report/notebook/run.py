"""The result of a search in a notebook."""

from __future__ import annotations

from functools import partial

from weightstring.path import Connected, Disconnected, Unresolved
from weightstring.report.draw.depth import depth_figure
from weightstring.report.notebook.string import figures_of, samples_of
from weightstring.report.notebook.view import View
from weightstring.report.string.page import StringData, as_written, in_numbers
from weightstring.runs.facts import facts
from weightstring.runs.recording import line_record
from weightstring.runs.result import Result
from weightstring.study.minimax import Minimax

TONES = {Connected: "good", Unresolved: "open", Disconnected: "bad"}


def result_view(result: Result) -> View:
    """The verdict, the numbers behind it, and the curves that it rests on."""
    data = StringData(
        in_numbers(result.string),
        list(result.string),
        result.evaluation,
        {},
        threshold=result.threshold,
        certificate=result.certificate,
        bound=result.names,
        line=None if result.line is None else as_written(line_record(result.line)),
    )
    figures = figures_of(data)
    if result.history:
        figures["depth"] = partial(depth_figure, result.history, result.threshold)
    return View(
        heading=str(result.outcome),
        tone=TONES[type(result.outcome)],
        facts=facts(result),
        figures=figures,
        rows=partial(samples_of, result.string),
    )


def minimax_view(minimax: Minimax) -> View:
    """What is known of Γ, and the lowest string that was found."""
    found = result_view(minimax.result)
    proved = [("certified", str(minimax.certificate))] if minimax.certificate is not None else []
    return View(
        heading=str(minimax).partition(";")[0],
        tone="good" if minimax.resolved else "open",
        facts=[
            ("Γ is at most, sampled", f"{minimax.level:.6g}"),
            ("Γ is at least, proved", f"{minimax.lower_bound:.6g}"),
            *proved,
            *(fact for fact in found.facts if fact[0] not in ("threshold", "certified", "what to try")),
        ],
        figures=found.figures,
        rows=found.rows,
    )
