"""Pages of strings that no search has made, and of matrices."""

from __future__ import annotations

import math

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring, Spike
from weightstring.report import ATLAS_SECTIONS, MATRIX_SECTIONS, STRING_SECTIONS
from weightstring.report.atlas.page import AtlasPage
from weightstring.report.draw.heat import heat_figure
from weightstring.report.string.page import data_of
from weightstring.testing.sections import check_section

RING = Ring(size=3)
A, B = RING.ends


@pytest.fixture(scope="module")
def curve() -> ws.WeightString:
    """Samples of a Bézier curve of one's own."""
    ts = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    bend = torch.tensor([0.0, 3.0, 0.2], dtype=torch.float64)
    return ws.WeightString(RING, (1 - ts) ** 2 * A + 2 * ts * (1 - ts) * bend + ts**2 * B)


@pytest.mark.parametrize("name", STRING_SECTIONS)
def test_every_section_of_a_strings_page_holds(name, curve):
    if STRING_SECTIONS[name](data_of(curve)) is None:
        assert name == "looseness"  # of a certificate, which the string has none of
    else:
        check_section(STRING_SECTIONS[name], data_of(curve))


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("name", MATRIX_SECTIONS)
def test_every_section_of_a_matrix_page_holds(name, align):
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    problem = ws.ModuleProblem(net, torch.nn.functional.mse_loss, (x, x[:, :1]), engine="loop")
    found = ws.matrix(problem, [problem.initial(seed) for seed in range(3)], align=align)
    check_section(MATRIX_SECTIONS[name], found)


@pytest.mark.parametrize("name", ATLAS_SECTIONS)
def test_every_section_of_an_atlas_page_holds(name):
    found = ws.atlas(RING, [A, B, 0.99 * A], threshold=2.0, searches=0, progress=False)
    check_section(ATLAS_SECTIONS[name], AtlasPage(found, {}))


def test_a_strings_page_says_that_nothing_was_searched(curve, tmp_path):
    page = ws.write_report(curve, tmp_path / "page.html").read_text()
    assert "No search and no verdict" in page
    assert "Connected" not in page
    assert "Margin to" not in page
    assert "threshold or not finite" not in page
    assert f'value="{curve.max_loss!r}"' in page
    assert page == ws.write_report(curve, tmp_path / "again.html").read_text()


def test_a_string_read_from_disk_has_a_page_without_its_problem(tmp_path):
    ws.connect(RING, A, B, 0.2, store=tmp_path / "run", progress=False)
    page = ws.write_report(ws.load(tmp_path / "run").string, tmp_path / "page.html").read_text()
    assert "No search and no verdict" in page


def test_what_is_not_finite_is_said(tmp_path):
    class Broken(Ring):
        def loss(self, thetas):
            return torch.where(thetas[:, 0].abs() < 0.05, math.nan, super().loss(thetas))

    broken = Broken(size=2)
    line = ws.WeightString(broken, torch.stack([torch.tensor([x, 0.0], dtype=torch.float64) for x in (-1.0, 1.0)]))
    assert "not finite" in ws.write_report(line, tmp_path / "line.html").read_text()


def test_a_page_needs_a_place_and_numbers(curve):
    with pytest.raises(InvalidSetting, match="write_report of a WeightString: give out="):
        ws.write_report(curve)
    with pytest.raises(InvalidSetting, match="has no problem to measure"):
        ws.write_report(ws.WeightString(None, curve.beads), "nowhere.html")


def test_a_map_of_colours_has_a_number_for_every_two():
    names = ["one", "two", "a" * 40]
    figure = heat_figure(names, [[0.0, 1.5, None], [1.5, 0.0, 2.0], [None, 2.0, 0.0]], "barrier")
    (heat,) = figure.data
    assert list(heat.z[0]) == [0.0, 1.5, None]
    assert heat.text[0][2] == "not finite"
    assert figure.layout.yaxis.range == (2.5, -0.5)
    assert figure.layout.xaxis.ticktext[2] == "…" + "a" * 23
    many = heat_figure([str(k) for k in range(13)], [[0.0] * 13] * 13, "barrier")
    assert many.data[0].texttemplate is None


def test_a_matrix_page_has_all_barriers(tmp_path):
    spike = Spike()
    found = ws.matrix(spike, {"left": spike.ends[0], "right": spike.ends[1]})
    page = ws.write_report(found, tmp_path / "matrix.html").read_text()
    assert "no search and no verdict" in page
    assert "Sampled barriers of loss on" in page  # a surface has no data
    for name in ("over_mean", "over_ends", "over_linear", "left", "right"):
        assert name in page
