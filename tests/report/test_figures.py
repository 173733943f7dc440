"""Figures against naive references: where beads and samples lie, what is shaded, what is drawn at all."""

from __future__ import annotations

import math

import pytest
import torch

from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.report.draw import along, string
from weightstring.report.draw.projection import places
from weightstring.store.records import CurveRecord, Manifest, ResultRecord

Runs = dict[str, tuple[Manifest, ResultRecord, torch.Tensor]]


def test_bead_rows_refuses_a_curve_of_other_beads(runs: Runs) -> None:
    curve = runs["connected"][1].string.curve
    assert along.bead_rows(curve, 9) == [17 * bead for bead in range(9)]
    with pytest.raises(InvalidRun, match="lies on segments 0 to 7, but 8 beads span segments 0 to 6"):
        along.bead_rows(curve, 8)
    with pytest.raises(InvalidRun, match="the curve has no point at bead 9 of 10"):
        along.bead_rows(curve, 10)


@pytest.mark.parametrize(("count", "size"), [(5, 3), (3, 7), (2, 4), (6, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_principal_components_are_those_of_the_singular_value_decomposition(
    count: int, size: int, dtype: torch.dtype
) -> None:
    beads = 3 + torch.randn(count, size, generator=torch.Generator().manual_seed(count), dtype=torch.float64).to(dtype)
    centred = beads.double() - beads.double().mean(dim=0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = torch.zeros(count, 2, dtype=torch.float64)
    expected[:, : min(2, len(singular))] = (left * singular)[:, :2]
    found = places(list(beads))
    positions, explained = found.positions[:, :2], found.explained[:2]
    torch.testing.assert_close(positions.abs(), expected.abs(), rtol=1e-9, atol=1e-9)
    shares = (singular**2 / (singular**2).sum()).tolist()
    assert explained == pytest.approx([*shares, 0.0][:2], abs=1e-12)
    assert positions[0, 0] <= positions[-1, 0]
    assert positions[:, 1].max() == positions[:, 1].abs().max()


def test_principal_components_of_one_point_and_of_broken_beads() -> None:
    positions, explained = places(list(torch.full((3, 4), 0.1, dtype=torch.float64)))
    assert positions.tolist() == [[0.0, 0.0, 0.0]] * 3
    assert explained == (0.0, 0.0, 0.0)
    with pytest.raises(InvalidRun, match="a weight that is not finite"):
        places(list(torch.tensor([[0.0], [math.nan]])))


def test_the_loss_figure_shows_what_was_measured(runs: Runs) -> None:
    curve = runs["null"][1].string.curve
    traces = {trace.name: trace for trace in along.loss_figure(curve, threshold=0.0625, bound=("loss",)).data}
    assert set(traces) == {"evaluation loss", "training loss", "beads", "not finite", "threshold 0.0625"}
    assert traces["evaluation loss"].y == curve.values["loss"]
    assert traces["not finite"].x == tuple(
        s for s, value in zip(curve.s, curve.values["loss"], strict=True) if value is None
    )
    assert len(traces["beads"].x) == 7
    without = along.loss_figure(curve, "error", threshold=0.0625, bound=("loss",))
    assert not any(trace.name.startswith("threshold") for trace in without.data)
    with pytest.raises(InvalidSetting, match=r"no metric 'speed' was measured .* choose one of \('loss', 'error'\)"):
        along.loss_figure(curve, "speed")


def test_segments_over_the_threshold_are_shaded_and_wide_ranges_logarithmic(runs: Runs) -> None:
    curve = CurveRecord(
        s=(0.0, 0.25, 0.5, 0.75, 1.0), segment=(0, 0, 0, 1, 1), t=(0.0, 0.5, 1.0, 0.5, 1.0),
        values={"loss": (1e-3, 2e-3, 1e-3, 0.9, 1e-3)},
    )  # fmt: skip
    figure = along.loss_figure(curve, threshold=0.5)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"] == [(0.5, 1.0)]
    assert figure.layout.yaxis.type == "log"
    assert along.loss_figure(runs["connected"][1].string.curve).layout.yaxis.type is None


def test_the_string_figure_puts_samples_on_the_segments_and_keeps_angles(runs: Runs) -> None:
    _, result, beads = runs["connected"]
    figure = string.string_figure(result.string.curve, beads)
    traces = {trace.name: trace for trace in figure.data}
    positions = places(list(beads)).positions[:, :2]
    assert list(zip(traces["beads"].x, traces["beads"].y, strict=True)) == [tuple(one) for one in positions.tolist()]
    middle = 0.5 * (positions[2] + positions[3])
    on_segment = string.string_figure(
        CurveRecord(
            s=tuple(k / 9 for k in range(10)),
            segment=(0, 1, 2, 2, *range(2, 8)),
            t=(0.0, 0.0, 0.0, 0.5, *[1.0] * 6),
            values={"loss": tuple(float(k) for k in range(10))},
        ),
        beads,
    )
    samples = next(trace for trace in on_segment.data if trace.name == "samples")
    assert (samples.x[3], samples.y[3]) == pytest.approx(tuple(middle.tolist()), abs=1e-12)
    assert figure.layout.yaxis.scaleanchor == "x"


@pytest.mark.parametrize(
    ("bound", "name"), [(0.25, "certified upper bound"), (5e8, "certified upper bound, up to 5e+08")]
)
def test_a_bound_far_above_all_else_leaves_the_rest_to_be_seen(bound: float, name: str) -> None:
    curve = CurveRecord(s=(0.0, 1.0), segment=(0, 0), t=(0.0, 1.0), values={"loss": (0.1, 0.2)})
    figure = along.loss_figure(curve, threshold=0.3)
    along.draw_certified(figure, [(0.0, 0.5, 0.2), (0.5, 1.0, bound)], (curve.s, curve.values["loss"]))
    assert figure.data[-1].name == name
    shown = figure.layout.yaxis.range
    assert shown is None if bound < 1 else 0.3 < shown[1] < 2
