"""Whether they merge, after what, and the numbers that are asked for first."""

from __future__ import annotations

from weightstring.memory import gigabytes
from weightstring.report.html import template
from weightstring.report.section import Section
from weightstring.study.mergeability import Mergeability
from weightstring.text import seconds_in_words


def verdict(found: Mergeability) -> Section:
    (claim, _, said), *others = (line.partition(": ") for line in found.verdict.splitlines())
    losses = [values["loss"] for values in found.models.values()]
    html = template(
        "merging/sections/verdict.html",
        found=found,
        claim=claim,
        said=said,
        others=["".join(parts) for parts in others],
        losses=losses,
        label=found.label("loss"),
        seconds=seconds_in_words(found.seconds),
        memory=gigabytes(found.memory),
        where="of GPU memory" if found.about.get("device") == "cuda" else "of memory by the whole process",
    )
    return Section("", html)
