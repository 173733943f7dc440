"""``connect`` after alignment: what is searched, what is kept, and what is shown side by side."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import EndAboveThreshold, InvalidRun, InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.store import RunDirectory


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    x = torch.linspace(-1, 2, 21).unsqueeze(1)
    return ws.ModuleProblem(
        nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1)),
        nn.functional.mse_loss,
        (x, (x - 0.3).abs()),
        batch_size=None,
        engine="loop",
        recipe=ws.Recipe("adam", {"lr": 0.02}, check_every=10),
    )


@pytest.fixture(scope="module")
def ends(problem) -> tuple[torch.Tensor, torch.Tensor]:
    """A model and a copy of it with its units in another order and other scales."""
    theta = problem.fit(seed=0, until=0.01)
    return theta, ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 1)


def loss(problem, theta) -> float:
    return float(problem.measure(theta[None])["loss"])


def test_the_string_ends_in_a_copy_of_the_second_model(problem, ends):
    a, b = ends
    result = ws.connect(problem, a, b, align=True)
    last = result.string[-1]
    assert result.connected
    assert not torch.equal(last, b)
    assert loss(problem, last) == pytest.approx(loss(problem, b), rel=1e-5)
    assert result.alignment.distance == pytest.approx(float((last - a).norm()), rel=1e-4)
    assert result.alignment.distance_before == pytest.approx(float((b - a).norm()), rel=1e-5)


def test_a_copy_is_joined_by_the_straight_line(problem, ends):
    result = ws.connect(problem, *ends, align=True)
    assert (len(result.string), result.steps, result.plain) == (2, 0, None)
    assert result.alignment.barrier == pytest.approx(0, abs=1e-6)
    assert result.alignment.barrier_before > 0.001


def test_both_searches_are_made_where_both_are_asked_for(problem, ends):
    result = ws.connect(problem, *ends, 0.012, align="both")
    assert torch.equal(result.plain.string[-1], ends[1])
    assert torch.equal(result.plain.string[0], result.string[0])
    assert result.plain.alignment is None
    assert len(result.plain.string) >= len(result.string)
    assert result.plain.threshold == result.threshold == 0.012


@pytest.mark.slow
def test_an_end_at_the_threshold_stays_under_it(problem, ends):
    a, b = ends
    threshold = max(loss(problem, a), loss(problem, b))
    for seed in range(5):
        copy = ws.permuted_copy(problem, b, seed)
        result = ws.connect(problem, a, copy, max(threshold, loss(problem, copy)), align=True, seed=seed)
        assert result.threshold == pytest.approx(threshold, rel=1e-5)


def test_an_end_above_the_threshold_is_refused_all_the_same(problem, ends):
    with pytest.raises(EndAboveThreshold):
        ws.connect(problem, *ends, 0.9 * loss(problem, ends[0]), align=True)


def test_a_run_keeps_how_it_was_aligned(problem, ends, tmp_path):
    result = ws.connect(problem, *ends, 0.012, align="both", store=tmp_path / "run")
    read = ws.load(tmp_path / "run", problem)
    assert read.alignment == result.alignment
    assert read.alignment.groups[0].moved > 0
    assert sorted(read.alignment.groups[0].permutation) == list(range(8))
    assert len(read.plain.string) == len(result.plain.string)
    assert torch.equal(read.plain.string[-1], ends[1])
    assert {path.name for path in (tmp_path / "run" / "plain").iterdir()} >= {"manifest.json", "result.json"}


def test_the_same_call_reads_the_run_back(problem, ends, tmp_path):
    one, two = (ws.connect(problem, *ends, 0.012, align="both", store=tmp_path / "run") for _ in range(2))
    assert torch.equal(one.string.beads, two.string.beads)
    assert len(two.plain.string) == len(one.plain.string)


def test_a_run_without_alignment_is_another_run(problem, ends, tmp_path):
    ws.connect(problem, *ends, 0.012, align=True, store=tmp_path / "run")
    with pytest.raises(InvalidRun, match="another run"):
        ws.connect(problem, *ends, 0.012, store=tmp_path / "run")


def test_a_damaged_record_is_refused(problem, ends, tmp_path):
    ws.connect(problem, *ends, 0.012, align=True, store=tmp_path / "run")
    (tmp_path / "run" / "alignment.json").write_text('{"method": 1}')
    with pytest.raises(InvalidRun, match="alignment"):
        RunDirectory(tmp_path / "run").alignment()


@pytest.mark.parametrize("align", ["no", "BOTH", 2, None])
def test_other_words_for_align_are_refused(problem, ends, align, unchecked):
    with pytest.raises(InvalidSetting, match="align="):
        ws.connect(problem, *ends, align=align)


def test_a_formula_is_refused():
    ring = Ring()
    with pytest.raises(InvalidSetting, match="no module to align: Ring has no "):
        ws.connect(ring, *ring.ends, align=True)


def test_the_aligned_string_can_be_certified(problem, ends):
    threshold = 1.1 * max(loss(problem, end) for end in ends)
    result = ws.connect(problem, *ends, threshold, align="both", certify=True)
    assert result.certificate is not None
    assert result.certificate.holds
    assert result.plain is not None
    assert result.alignment is not None


def test_permuted_ends_of_ends_align_alike(problem, ends):
    a, _ = ends
    copies = [ws.permuted_copy(problem, a, seed) for seed in range(4)]
    for one, two in pairwise(copies):
        assert float((ws.align(problem, one, two).theta - one).norm()) == 0
