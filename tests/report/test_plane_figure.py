"""The plane on the page: what was measured is what is drawn, and only for the string it was measured around."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.path.plane import plane
from weightstring.problem.surfaces import Ring
from weightstring.report import write_report
from weightstring.report.draw.plane import draw_plane, plane_figure, to_record
from weightstring.store import RunDirectory
from weightstring.store.plane_record import PlaneRecord

RING = Ring(size=4)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    ws.connect(RING, *RING.ends, 0.12, store=tmp_path / "run", progress=False)
    return RunDirectory(tmp_path / "run")


def measured(run: RunDirectory, resolution: int = 6) -> PlaneRecord:
    return to_record(plane(RING, run.string(), resolution), run.result().beads_sha256)


@pytest.mark.slow
def test_what_was_written_is_read_back_and_drawn(run: RunDirectory) -> None:
    before = write_report(run.path).read_text()
    assert "The loss around the string" not in before
    record = measured(run)
    run.write_plane(record)
    assert run.plane_record() == record
    page = write_report(run.path).read_text()
    assert "The loss around the string" in page
    assert "at 6 × 6 points" in " ".join(page.split())
    assert page == write_report(run.path).read_text()
    for section in ("Segments", "Settings", "Barriers"):  # the rest of the page is as it was
        own = f"<h2>{section}</h2>.*?<h2>"
        assert re.findall(own, page, re.DOTALL) == re.findall(own, before, re.DOTALL)


def test_the_plane_of_an_earlier_string_is_not_shown(run: RunDirectory) -> None:
    run.write_plane(measured(run))
    beads = run.string().clone()
    beads[1] += 0.01
    run.finish(run.result(), beads)
    assert run.plane_record() is None
    assert "The loss around the string" not in write_report(run.path).read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: {"losses": r.losses[1:]}, "not a row of losses for each y"),
        (lambda r: {"losses": (r.losses[0][1:], *r.losses[1:])}, "not a loss for each x"),
        (lambda r: {"x": r.x[:1]}, "not a loss for each x"),
        (lambda r: {"beads": r.beads[1:], "distances": r.distances[1:]}, "not the string's"),
        (lambda r: {"distances": r.distances[1:]}, "not the string's"),
    ],
)
def test_a_record_that_is_never_written_is_refused(run: RunDirectory, change, says: str) -> None:
    record = measured(run)
    run.write_plane(msgspec.structs.replace(record, **change(record)))
    with pytest.raises(InvalidRun, match=rf"plane\.json: .*{says}"):
        write_report(run.path)


def test_a_damaged_file_is_refused(run: RunDirectory) -> None:
    (run.path / "plane.json").write_text("{")
    with pytest.raises(InvalidRun, match=r"plane\.json: damaged"):
        write_report(run.path)


def test_losses_and_the_threshold_stand_where_they_were_measured(run: RunDirectory) -> None:
    record = measured(run)
    first, last = 0, len(record.beads) - 1
    record = msgspec.structs.replace(
        record, distances=tuple(1e-12 if k in (first, last) else 0.5 for k in range(last + 1))
    )
    filled, level, string, _ = draw_plane(record, 0.12, "loss").data
    low, high = min(map(min, record.losses)), max(map(max, record.losses))  # type: ignore[type-var, arg-type]
    logarithmic = 0 < 3 * low < high
    for drawn, row in zip(filled.z, record.losses, strict=True):
        assert list(drawn) == pytest.approx([math.log10(v) if logarithmic else v for v in row if v is not None], 1e-5)
    assert level.contours.value == pytest.approx(math.log10(0.12) if logarithmic else 0.12)
    assert list(string.marker.symbol) == ["circle", *["circle-open"] * (last - 1), "circle"]
    assert string.text[1] == "bead 1<br>0.5 from the plane"
    assert list(string.x) == pytest.approx([x for x, _ in record.beads], rel=1e-5)


def test_what_is_not_finite_has_no_colour() -> None:
    found = to_record(plane(RING, [], 3, (*RING.ends, torch.tensor([3.0, 1.0, 1.0, 0.0]).double())))
    holed = msgspec.structs.replace(found, losses=((None, 1.0, 2.0), *found.losses[1:]))
    filled = draw_plane(holed).data[0]
    assert filled.z[0][0] is None
    assert filled.text[0][0] == "not finite"
    nothing = msgspec.structs.replace(found, losses=((None,) * 3,) * 3)
    assert draw_plane(nothing, 0.1).layout.coloraxis.showscale is False


def test_any_three_models_can_be_chosen() -> None:
    a, b = RING.ends
    figure = plane_figure(RING, a, b, a + 2, torch.stack([a, a + 1, b]), resolution=4, threshold=0.5)
    corners = figure.data[-1]
    assert (corners.x[0], corners.y[0]) == (0, 0)
    assert corners.x[1] == pytest.approx(float((b - a).norm()), rel=1e-5)
    assert len(figure.data[0].z) == 4
