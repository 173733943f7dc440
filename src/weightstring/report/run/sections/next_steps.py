"""What to do next, as commands, and the run in words to be pasted elsewhere."""

from __future__ import annotations

from weightstring.report.html import source, template
from weightstring.report.run.data import RunData
from weightstring.report.section import Section
from weightstring.runs import summary
from weightstring.runs.next_steps import next_steps as steps_of


def next_steps(run: RunData) -> Section:
    steps = steps_of(run.found, run.manifest, run.place)
    return Section(
        "What to do next",
        template(
            "run/sections/next_steps.html",
            steps=steps,
            shell=any(step.shell for step in steps),
            python=not all(step.shell for step in steps),
            texts={
                "text": summary.as_text(run.found, run.manifest, steps),
                "Markdown": summary.as_markdown(run.found, run.manifest, steps),
            },
        ),
        script=source("run/sections/next_steps.js"),
    )
