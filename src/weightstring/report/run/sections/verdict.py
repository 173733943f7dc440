"""The verdict in words, what it rests on, and what to try."""

from __future__ import annotations

from weightstring.path.outcome import ADVICE, Unresolved
from weightstring.report.html import is_over, template
from weightstring.report.run.data import RunData
from weightstring.report.section import Section
from weightstring.runs.as_saved import re_estimated


def verdict(run: RunData) -> Section:
    result, curve = run.result, run.result.string.curve
    points = zip(*(curve.values[name] for name in run.bound), strict=True)
    first, last = result.ends
    unresolved = result.outcome if isinstance(result.outcome, Unresolved) else None
    html = template(
        "run/sections/verdict.html",
        run=run,
        over=sum(any(is_over(value, result.threshold) for value in point) for point in points),
        advice=ADVICE[unresolved.reason] if unresolved else None,
        evidence=unresolved and unresolved.evidence,
        moved=re_estimated(run.manifest.as_saved, (first.get("loss"), last.get("loss"))),
    )
    return Section("", html)
