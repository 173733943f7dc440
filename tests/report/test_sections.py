"""Sections of a page: their order, what an outside one brings, and what a file cannot show of it."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import pytest
from markupsafe import Markup

from weightstring.errors import InvalidSetting
from weightstring.registry import Registry
from weightstring.report import RUN_SECTIONS, SWEEP_SECTIONS, Drawing, Section
from weightstring.report.draw.static import drawn
from weightstring.report.section import Page, drawings, in_order, render_page


def titled(title: str, after: str = "", figure: go.Figure | None = None) -> Callable[[str], Section]:
    figures = {} if figure is None else {title: [Drawing(title, figure)]}
    return lambda data: Section(title, Markup("<p>{}</p>").format(data), figures, after=after)


@pytest.fixture
def sections() -> Registry:
    made = Registry("section")
    made.add("first", titled("First"))
    made.add("nothing", lambda data: None)
    made.add("second", titled("Second"))
    return made


def test_a_section_follows_the_one_that_it_names_and_else_the_last(sections: Registry) -> None:
    sections.add("behind", titled("Behind", after="first"))
    sections.add("astray", titled("Astray", after="nothing"))
    assert list(in_order(sections, "x")) == ["first", "behind", "second", "astray"]


def test_its_words_are_escaped_and_its_figure_is_on_the_page_and_in_the_files(sections: Registry) -> None:
    sections.add("own", titled("own", figure=go.Figure(go.Scatter(x=[0, 1], y=[2, 3]))))
    html = render_page(Page("run", "title", "subject", "heading"), sections, "<b>")
    assert html.count("<p>&lt;b&gt;</p>") == 3
    assert '"own": [{"data"' in html
    assert [drawing.name for drawing in drawings(sections, "<b>")] == ["own"]


def test_a_trace_that_files_cannot_show_is_named() -> None:
    with pytest.raises(InvalidSetting, match=r"no 'pie' of Plotly's: make the figure of scatter"):
        drawn(go.Figure(go.Pie(values=[1, 2])))


def test_every_built_in_section_is_there() -> None:
    for registry in (RUN_SECTIONS, SWEEP_SECTIONS):
        assert all(callable(registry[name]) for name in registry)
