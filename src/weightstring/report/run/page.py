"""One run as one HTML page: the verdict in words, its numbers, two figures, and the settings to repeat it.

The page is self-contained (style, figures and Plotly's JavaScript are embedded, and its content security
policy forbids any request) and a pure function of its arguments: the same run gives the same bytes.
"""

from __future__ import annotations

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from weightstring.path.outcome import ADVICE, Unresolved
from weightstring.report.draw.alignment import FEW, MOST, group_rows, overall
from weightstring.report.draw.along import metrics
from weightstring.report.draw.theme import theme
from weightstring.report.html import figure_data, templates
from weightstring.report.run.data import Recorded, figures_of
from weightstring.runs.as_saved import re_estimated
from weightstring.store.attempts import attempts, told

BARRIERS = {
    "max": "the largest sampled loss itself",
    "over_ends": "largest sampled loss − the larger end loss",
    "over_mean": "largest sampled loss − the mean of the end losses (Frankle et al. 2020; Ainsworth et al. 2022)",
    "over_linear": "largest sampled excess over the line between the end losses, along the arc length "
    "(Entezari et al. 2021)",
}


def render(run: Recorded) -> str:
    """Render a run as one HTML page that needs no network.

    Args:
        run: what its directory holds.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        InvalidRun: its parts do not belong to one run, or the outcome is of an unknown kind.
    """
    figures = _figures(run)
    manifest, result, alignment = run.manifest, run.result, run.alignment
    curve, labels = result.string.curve, run.labels
    unresolved = result.outcome if isinstance(result.outcome, Unresolved) else None
    sampled = list(zip(*(curve.values[name] for name in run.bound), strict=True))
    return _pages.get_template("run/page.html").render(
        **run._asdict(),
        string=result.string,
        task=manifest.task.name.rpartition("/")[2] if manifest.task else "A problem built in Python",
        kind=result.outcome.kind,
        advice=ADVICE[unresolved.reason] if unresolved else None,
        evidence=unresolved and unresolved.evidence,
        bound=[labels[name] for name in run.bound],
        labels=labels,
        metrics=metrics(curve),
        barriers=[(name, result.string.barriers[name], text) for name, text in BARRIERS.items()],
        samples=len(sampled),
        over=sum(any(is_over(value, result.threshold) for value in point) for point in sampled),
        figures=figures,
        groups=group_rows(alignment) if alignment is not None else [],
        correlation=overall(alignment) if alignment is not None else None,
        held=run.held,
        moved=re_estimated(manifest.as_saved, (result.ends[0].get("loss"), result.ends[1].get("loss"))),
        tried=told(attempts(result.rounds), result.outcome.kind == "connected"),
        few=FEW,
        most=MOST,
        plotly=Markup(get_plotlyjs()),
    )


def _figures(run: Recorded) -> dict[str, object]:
    """What the page draws, by the names it knows: those along the string are one figure with a switch."""
    data = {name: figure_data(figure) for name, figure in figures_of(run).items()}
    along = [data.pop(f"along-{name}") for name in metrics(run.result.string.curve)]
    themes = {name: theme(dark=name == "dark").to_plotly_json() for name in ("light", "dark")}
    absent = {"correlation": None, "both": None} if run.alignment is not None else {}
    return {"loss": along, "themes": themes, **absent, **data}


def is_over(value: float | None, threshold: float) -> bool:
    """Whether a value breaks the threshold; one that is not finite (None) does.

    >>> is_over(0.5, 0.5), is_over(0.6, 0.5), is_over(None, 0.5)
    (False, True, True)
    """
    return value is None or value > threshold


_pages = templates()
_pages.tests["over"] = is_over
