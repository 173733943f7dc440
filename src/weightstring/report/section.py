"""A page is its sections in order: what a section is, and how a page is made of them.

Whoever has something to add to a page writes a function and registers it, as weightstring does with its own::

    @RUN_SECTIONS.register("flatness")
    def flatness(run: RunData) -> Section | None: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from weightstring.registry import Registry
from weightstring.report.draw.theme import theme
from weightstring.report.html import template

Data = TypeVar("Data")


@dataclass(frozen=True)
class Drawing:
    """A figure, prepared once: Plotly draws it in the page, matplotlib in files.

    Args:
        name: of its files, without an ending.
        figure: what is drawn.
        label: what a switch calls it among its like.
        caption: what stands below it while the switch shows it.
    """

    name: str
    figure: go.Figure
    label: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: the heading; empty for none.
        html: what stands below it; a figure's place is an element whose id is ``figure-<name>``.
        figures: by name; of several drawings under one name a switch shows one.
        script: JavaScript that it needs, once a page.
        after: name of the section that it follows; empty: the one registered before it.
    """

    title: str
    html: Markup
    figures: Mapping[str, Sequence[Drawing]] = field(default_factory=dict)
    script: str = ""
    after: str = ""


Sections = Registry[Callable[[Data], Section | None]]
"""Functions from what is shown to a section, or to None where there is nothing to show."""


class Page(NamedTuple):
    """What a page has beside its sections.

    Args:
        kind: ``run`` or ``sweep``.
        title: of the window.
        subject: above the heading, in a few words.
        heading: what was searched.
        facts: below the heading.
    """

    kind: str
    title: str
    subject: str
    heading: str
    facts: str = ""


def in_order(sections: Sections[Data], data: Data) -> dict[str, Section]:
    """The sections that have something to show: as registered, but each behind the one that it names."""
    made = {name: section for name, make in sections.items() if (section := make(data)) is not None}
    names: list[str] = []
    for name, section in made.items():
        names.insert(names.index(section.after) + 1 if section.after in names else len(names), name)
    return {name: made[name] for name in names}


def drawings(sections: Sections[Data], data: Data) -> list[Drawing]:
    """Every figure of a page, in its order."""
    shown = in_order(sections, data).values()
    return [drawing for section in shown for alternatives in section.figures.values() for drawing in alternatives]


def render_page(page: Page, sections: Sections[Data], data: Data) -> str:
    """A page as HTML that needs no network: a pure function, whose only source of numbers is ``data``."""
    shown = in_order(sections, data)
    drawn = {
        name: [_as_json(drawing.figure) for drawing in alternatives]
        for section in shown.values()
        for name, alternatives in section.figures.items()
    }
    themes = {name: theme(dark=name == "dark").to_plotly_json() for name in ("light", "dark")}
    return template(
        "page.html",
        page=page,
        sections=shown,
        scripts=dict.fromkeys(Markup(section.script) for section in shown.values() if section.script),
        figures={"themes": themes, "drawn": drawn},
        plotly=Markup(get_plotlyjs()),
    )


def _as_json(figure: go.Figure) -> dict[str, object]:
    """A figure as JSON's own types, without its template: the page holds both templates once."""
    drawn = figure.to_dict()
    drawn["layout"].pop("template", None)
    data: dict[str, object] = json.loads(to_json_plotly(drawn))
    return data
