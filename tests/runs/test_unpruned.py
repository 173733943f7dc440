"""What a result says of a search besides its last string: Γ̃ by depth (4), and the first string under the threshold."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun
from weightstring.problem.surfaces import Maze, Ring, TwoWells, shifted
from weightstring.search.strategy import Strategy

pytestmark = pytest.mark.usefixtures("unchecked")

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
STRATEGIES = {
    "greedy": ws.Greedy(),
    "as in the paper": ws.AsInThePaper(0.9, 8),
    "constrained": ws.Constrained(),
    "breadth-first": ws.BreadthFirst(),
    "poly-chain": ws.PolyChain(bends=3, rounds=3, steps=100),
    "bezier": ws.Bezier(bends=2, rounds=3, steps=100),
    "autoneb": ws.AutoNEB(rounds=3, steps=100),
    "shortened": ws.Shortened(ws.Greedy()),
    "persistent": ws.Persistent(ws.Greedy(max_depth=3)),
}


@pytest.mark.many(quick=1)
@pytest.mark.parametrize(
    ("surface", "factor"), [(Ring(size=3, ridge=0.2), 1.2), (TwoWells(size=2), 0.9)], ids=["ring", "wells"]
)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_by_depth_is_the_lowest_maximum_of_the_strings_so_far(
    strategy: Strategy[object], surface: ws.LossProblem, factor: float
) -> None:
    a, b = surface.ends
    gamma = surface.gamma(a, b)
    threshold = max(factor * gamma, *surface.measure(torch.stack([a, b]))["loss"].tolist())
    found = ws.connect(surface, a, b, threshold, strategy=strategy, stop=ws.MaxBeads(20), disprove=False)
    tops = found.by_depth
    assert tops[0] == pytest.approx(ws.locate_maximum(surface, a, b).value, rel=1e-3)
    assert all(right <= left for left, right in pairwise(tops))
    assert tops[-1] >= gamma * (1 - 1e-3)
    if found.connected:
        assert tops[-1] <= found.largest <= threshold
    elif not isinstance(strategy, ws.Greedy | ws.AsInThePaper | ws.Shortened):  # these show the last string
        assert tops[-1] == pytest.approx(found.largest)
    assert len(tops) == 1 + max(one.highest_depth for one in found.history if one.highest_depth is not None)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[ws.Result, Path]:
    """A search that dropped beads, and its directory. Not to be written to."""
    run = tmp_path_factory.mktemp("kept") / "run"
    found = ws.connect(SURFACE, *SURFACE.ends, 0.9, store=run)
    assert found.connected
    assert len(found.string) < found.beads_before_pruning
    return found, run


def test_the_unpruned_string_is_a_string_under_the_threshold_itself(kept) -> None:
    found, _ = kept
    assert len(found.unpruned) == found.beads_before_pruning
    for left, right in pairwise(found.unpruned):
        assert ws.loss_curve(SURFACE, left, right, [k / 64 for k in range(65)]).max() <= found.threshold * (1 + 1e-6)
    whole = [theta.tolist() for theta in found.unpruned]
    places = [whole.index(theta.tolist()) for theta in found.string]
    assert places == sorted(places)
    assert found.unpruned.max_loss <= found.threshold
    for place in set(range(len(whole))) - set(places):
        assert 0 < place < len(whole) - 1


def test_the_unpruned_string_is_loaded_and_kept_when_the_run_goes_on(kept) -> None:
    found, run = kept
    for loaded in (ws.load(run), ws.load(run, SURFACE), ws.connect(SURFACE, *SURFACE.ends, 0.9, store=run)):
        assert torch.equal(loaded.unpruned.beads, found.unpruned.beads)
        assert loaded.by_depth == found.by_depth
    assert ws.load(run, SURFACE).unpruned.max_loss <= 0.9


@pytest.mark.slow
def test_it_is_the_same_after_an_interruption(kept, tmp_path, watched) -> None:
    found, _ = kept
    for calls in (1, 40, 90):
        run = tmp_path / str(calls)
        ws.connect(watched(SURFACE, interrupt_after=calls), *SURFACE.ends, 0.9, store=run)
        again = ws.connect(SURFACE, *SURFACE.ends, 0.9, store=run)
        assert torch.equal(again.unpruned.beads, found.unpruned.beads)
        assert again.by_depth == found.by_depth


def test_refining_for_a_certificate_leaves_the_first_string(tmp_path) -> None:
    run, ring = tmp_path / "run", Ring(size=3)
    strategy = ws.AsInThePaper(0.9, 6)
    plain = ws.connect(ring, *ring.ends, 0.05, strategy=strategy)
    proved = ws.connect(ring, *ring.ends, 0.05, strategy=strategy, store=run, certify=True)
    assert torch.equal(proved.unpruned.beads, plain.string.beads)
    assert torch.equal(ws.load(run).unpruned.beads, plain.string.beads)


@pytest.mark.slow
def test_a_string_shortened_or_not_begins_as_the_same(tmp_path) -> None:
    ring = Ring(size=2)
    plain = ws.connect(ring, *ring.ends, 0.1)
    shortened = ws.connect(ring, *ring.ends, 0.1, strategy=ws.Shortened(ws.Greedy()))
    assert torch.equal(plain.unpruned.beads, shortened.unpruned.beads)
    assert shortened.unpruned.length >= shortened.string.length


def written(kept: tuple[ws.Result, Path], to: Path) -> Path:
    _, run = kept
    (to / "beads").mkdir(parents=True)
    for file in run.rglob("*.*"):
        (to / file.relative_to(run)).write_bytes(file.read_bytes())
    return to


def test_a_changed_file_is_refused(kept, tmp_path, refused) -> None:
    path = written(kept, tmp_path / "run") / "beads" / "unpruned.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-8], whole[:-8] + bytes(8), b""):
        path.write_bytes(content)
        with refused(InvalidRun, "unpruned.safetensors"):
            ws.load(tmp_path / "run")
    path.unlink()
    with refused(InvalidRun, "unpruned.safetensors"):
        ws.load(tmp_path / "run")


def test_maxima_by_depth_that_are_not_those_of_the_rounds_are_refused(kept, tmp_path, refused) -> None:
    path = written(kept, tmp_path / "run") / "result.json"
    record = json.loads(path.read_text())
    record["by_depth"][-1] = 0.5
    path.write_text(json.dumps(record))
    with refused(InvalidRun, "its maxima by depth are not those of its rounds"):
        ws.load(tmp_path / "run")


def test_a_run_of_before_they_were_kept_still_loads(kept, tmp_path) -> None:
    found, _ = kept
    path = written(kept, tmp_path / "run") / "result.json"
    record = json.loads(path.read_text())
    del record["by_depth"], record["unpruned_sha256"]
    for one in record["rounds"]:
        del one["highest_depth"]
    path.write_text(json.dumps(record))
    (tmp_path / "run" / "beads" / "unpruned.safetensors").unlink()
    loaded = ws.load(tmp_path / "run", SURFACE)
    assert torch.equal(loaded.string.beads, found.string.beads)
    assert (loaded.unpruned, loaded.by_depth) == (None, ())
    assert loaded.beads_before_pruning == found.beads_before_pruning
