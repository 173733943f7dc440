"""What to do next, as commands."""

from __future__ import annotations

from weightstring.report.html import source, template
from weightstring.report.section import Section
from weightstring.study.merge_steps import steps_of
from weightstring.study.mergeability import Mergeability


def next_steps(found: Mergeability) -> Section:
    steps = steps_of(found)
    html = template("merging/sections/next_steps.html", steps=steps, python=not all(step.shell for step in steps))
    return Section("What to do next", html, script=source("run/sections/next_steps.js"))
