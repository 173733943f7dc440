"""Sections of a page: their order, what an outside one brings, and what a file cannot show of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest
import torch
from markupsafe import Markup

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.path.plane import plane
from weightstring.problem.surfaces import Ring, shifted
from weightstring.registry import Registry
from weightstring.report import RUN_SECTIONS, Drawing, RunData, Section
from weightstring.report.draw.plane import to_record
from weightstring.report.draw.static import drawn
from weightstring.report.run.data import read_run
from weightstring.report.section import Page, drawings, in_order, render_page
from weightstring.store import RunDirectory
from weightstring.testing.sections import check_section

RING = Ring(size=6, radii=(1.0, 1.5))


def titled(title: str, after: str = "", figure: go.Figure | None = None) -> Callable[[str], Section]:
    figures = {} if figure is None else {title: [Drawing(title, figure)]}
    return lambda data: Section(title, Markup("<p>{}</p>").format(data), figures, after=after)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A run, the loss around it measured, and two others along its string."""
    path = tmp_path_factory.mktemp("ring") / "run"
    result = ws.connect(RING, *RING.ends, 0.12, store=path, progress=False)
    RunDirectory(path).write_plane(to_record(plane(RING, result.string, 5), RunDirectory(path).result().beads_sha256))
    for name, lift in (("higher", 1.0), ("far", 2.0)):
        ws.measure(path, shifted(RING, torch.zeros(6, dtype=torch.float64), lift=lift), name=name)
    return read_run(path)


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


@pytest.mark.parametrize(
    ("html", "figures", "says"),
    [
        ("<p>x</p></div>", {}, "</div> ends what is not open"),
        ("<img src='https://example.org/x'>", {}, "asks for 'https://example.org/x'"),
        ("<p>x</p>", {"own": 1}, r"figures \['own'\], but html has places for \[\]"),
        ("<div id='figure-own'></div>", {}, r"figures \[\], but html has places for \['own'\]"),
        ("<div id='figure-own'></div>", {"own": 2}, "drawn in 2 ways, but its switch has 0 choices"),
    ],
)
def test_a_section_that_would_spoil_a_page_is_told(html: str, figures: dict[str, int], says: str) -> None:
    drawn_twice = {name: [Drawing(name, go.Figure())] * count for name, count in figures.items()}
    with pytest.raises(AssertionError, match=says):
        check_section(lambda data: Section("title", Markup(html), drawn_twice), None)


@pytest.mark.parametrize("name", RUN_SECTIONS)
def test_every_section_of_a_runs_page_holds(name: str, ring: RunData) -> None:
    if RUN_SECTIONS[name](ring) is None:
        assert name in ("alignment", "looseness")  # which the run has none of
    else:
        check_section(RUN_SECTIONS[name], ring)


def test_a_certificate_is_explained_on_a_page(ring: RunData) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    problem = ws.ModuleProblem(net, torch.nn.functional.mse_loss, (torch.eye(2), torch.ones(2, 1)))
    line = ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in range(2)]))
    certificate = ws.certify(problem, line, tol=0.1, explain=True)
    check_section(RUN_SECTIONS["looseness"], SimpleNamespace(certificate=certificate, string=ring.string))


def test_a_run_in_memory_has_the_page_of_a_directory(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    ws.connect(RING, *RING.ends, 0.12, store=kept, progress=False)
    page = ws.write_report(kept, tmp_path / "page.html").read_text()
    assert "The search, round by round" in page
    with pytest.raises(InvalidSetting, match="the dict given as store: give out="):
        ws.write_report(kept)
