"""One run as one HTML page: the verdict in words, its numbers, two figures, and the settings to repeat it.

The page is self-contained (style, figures and Plotly's JavaScript are embedded, and its content security
policy forbids any request) and a pure function of its arguments: the same run gives the same bytes.
"""

from __future__ import annotations

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from weightstring.arrays import Thetas
from weightstring.certification import Certificate
from weightstring.errors import InvalidRun
from weightstring.path.outcome import ADVICE
from weightstring.report.alignment import FEW, MOST, group_rows, overall
from weightstring.report.evolution import Evolution
from weightstring.report.figures import metrics
from weightstring.report.html import figure_data, templates
from weightstring.report.recorded import Recorded, figures_of
from weightstring.report.theme import theme
from weightstring.store.records import AlignmentRecord, Manifest, PlaneRecord, ResultRecord

BARRIERS = {
    "max": "the largest sampled loss itself",
    "over_ends": "largest sampled loss − the larger end loss",
    "over_mean": "largest sampled loss − the mean of the end losses (Frankle et al. 2020; Ainsworth et al. 2022)",
    "over_linear": "largest sampled excess over the line between the end losses, along the arc length "
    "(Entezari et al. 2021)",
}


def render(
    manifest: Manifest,
    result: ResultRecord,
    beads: Thetas,
    certificate: Certificate | None = None,
    alignment: AlignmentRecord | None = None,
    plain: ResultRecord | None = None,
    evolution: Evolution | None = None,
    plane: PlaneRecord | None = None,
) -> str:
    """Render a run as one HTML page that needs no network.

    Args:
        manifest: what determined the run.
        result: its verdict and numbers.
        beads: the models of its string (B, P), the ends included, in order.
        certificate: the proof of a bound over this string, if there is one.
        alignment: how the second end was aligned with the first, if it was.
        plain: the result of the same search without alignment, where it was made.
        evolution: the string after each round, where the journal tells.
        plane: the loss on a plane through the string, where it was measured.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        InvalidRun: they do not belong to one run, or the outcome is of an unknown kind.
    """
    run = Recorded(manifest, result, beads, certificate, alignment, plain, evolution, plane)
    _check(manifest, result, beads, plain if alignment else None)
    curve, labels = result.string.curve, run.labels
    figures = _figures(run)
    sampled = list(zip(*(curve.values[name] for name in run.bound), strict=True))
    return _pages.get_template("page.html").render(
        manifest=manifest,
        result=result,
        string=result.string,
        task=manifest.task.name.rpartition("/")[2] if manifest.task else "A problem built in Python",
        kind=result.outcome.kind,
        advice=ADVICE[result.outcome.reason] if result.outcome.reason else None,
        evidence=result.outcome.evidence,
        bound=[labels[name] for name in run.bound],
        labels=labels,
        metrics=metrics(curve),
        barriers=[(name, result.string.barriers[name], text) for name, text in BARRIERS.items()],
        samples=len(sampled),
        certificate=certificate,
        over=sum(any(is_over(value, result.threshold) for value in point) for point in sampled),
        figures=figures,
        alignment=alignment,
        plain=plain,
        groups=group_rows(alignment) if alignment is not None else [],
        correlation=overall(alignment) if alignment is not None else None,
        evolution=evolution,
        plane=plane,
        held=run.held,
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


def _check(manifest: Manifest, result: ResultRecord, beads: Thetas, plain: ResultRecord | None) -> None:
    expected = (result.string.beads, manifest.size)
    if tuple(beads.shape) != expected:
        raise InvalidRun(
            f"the string has {expected[0]} beads of {expected[1]} parameters, but the beads given have shape "
            f"{tuple(beads.shape)}; pass the beads of the same run"
        )
    if "loss" not in result.string.curve.values:
        raise InvalidRun("the curve holds no loss; measure the string again")
    missing = BARRIERS.keys() - result.string.barriers.keys()
    if missing:
        raise InvalidRun(f"barriers {', '.join(sorted(missing))} are missing from the result; measure the string again")
    if plain is not None and plain.names != result.names:
        raise InvalidRun(
            f"the search without alignment binds {plain.bind!r}, the run binds {result.bind!r}; "
            "pass the two results of one run"
        )


_pages = templates()
_pages.tests["over"] = is_over
