"""The straight line beside a string: its curve and barrier, at few measurements, and never twice."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch

import weightstring as ws
from weightstring.problem.surfaces import Ring, shifted
from weightstring.store import opened

RING = shifted(Ring(size=4), torch.tensor([3.0, -2.0, 1.0, 0.5], dtype=torch.float64), lift=0.3)
THRESHOLD = 0.4


def test_its_barriers_are_those_of_a_dense_look_at_the_line_by_hand() -> None:
    result = ws.connect(RING, *RING.ends, THRESHOLD)
    losses = ws.loss_curve(RING, *RING.ends, [k / 512 for k in range(513)]).tolist()
    first, last = losses[0], losses[-1]
    linear = max(loss - ((1 - k / 512) * first + k / 512 * last) for k, loss in enumerate(losses))
    assert len(result.string) > 2
    assert result.line.barrier("over_linear") == pytest.approx(linear, rel=0.02)
    assert result.line.max_loss == pytest.approx(max(losses), rel=0.02)
    assert result.line.barrier("over_ends") == result.line.max_loss - max(first, last)
    assert f"climbs to {result.line.max_loss:.6g}" in str(result)


@pytest.mark.parametrize("sampling", ["adaptive", "dense"])
@pytest.mark.parametrize("strategy", [ws.Greedy(), ws.Bezier(bends=2, rounds=2, steps=60)])
def test_a_run_keeps_what_memory_has_and_measures_few_points(tmp_path: Path, sampling: str, strategy) -> None:
    how = {"strategy": strategy, "sampling": sampling, "stop": ws.MaxBeads(16)}
    kept = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path, **how)
    assert kept.line.measured
    assert kept.line.curve == ws.connect(RING, *RING.ends, THRESHOLD, **how).line.curve
    assert ws.load(tmp_path).line.curve == kept.line.curve
    assert len(kept.line.curve.s) <= 21
    written = json.loads((tmp_path / "result.json").read_text())["line"]
    assert written["barriers"]["over_linear"] == kept.line.barrier("over_linear")


def test_a_string_of_two_beads_is_its_own_line(tmp_path: Path) -> None:
    a, _ = RING.ends
    near = a + 0.01 * torch.ones_like(a)
    result = ws.connect(RING, a, near, 5.0, store=tmp_path)
    assert result.line is result.string
    assert ws.load(tmp_path).line.curve == result.string.curve


def test_what_was_measured_is_not_measured_again_when_a_run_goes_on(tmp_path: Path, monkeypatch) -> None:
    stopped = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path, stop=ws.MaxBeads(3))
    assert not stopped.connected
    on_line: list[torch.Tensor] = []
    measure = type(RING).measure
    a, b = RING.ends

    def watched(self, thetas, *names, **more):
        shares = (thetas - a) @ (b - a) / ((b - a) @ (b - a))
        straight = torch.isclose(thetas, torch.lerp(a, b, shares[:, None]), atol=1e-9).all(dim=1)
        on_line.extend(thetas[straight & (shares > 1e-6) & (shares < 1 - 1e-6)])
        return measure(self, thetas, *names, **more)

    monkeypatch.setattr(type(RING), "measure", watched)
    resumed = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path)
    assert resumed.connected
    assert not on_line
    monkeypatch.undo()
    assert resumed.line.curve == ws.connect(RING, *RING.ends, THRESHOLD).line.curve


def test_a_run_without_its_line_still_opens_and_is_measured_where_its_problem_is_given(tmp_path: Path) -> None:
    result = ws.connect(RING, *RING.ends, THRESHOLD, store=tmp_path)
    store = opened(tmp_path)
    store.write("result.json", msgspec.json.encode(msgspec.structs.replace(store.result(), line=None)))
    older = ws.load(tmp_path)
    assert older.line is None
    assert "straight line" not in str(older)
    assert ws.load(tmp_path, RING).line.max_loss == pytest.approx(result.line.max_loss, rel=0.02)
