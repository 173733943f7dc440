"""A search drawn round by round: the strings of the journal, in the axes of the result."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.codec import decode
from weightstring.errors import InvalidRun
from weightstring.problem.surfaces import Ring
from weightstring.report import write_report
from weightstring.report.draw.along import bead_rows
from weightstring.report.draw.branching import branching_figure
from weightstring.report.draw.evolution import Evolution, evolution_figure
from weightstring.report.draw.projection import places
from weightstring.report.draw.string import string_figure
from weightstring.report.run import replay as module
from weightstring.report.run.data import read_run
from weightstring.search import Measured
from weightstring.store import RunDirectory

RING = Ring(size=6, radii=(1.0, 1.5))
STRATEGIES: dict[str, Any] = {
    "greedy": ws.Greedy(),
    "as in the paper": ws.AsInThePaper(),
    "constrained": ws.Constrained(),
    "breadth-first": ws.BreadthFirst(),
    "bezier": ws.Bezier(points=4),
    "autoneb": ws.AutoNEB(),
    "shortened": ws.Shortened(ws.Greedy()),
}
RECURSIVE = ("greedy", "as in the paper", "constrained", "shortened")


def evolution_of(run: Path) -> Evolution | None:
    return read_run(run).evolution


def figures_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])["drawn"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run of every strategy, with beads between its ends."""
    root = tmp_path_factory.mktemp("searched")
    for name, strategy in STRATEGIES.items():
        ws.connect(RING, *RING.ends, 0.12, strategy=strategy, store=root / name, progress=False)
    return {name: root / name for name in STRATEGIES}


class TestEvolution:
    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_each_step_is_the_string_that_the_history_tells_of(self, searched: dict[str, Path], name: str) -> None:
        found, result = evolution_of(searched[name]), RunDirectory(searched[name]).result()
        assert found is not None
        assert found.rounds == len(result.rounds) >= 3
        start, *steps = found.steps[: found.rounds + 1]
        assert [len(step.beads) for step in steps] == [one.beads for one in result.rounds]
        assert [step.heights for step in steps[:-1]] == [one.values for one in result.rounds[:-1]]
        assert [sum(bool(span.over) for span in step.spans) for step in steps[-1:]] == [0]
        assert start.beads == ("A", "B")
        assert start.label == "Before the first round · 2 beads · 1 not measured yet"
        assert start.spans == ((None, None, None),)
        final = found.steps[-1]
        assert final.heights == tuple(result.string.curve.values["loss"][row] for row in rows_of(result, final))
        assert final.largest == max(one.max for one in result.string.segments)

    def test_a_greedy_search_adds_the_models_of_its_journal(self, searched: dict[str, Path]) -> None:
        directory = RunDirectory(searched["greedy"])
        found = evolution_of(searched["greedy"])
        assert found is not None
        models = [*directory.ends()]
        known = {tuple(bead) for bead in models_placed(directory, models)}
        for step, finished in zip(found.steps[1:], directory.replay(), strict=False):
            models += [] if finished.thetas is None else [*finished.thetas]
            known |= {tuple(bead) for bead in models_placed(directory, models)}
            assert set(step.corners) <= known

    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_it_is_the_same_each_time_and_independent_of_the_page(self, searched: dict[str, Path], name: str) -> None:
        assert evolution_of(searched[name]) == evolution_of(searched[name])
        first = write_report(searched[name], searched[name] / "one.html").read_bytes()
        assert first == write_report(searched[name], searched[name] / "two.html").read_bytes()
        assert len(first) < 6e6

    def test_the_last_step_lies_where_the_flat_picture_has_it(self, searched: dict[str, Path]) -> None:
        found = evolution_of(searched["greedy"])
        assert found is not None
        directory = RunDirectory(searched["greedy"])
        flat = string_figure(directory.result().string.curve, directory.string())
        beads = next(trace for trace in flat.data if trace.name == "beads")
        corners = torch.tensor(found.steps[-1].corners, dtype=torch.float64)
        expected = torch.tensor([beads.x, beads.y], dtype=torch.float64).T
        torch.testing.assert_close(corners[:, :2], expected, rtol=1e-5, atol=1e-6)
        assert f"{100 * found.explained[0]:.3g} %" in flat.layout.xaxis.title.text

    @pytest.mark.parametrize("limit", ["MOST", "BEADS"])
    def test_a_long_search_is_thinned(
        self, searched: dict[str, Path], monkeypatch: pytest.MonkeyPatch, limit: str
    ) -> None:
        with monkeypatch.context() as unlimited:
            unlimited.setattr(module, "MOST", 10**6)
            unlimited.setattr(module, "BEADS", 10**9)
            whole = evolution_of(searched["shortened"])
        widest = max(one.beads for one in RunDirectory(searched["shortened"]).result().rounds)
        monkeypatch.setattr(module, limit, 5 if limit == "MOST" else 5 * widest + 1)
        some = evolution_of(searched["shortened"])
        assert whole is not None
        assert some is not None
        assert len(some.steps) == 5
        assert (some.steps[0].label, some.steps[-1].label) == (whole.steps[0].label, whole.steps[-1].label)
        assert some.branches == whole.branches
        assert {step.label for step in some.steps} <= {step.label for step in whole.steps}

    def test_a_string_that_the_journal_does_not_end_with_is_a_step_of_its_own(
        self, searched: dict[str, Path], tmp_path: Path
    ) -> None:
        shutil.copytree(searched["greedy"], tmp_path / "run")
        directory = RunDirectory(tmp_path / "run")
        result, beads = directory.result(), directory.string().clone()
        beads[1, 0] += 0.25
        directory.finish(result, beads)
        found = evolution_of(tmp_path / "run")
        assert found is not None
        assert found.steps[-1].name == "Result"
        assert len(found.steps) == found.rounds + 2


class TestNothingToSee:
    def test_ends_that_a_straight_line_connects(self, tmp_path: Path) -> None:
        a = RING.ends[0]
        ws.connect(RING, a, a + 0.01, 1.0, store=tmp_path / "run", progress=False)
        assert evolution_of(tmp_path / "run") is None
        assert "round by round" not in write_report(tmp_path / "run").read_text()

    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize("damage", ["no journal", "empty", "cut", "of another search", "no beads", "strategy"])
    def test_a_journal_that_cannot_be_replayed_costs_nothing_but_its_figures(
        self, searched: dict[str, Path], tmp_path: Path, damage: str
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(searched["greedy"], run)
        whole = figures_in(write_report(run).read_text())
        journal = run / "journal.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        if damage == "no journal":
            journal.unlink()
        elif damage == "no beads":
            (run / "beads" / "round-0001.safetensors").unlink()
        elif damage == "strategy":
            manifest = msgspec.json.decode((run / "manifest.json").read_bytes())
            manifest["strategy"]["name"] = "Own"
            (run / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        else:
            other = {"empty": [], "cut": [lines[0], "{}\n"], "of another search": [lines[0].replace("a-b", "a-c")]}
            journal.write_text("".join(other[damage]))
        assert evolution_of(run) is None
        page = write_report(run).read_text()
        assert "round by round" not in page
        assert "The recursion" not in page
        assert "The search is not drawn step by step: " in page
        assert (damage == "strategy") == ("its strategy &#39;Own&#39; is not registered here" in page)
        left = figures_in(page)
        assert {name: whole[name] for name in left} == left
        assert whole.keys() - left.keys() == {"evolution", "branching"}


class TestFigure:
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_every_frame_can_take_the_place_of_another(self, searched: dict[str, Path], name: str) -> None:
        found = evolution_of(searched[name])
        assert found is not None
        figure = evolution_figure(found, "evaluation loss")
        assert [frame.name for frame in figure.frames] == [step.label for step in found.steps]
        kinds = {tuple((trace.type, trace.mode) for trace in frame.data) for frame in figure.frames}
        assert len(kinds) == 1
        scene = figure.layout.scene
        for step in found.steps:
            for axis, values in zip("xzy", zip(*step.corners, strict=True), strict=True):
                low, high = scene[f"{axis}axis"].range
                assert low < min(values) <= max(values) < high

    def test_segments_stand_in_the_line_of_their_kind(self, searched: dict[str, Path]) -> None:
        found = evolution_of(searched["greedy"])
        assert found is not None
        for step, frame in zip(found.steps, evolution_figure(found).frames, strict=True):
            low, unknown, over = (len(frame.data[row].x) // 3 for row in (1, 2, 3))
            states = [span.over for span in step.spans]
            assert (low, unknown, over) == tuple(states.count(state) for state in (False, None, True))
            beads = next(trace for trace in frame.data if trace.marker.size == 7)
            assert list(zip(beads.x, beads.z, beads.y, strict=True)) == list(step.corners)

    def test_losses_that_are_not_finite_are_crosses(self, searched: dict[str, Path]) -> None:
        found = evolution_of(searched["greedy"])
        assert found is not None
        step = found.steps[-1]
        heights = (None, *step.heights[1:])
        broken = step._replace(heights=heights, spans=(step.spans[0]._replace(height=None), *step.spans[1:]))
        figure = evolution_figure(Evolution((*found.steps[:-1], broken), found.explained, found.rounds, ()))
        crosses = [len(trace.x) for trace in figure.frames[-1].data if trace.marker.symbol == "x"]
        assert crosses == [1, 1]
        assert "largest sampled not finite" in broken.label


class TestProjection:
    @pytest.mark.parametrize(("count", "size"), [(5, 7), (4, 3), (9, 5)])
    def test_places_are_those_of_the_singular_value_decomposition(self, count: int, size: int) -> None:
        draw = torch.Generator().manual_seed(count)
        beads = 3 + torch.randn(count, size, generator=draw, dtype=torch.float64)
        others = torch.randn(6, size, generator=draw, dtype=torch.float64)
        found = places(list(beads), list(others))
        centred = beads - beads.mean(dim=0)
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        expected = (torch.cat([beads, others]) - beads.mean(dim=0)) @ axes[:3].T
        torch.testing.assert_close(found.positions.abs(), expected.abs(), rtol=1e-8, atol=1e-8)
        assert found.explained == pytest.approx((singular[:3] ** 2 / (singular**2).sum()).tolist())

    def test_axes_that_the_string_lacks_point_to_the_farthest_model(self) -> None:
        line = [torch.tensor([0.0, 0, 0, 1]), torch.tensor([2.0, 0, 0, 1]), torch.tensor([4.0, 0, 0, 1])]
        others = [torch.tensor([1.0, 3, 0, 1]), torch.tensor([1.0, 1, 2, 1]), torch.tensor([4.0, 0, 0, 1])]
        found = places(line, others)
        expected = torch.tensor([[-2.0, 0, 0], [0, 0, 0], [2, 0, 0], [-1, 3, 0], [-1, 1, 2], [2, 0, 0]])
        torch.testing.assert_close(found.positions, expected.double(), rtol=0, atol=1e-9)
        assert found.explained == (1.0, 0.0, 0.0)

    def test_few_columns_at_a_time_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        beads = list(torch.randn(4, 11, generator=torch.Generator().manual_seed(2)))
        whole = places(beads[:3], beads[3:])
        monkeypatch.setattr("weightstring.report.draw.projection.NUMBERS", 8)
        torch.testing.assert_close(places(beads[:3], beads[3:]).positions, whole.positions)

    def test_models_that_agree_and_models_that_are_broken(self) -> None:
        assert places([torch.full((3,), 0.1)] * 2).positions.abs().max() == 0
        with pytest.raises(InvalidRun, match="a weight that is not finite"):
            places([torch.zeros(2)], [torch.tensor([0.0, torch.inf])])


class TestBranching:
    @pytest.mark.many(quick=3)
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_only_a_recursion_has_a_tree(self, searched: dict[str, Path], name: str) -> None:
        found = evolution_of(searched[name])
        assert found is not None
        assert bool(found.branches) == (name in RECURSIVE)
        assert ("The recursion" in write_report(searched[name]).read_text()) == (name in RECURSIVE)

    @pytest.mark.parametrize("name", RECURSIVE)
    def test_children_stand_side_by_side_below_their_parent(self, searched: dict[str, Path], name: str) -> None:
        found = evolution_of(searched[name])
        assert found is not None
        branches = found.branches
        root = branches[0]
        assert (root.left, root.right, root.generation, root.split) == ("a", "b", 0, True)
        leaves = [branch for branch in branches if not branch.split]
        assert [leaf.place for leaf in leaves] == [(k, 1) for k in range(len(leaves))]
        assert root.place == (0, len(leaves))
        assert all(one.right == other.left for one, other in pairwise(leaves))
        for k, branch in enumerate(branches):
            if branch.split:
                start, width = branch.place
                children = [
                    one for one in branches[k:] if one.generation == branch.generation + 1
                    and start <= one.place[0] < start + width
                ]  # fmt: skip
                assert (children[0].left, children[-1].right) == (branch.left, branch.right)
                assert sum(one.place[1] for one in children) == width
                assert len(children) == 2
                assert branch.accepted is False

    def test_it_says_what_was_measured(self, searched: dict[str, Path]) -> None:
        directory, found = RunDirectory(searched["greedy"]), evolution_of(searched["greedy"])
        assert found is not None
        first = decode(directory.replay()[0].results[0], Measured)
        assert (found.branches[0].t, found.branches[0].height) == first.peaks[0]
        assert all(leaf.kind == "at most L₀" for leaf in found.branches if not leaf.split)
        figure = branching_figure(found.branches, "loss")
        assert [trace.name for trace in figure.data] == ["split", "at most L₀"]
        assert sum(len(trace.x) for trace in figure.data) == len(found.branches)
        assert f"largest sampled loss {first.peaks[0][1]:.6g} at t* = {first.peaks[0][0]:.6g}" in "".join(
            figure.data[0].hovertext
        )

    def test_an_unresolved_search_shows_what_is_open(self, tmp_path: Path) -> None:
        ws.connect(RING, *RING.ends, 0.12, strategy=ws.Greedy(max_depth=1), store=tmp_path / "run", progress=False)
        found = evolution_of(tmp_path / "run")
        assert found is not None
        assert {branch.kind for branch in found.branches} >= {"split", "over L₀, not split"}


def models_placed(directory: RunDirectory, models: list[Tensor]) -> list[list[float]]:
    """Where models lie in the axes of the string, to as many digits as are drawn."""
    positions = places(list(directory.string()), models).positions[len(directory.string()) :]
    return [[float(f"{value:.6g}") + 0.0 for value in row] for row in positions.tolist()]


def rows_of(result: Any, step: Any) -> list[int]:
    return bead_rows(result.string.curve, len(step.beads))
