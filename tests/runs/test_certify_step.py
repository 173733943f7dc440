"""One truth: whatever meets a sample over the threshold after the search takes its verdict back, or searches again."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

import weightstring as ws
from weightstring.path import Connected, Objective, WeightString
from weightstring.problem.surfaces import Ring, Spike, Surface
from weightstring.runs.certify_step import bounded
from weightstring.runs.recording import load
from weightstring.runs.verdict import judged, with_samples
from weightstring.store import RunDirectory

THRESHOLD = 0.1


@dataclass(frozen=True, kw_only=True)
class Wall(Surface):
    """L = max(0, 1 − ((x − c) / w)²)³: no path leads round it, and no coarse grid sees it."""

    centre: float = 0.07
    width: float = 1e-3

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([-1.0, 0.5], dtype=self.dtype), torch.tensor([1.0, 0.5], dtype=self.dtype)

    @property
    def curvature(self) -> float:
        return 6 / self.width**2

    def loss(self, thetas: Tensor) -> Tensor:
        return (1 - ((thetas[:, 0] - self.centre) / self.width) ** 2).clamp(min=0) ** 3

    def pass_height(self, a: Tensor, b: Tensor) -> float:
        return -math.inf  # so that nothing is proved before the search

    def upper_bounds(self, a: Tensor, b: Tensor, low: Tensor, high: Tensor) -> Tensor:
        places = torch.stack([a[0] + t * (b[0] - a[0]) for t in (low, high)])
        nearest = torch.full_like(low, self.centre).clamp(places.amin(0), places.amax(0))
        return self.loss(nearest[:, None]) + 1e-12


@pytest.fixture(scope="module")
def wall() -> ws.Result:
    """The line over the wall, certified."""
    problem = Wall()
    assert ws.connect(problem, *problem.ends, THRESHOLD).connected
    return ws.connect(problem, *problem.ends, THRESHOLD, certify=True)


class TestCertifying:
    def test_a_sample_that_the_search_did_not_see_is_a_new_start(self):
        spike = Spike()
        result = ws.connect(spike, *spike.ends, threshold=THRESHOLD, certify=True)
        assert result.connected
        assert len(result.string) > 2  # round the spike, which the straight line meets
        assert result.certificate is not None
        assert result.certificate.holds
        assert result.certificate.largest_sample <= THRESHOLD
        assert result.largest <= THRESHOLD
        assert result.steps > 0  # what searching again took is told

    def test_one_that_no_search_brings_down_takes_the_verdict_back(self, wall):
        assert not wall.connected
        assert wall.outcome.reason == "higher_sample"
        assert wall.largest > THRESHOLD
        assert wall.certificate.holds is False
        assert wall.certificate.largest_sample >= wall.largest
        segment = wall.string.segments[wall.outcome.evidence.segment[0]]
        assert segment.a[0] <= 0.07 + 3e-3
        assert segment.b[0] >= 0.07 - 3e-3
        assert "connected: every sample" not in str(wall)

    def test_on_disk_as_in_memory(self, wall, tmp_path):
        problem = Wall()
        result = ws.connect(problem, *problem.ends, THRESHOLD, certify=True, store=tmp_path / "run")
        again = load(tmp_path / "run")
        assert result.outcome == again.outcome == wall.outcome
        assert again.largest == result.largest == wall.largest
        page = ws.write_report(tmp_path / "run").read_text()
        assert "Unresolved (higher sample)" in page
        assert "<strong>Connected</strong>" not in page
        # The same call without a certificate does not give the verdict back.
        assert not ws.connect(problem, *problem.ends, THRESHOLD, store=tmp_path / "run").connected

    def test_limits_bind_refining_too(self):
        spike = Spike()
        stop = ws.MaxBeads(2) | ws.MaxSteps(50)
        result = ws.connect(spike, *spike.ends, threshold=THRESHOLD, certify=True, stop=stop)
        assert result.outcome.reason == "higher_sample"
        assert len(result.string) == 2


class TestLearning:
    def test_a_certificate_without_a_threshold_takes_minimax_s_level_up(self, tmp_path):
        problem = Wall()
        found = ws.minimax(problem, *problem.ends, certify=True, store=tmp_path / "run")
        assert not found.resolved
        assert found.level > 0.5
        assert found.level <= found.certificate.upper_bound
        assert min(found.by_depth) >= found.level
        assert not load(tmp_path / "run").connected

    def test_a_second_maximum_of_one_string_is_never_below_the_first(self):
        ring = Ring()
        result = ws.connect(ring, *ring.ends, THRESHOLD)
        certificate = ws.certify(ring, result.string, THRESHOLD)
        assert certificate.largest_sample >= result.largest
        before = result.string.curve
        again = result.string.measure()
        assert set(zip(before.segment, before.t, strict=True)) <= set(zip(again.segment, again.t, strict=True))
        assert result.string.max_loss >= max(before.values["loss"])

    def test_rounding_takes_no_verdict_back(self):
        """The same model in another batch: a value a few units above the threshold that it was held to."""
        ring = dataclasses.replace(Ring(), dtype=torch.float32)
        result = ws.connect(ring, *ring.ends, THRESHOLD)
        units = torch.finfo(torch.float32).eps * THRESHOLD
        assert with_samples(result, {(0, 0.3): THRESHOLD + 9 * units}).connected
        assert not with_samples(result, {(0, 0.3): THRESHOLD + 900 * units}).connected
        assert not with_samples(result, {(0, 0.3): math.inf}).connected

    def test_a_curve_that_was_measured_judges(self):
        ring = Ring()
        result = ws.connect(ring, *ring.ends, THRESHOLD)
        straight = WeightString(ring, torch.stack(ring.ends))
        straight.measure()
        taken = judged(dataclasses.replace(result, outcome=Connected(), string=straight))
        assert taken.outcome.reason == "higher_sample"
        assert taken.outcome.evidence.segment == (0, 1)
        assert judged(result) is result

    def test_the_final_curve_takes_the_verdict_back_and_the_segment_is_searched_again(self, monkeypatch, tmp_path):
        """Where a screened search accepts on fewer points, the curve's grid may show what it has not seen."""
        spike = Spike()
        place = spike.position

        def with_spike(intervals: int) -> list[float]:
            return sorted({*(i / intervals for i in range(intervals + 1)), place})

        monkeypatch.setattr("weightstring.path.string.grid", with_spike)
        result = ws.connect(spike, *spike.ends, THRESHOLD, sampling="dense", store=tmp_path / "run")
        assert result.connected
        assert len(result.string) > 2
        assert load(tmp_path / "run").outcome == result.outcome
        for i, each in enumerate(
            ws.connect_many(spike, [spike.ends] * 2, THRESHOLD, sampling="dense", store=tmp_path / "many")
        ):
            assert torch.equal(each.string.beads, result.string.beads)
            assert load(tmp_path / "many" / f"pair-{i:04d}").outcome == result.outcome
        monkeypatch.setattr("weightstring.runs.reopening.Opened.searched", lambda *arguments: {})
        taken = ws.connect(spike, *spike.ends, THRESHOLD, sampling="dense", store=tmp_path / "other")
        assert taken.outcome.reason == load(tmp_path / "other").outcome.reason == "higher_sample"


class TestQuestions:
    """A certificate in a run directory answers only the question that it was made for."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        ring = Ring()
        ws.connect(ring, *ring.ends, THRESHOLD, certify=True, store=tmp_path / "run")
        return tmp_path / "run"

    def test_it_is_kept_and_not_made_again(self, run, monkeypatch):
        ring = Ring()
        monkeypatch.setattr("weightstring.runs.certify_step.certified", None)
        assert ws.connect(ring, *ring.ends, THRESHOLD, certify=True, store=run).certificate.holds

    @pytest.mark.parametrize(
        "change", [{"threshold": 0.2}, {"quantity": "error"}, {"problem": "0" * 64}, {"digests": {"beads": "0" * 64}}]
    )
    def test_another_question_s_certificate_is_not_the_run_s(self, run, change):
        path = run / "certificate.json"
        own = ws.Certificate.load(path)
        dataclass_like = {name: getattr(own, name) for name in own.__struct_fields__}
        ws.Certificate(**{**dataclass_like, **change}).sealed().save(path)
        assert load(run).certificate is None
        ring = Ring()
        again = ws.connect(ring, *ring.ends, THRESHOLD, certify=True, store=run)
        assert again.certificate.threshold == THRESHOLD
        assert load(run).certificate == again.certificate

    def test_another_tolerance_is_another_question(self, run):
        ring = Ring()
        again = ws.connect(ring, *ring.ends, THRESHOLD, certify=True, certify_tolerance=0.01, store=run)
        assert again.certificate.tolerance == 0.01
        assert RunDirectory(run).manifest().certify.tolerance == 0.01

    def test_what_was_asked_is_in_the_manifest(self, run, tmp_path):
        ring = Ring()
        asked = RunDirectory(run).manifest()
        assert (asked.command, asked.certify.tolerance, asked.certify.seconds) == ("connect", 1e-3, None)
        ws.connect(ring, *ring.ends, THRESHOLD, store=tmp_path / "later", disprove=False)
        later = RunDirectory(tmp_path / "later")
        assert (later.manifest().certify, later.manifest().disprove) == (None, False)
        ws.connect(ring, *ring.ends, THRESHOLD, store=later.path, certify=True, certify_seconds=60)
        assert later.manifest().certify.seconds == 60
        ws.minimax(ring, *ring.ends, store=tmp_path / "lowest", certify=True, stop=ws.MaxBeads(3))
        lowest = RunDirectory(tmp_path / "lowest").manifest()
        assert (lowest.command, lowest.disprove, lowest.certify.tolerance) == ("minimax", False, 1e-3)
        assert load(tmp_path / "lowest").certificate.threshold is None

    @pytest.mark.parametrize("setting", [{"certify_seconds": math.nan}, {"certify_tolerance": -1.0}])
    def test_a_number_that_is_none_is_refused_before_any_search(self, refused, setting, monkeypatch):
        ring = Ring()
        monkeypatch.setattr("weightstring.runs.connect.connect_all", None)
        with refused(ws.InvalidSetting, "give a positive number"):
            ws.connect(ring, *ring.ends, THRESHOLD, certify=True, **setting)


def test_bounding_a_string_that_holds_leaves_the_verdict():
    ring = Ring()
    result = ws.connect(ring, *ring.ends, THRESHOLD)
    found = bounded(ring, result, None, 1e-3, "loss")
    assert found.connected
    assert found.certificate.upper_bound >= max(
        Objective(ring)(torch.stack([found.string.at(s / 50) for s in range(51)])).tolist()
    )


class TestBind:
    """``bind`` is understood in one place, and what cannot be certified is refused before any search."""

    @pytest.mark.parametrize("bind", ["evaluate", "train", "both", "loss"])
    def test_all_words_certify_a_surface_whose_loss_is_one(self, bind):
        spike = Spike()
        result = ws.connect(spike, *spike.ends, THRESHOLD, bind=bind, certify=True)
        assert result.connected
        assert result.certificate.holds
        assert result.names == ("loss",)
        assert result.bound == "evaluation loss"

    def test_a_loss_without_an_enclosure_is_refused_before_any_search(self, refused, cloud, plateau, monkeypatch):
        monkeypatch.setattr("weightstring.runs.connect.connect_all", None)
        ends = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
        with refused(
            ws.Unsupported, r"Cloud has no traceable\(\), layout: .*Traceable; nor upper_bounds\(\), loss\(\): "
        ):
            ws.connect(cloud(), *ends, 99.0, certify=True)
        with refused(ws.Unsupported, "gives no enclosure of its own"):
            ws.connect(plateau, *plateau.ends, 99.0, certify=True)

    def test_two_quantities_are_refused_before_any_search(self, refused, cloud, monkeypatch):
        monkeypatch.setattr("weightstring.runs.connect.connect_all", None)
        ends = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
        for call in (ws.connect, ws.minimax):
            with refused(ws.InvalidSetting, "a certificate bounds one quantity, not loss and train_loss"):
                call(cloud(), *ends, bind="both", certify=True)
