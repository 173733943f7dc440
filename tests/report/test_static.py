"""The figures of a run as files: what the page draws, drawn by matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

import weightstring as ws
from weightstring.cli.main import main
from weightstring.errors import InvalidRun
from weightstring.problem.surfaces import Ring
from weightstring.report.draw.along import loss_figure
from weightstring.report.draw.correlation import correlation_figure
from weightstring.report.draw.plane import plane_figure
from weightstring.report.draw.static import drawn
from weightstring.report.draw.string import string_figure
from weightstring.report.run.data import RunData, read_run
from weightstring.report.run.page import RUN_SECTIONS, export_run_figures
from weightstring.report.section import drawings
from weightstring.store.alignment_record import AlignedGroup, AlignmentRecord
from weightstring.store.records import CurveRecord

RING = Ring(size=6, radii=(1.0, 1.5))
KINDS = ("svg", "pdf", "png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a bead or more between its ends."""
    path = tmp_path_factory.mktemp("run") / "ring"
    ws.connect(RING, *RING.ends, 0.12, store=path, progress=False)
    return path


def saved(figure: Figure) -> Figure:
    """Drawn to the end: much of what can go wrong only does then."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def curve(*losses: float | None) -> CurveRecord:
    """Two segments of equal length, sampled at their ends and middles."""
    return CurveRecord(
        s=(0.0, 0.25, 0.5, 0.75, 1.0), segment=(0, 0, 0, 1, 1), t=(0.0, 0.5, 1.0, 0.5, 1.0), values={"loss": losses}
    )


def figures_of(run: RunData) -> dict[str, Any]:
    return {drawing.name: drawing.figure for drawing in drawings(RUN_SECTIONS, run)}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


class TestFiles:
    @pytest.mark.slow
    def test_every_figure_of_a_run_in_three_kinds_and_again_the_same_bytes(self, run: Path, tmp_path: Path) -> None:
        files = export_run_figures(run, tmp_path / "figures")
        names = ("along-loss", "string", "evolution", "depth", "branching")
        assert [file.name for file in files] == [f"{name}.{kind}" for name in names for kind in KINDS]
        assert all(file.stat().st_size > 1000 for file in files)
        again = export_run_figures(run, tmp_path / "again")
        assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]

    def test_what_is_not_a_finished_run_is_refused_and_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRun):
            export_run_figures(tmp_path / "none", tmp_path / "figures")
        assert not (tmp_path / "figures").exists()

    @pytest.mark.slow
    def test_the_command_line_names_what_it_wrote(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "page.html"
        with pytest.raises(SystemExit, match="0"):
            main(["report", str(run), "--out", str(page), "--figures", str(tmp_path / "figures")])
        first, *files = capsys.readouterr().out.splitlines()
        assert first == str(page)
        assert len(files) == 15
        assert all(Path(file).exists() for file in files)


class TestDrawn:
    def test_a_curve_has_the_numbers_of_the_page(self) -> None:
        page = loss_figure(curve(0.1, 0.2, 0.15, 0.4, 0.1), threshold=0.3)
        figure = saved(drawn(page))
        (axes,) = figure.axes
        assert legend(figure) == ["evaluation loss", "beads", "threshold 0.3"]
        sampled, threshold = axes.lines[:2]
        assert list(sampled.get_ydata()) == [0.1, 0.2, 0.15, 0.4, 0.1]
        assert list(threshold.get_ydata()) == [0.3, 0.3]
        assert axes.get_xlim() == (-0.02, 1.02)
        (beads,) = axes.collections
        assert beads.get_offsets().tolist() == [[0.0, 0.1], [0.5, 0.15], [1.0, 0.1]]
        assert [patch.get_alpha() for patch in axes.patches] == [0.1]  # the segment over the threshold

    def test_what_is_not_finite_is_a_gap_in_the_line_and_a_cross_at_the_edge(self) -> None:
        figure = saved(drawn(loss_figure(curve(0.1, None, 0.15, 0.2, 0.1))))
        (axes,) = figure.axes
        assert math.isnan(axes.lines[0].get_ydata()[1])
        assert legend(figure)[-1] == "not finite"
        assert axes.collections[-1].get_offsets().tolist() == [[0.25, 0.97]]
        assert axes.get_ylim()[1] < 0.3

    def test_a_wide_range_of_losses_is_drawn_on_a_logarithmic_axis(self) -> None:
        (axes,) = saved(drawn(loss_figure(curve(0.001, 0.2, 0.15, 3.0, 0.002)))).axes
        assert axes.get_yscale() == "log"

    def test_points_have_the_colours_of_their_losses(self) -> None:
        beads = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
        page = string_figure(curve(0.1, 0.3, 0.2, None, 0.1), beads)
        figure = saved(drawn(page))
        axes, bar = figure.axes
        assert axes.get_aspect() == 1
        assert bar.get_ylabel() == "loss"
        assert bar.get_ylim() == pytest.approx((0.1, 0.3))
        lowest, highest = (tuple(dots(axes, 0)[row]) for row in (0, 1))
        assert lowest == pytest.approx((0x2C / 255, 0x7F / 255, 0xD1 / 255, 1))
        assert highest == pytest.approx((0xF2 / 255, 0x86 / 255, 0x2F / 255, 1))
        assert [text.get_text() for text in axes.texts] == ["A", "B"]

    def test_one_loss_only_has_no_scale(self) -> None:
        beads = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
        assert len(saved(drawn(string_figure(curve(0.1, 0.1, 0.1, 0.1, 0.1), beads))).axes) == 1

    def test_the_search_is_its_last_step_in_space(self, run: Path) -> None:
        found = read_run(run)
        figure = saved(drawn(figures_of(found)["evolution"]))
        axes: Any = figure.axes[0]
        assert axes.name == "3d"
        assert axes.get_xlabel().startswith("PC 1")
        assert axes.get_zlabel().startswith("PC 2")
        assert any(len(one.get_offsets()) == len(found.beads) for one in axes.collections)

    def test_the_tree_has_a_bar_for_each_segment(self, run: Path) -> None:
        found = read_run(run)
        (axes,) = saved(drawn(figures_of(found)["branching"])).axes
        assert found.evolution is not None
        assert len(axes.patches) == len(found.evolution.branches)
        assert axes.yaxis_inverted()

    def test_a_plane_has_contours_and_the_threshold_as_a_line(self) -> None:
        a, b = RING.ends
        middle = torch.roll(a, 1) + b
        page = plane_figure(RING, a, b, middle, [a, middle, b], resolution=7, threshold=0.12)
        axes, bar = saved(drawn(page)).axes
        assert [text.get_text() for text in axes.texts] == ["A", "B", "C"]
        levels = [one.levels.tolist() for one in axes.collections if hasattr(one, "levels")]
        assert len(levels) == 2
        assert levels[1] == [page.data[1].contours.value]
        assert bar.get_ylabel() == "loss"

    def test_groups_of_units_are_halves_of_violins_and_few_units_marks(self) -> None:
        many = tuple(0.01 * k for k in range(20))
        page = correlation_figure(alignment([("wide", many, many[::-1]), ("few", (0.1, -0.3), (0.9, 1.0))]).groups)
        assert page is not None
        figure = saved(drawn(page))
        (axes,) = figure.axes
        assert legend(figure) == ["as given: mean", "aligned: mean"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["wide", "few"]


def dots(axes: Any, which: int) -> Any:
    return axes.collections[which].get_facecolors()


def alignment(groups: Sequence[tuple[str, tuple[float, ...], tuple[float, ...]]]) -> AlignmentRecord:
    made = tuple(
        AlignedGroup(
            name=name, size=len(after), permutation=tuple(range(len(after))), moved=0, correlation_before=before,
            correlation=after,
        )
        for name, before, after in groups
    )  # fmt: skip
    return AlignmentRecord(
        method="weights", by="barrier", rescaled=False, distance_before=2.0, distance=1.0, barrier_before=0.5,
        barrier=0.1, difference=0.0, examples=9, log10_permutations=0.3, seconds=0.1, candidates=(), groups=made,
        original="",
    )  # fmt: skip
