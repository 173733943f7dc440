"""The page of a verdict on merging."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.problem.surfaces import Ring
from weightstring.report import MERGING_SECTIONS
from weightstring.testing.sections import check_section


def problem_of(width: int = 4) -> ws.ModuleProblem:
    x = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))
    net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
    return ws.ModuleProblem(net, nn.functional.mse_loss, (x, x.abs().sum(1, keepdim=True)), engine="loop")


@pytest.fixture(scope="module")
def verdicts() -> dict[str, ws.Mergeability]:
    problem = problem_of()
    models = [problem.initial(seed) for seed in range(3)]
    return {
        "two": ws.mergeable(problem, models[:2], blame=True),
        "three": ws.mergeable(problem, models, blame=True),
    }


@pytest.mark.many(quick=2)
@pytest.mark.parametrize("name", MERGING_SECTIONS)
def test_every_section_holds_where_it_has_something_to_show(name, verdicts):
    only = {"between": ["two"], "barriers": ["three"]}
    for kind in only.get(name, ["two", "three"]):
        check_section(MERGING_SECTIONS[name], verdicts[kind])
    for kind in {"two", "three"} - set(only.get(name, ["two", "three"])):
        assert MERGING_SECTIONS[name](verdicts[kind]) is None


def test_the_page_has_every_number_and_asks_no_network(verdicts, tmp_path):
    found = verdicts["three"]
    page = ws.write_report(found, tmp_path / "page.html").read_text()
    assert ("They merge" if found.merges else "They do not merge") in page
    for way in found.ways:
        assert f'value="{way.loss!r}"' in page
    assert found.blame is not None
    assert f'value="{found.blame.parts[0].costs!r}"' in page
    assert page == ws.write_report(found, tmp_path / "again.html").read_text()


def test_long_names_are_cut_below_the_tree_and_whole_under_the_pointer(verdicts):
    names = tuple(f"checkpoints/of/some/length/{name}" for name in "abc")
    found = verdicts["three"]
    renamed = replace(found, lines=replace(found.lines, names=names))
    figure = MERGING_SECTIONS["barriers"](renamed).figures["tree"][0].figure
    leaves = next(trace for trace in figure.data if trace.mode == "markers")
    assert sorted(leaves.text) == list(names)
    assert max(map(len, figure.layout.xaxis.ticktext)) < len(names[0])


def test_a_verdict_on_what_is_not_finite_and_has_no_module_has_a_page(tmp_path):
    class Broken(Ring):
        def loss(self, thetas):
            return torch.where(thetas[:, 0].abs() < 0.3, math.nan, super().loss(thetas))

    broken = Broken(size=2)
    points = [torch.tensor([x, 0.0], dtype=torch.float64) for x in (-1.0, 1.0, 0.9)]
    for models in (points[:2], points):
        page = ws.write_report(ws.mergeable(broken, models, blame=True), tmp_path / "page.html").read_text()
        assert "They do not merge" in page
        assert "not finite" in page
