"""``connect`` as a whole, in memory and in a run directory: resumed bit for bit, refused where it is another run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import weightstring as ws
import weightstring.tasks
from weightstring.descent.loop import WIDTH
from weightstring.path import BARRIERS
from weightstring.problem.surfaces import Maze, Ring, TwoWells, shifted, stretched
from weightstring.runs.connect import connect, connect_many

# Whole searches, of which the fixture `whole` runs with every annotation checked.
pytestmark = pytest.mark.usefixtures("unchecked")

SURFACE = shifted(Maze(size=3), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64), lift=0.5)
A, B = SURFACE.ends
THRESHOLD = 0.9


def search(problem: ws.LossProblem = SURFACE, **options: object) -> ws.Result:
    return connect(problem, A, B, **{"threshold": THRESHOLD, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[ws.Result, Path]:
    """A search that nothing disturbs, and its directory. Not to be written to."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return search(store=run), run


def rounds(run: Path) -> list[dict[str, object]]:
    """The journal's rounds by their jobs, results and beads; not those that were given up, nor their seconds."""
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [{**line, "seconds": 0, "round": 0} for line in lines if line["jobs"]]


def assert_same_run(run: Path, other: Path) -> None:
    for name in ("string", "ends"):
        file = Path("beads") / f"{name}.safetensors"
        assert (run / file).read_bytes() == (other / file).read_bytes()
    assert rounds(run) == rounds(other)
    assert ws.load(run).string.curve == ws.load(other).string.curve


def test_a_run_on_disk_equals_one_in_memory(whole):
    result, run = whole
    in_memory = search()
    assert result.connected
    assert torch.equal(result.string.beads, in_memory.string.beads)
    assert [p.name for p in sorted(run.iterdir())] == ["beads", "journal.jsonl", "lock", "manifest.json", "result.json"]


def test_a_result_says_what_was_found(whole):
    result, _ = whole
    assert torch.equal(result.string[0], A)
    assert torch.equal(result.string[-1], B)
    assert SURFACE.gamma(A, B) * (1 - 1e-6) <= result.string.max_loss <= THRESHOLD
    assert [end["loss"] for end in result.ends] == SURFACE.measure(torch.stack([A, B]))["loss"].tolist()
    assert max(top.value for top in result.segments) == result.string.max_loss
    assert len(result.segments) == len(result.string) - 1
    assert result.beads_before_pruning >= len(result.string)
    assert result.largest == result.string.max_loss
    assert str(result).startswith("connected: ")
    assert f"\nthreshold 0.9 on the evaluation loss, its largest sample {result.largest:.6g}; " in str(result)


@pytest.mark.parametrize("calls", [0, 1, 20, 40])
def test_an_interrupted_run_goes_on_with_the_same_call_bit_for_bit(tmp_path, watched, whole, calls):
    run = tmp_path / "run"
    stopped = search(watched(SURFACE, interrupt_after=calls), store=run)
    assert isinstance(stopped.outcome, ws.Unresolved)
    assert stopped.outcome.reason == "interrupted"
    assert not (run / "result.json").exists()
    assert search(store=run).connected
    assert_same_run(run, whole[1])


def test_a_line_that_a_power_cut_tore_is_run_again(tmp_path, whole):
    run = tmp_path / "run"
    search(store=run)
    journal = run / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-25])
    (run / "result.json").unlink()
    search(store=run)
    assert_same_run(run, whole[1])


def test_a_finished_run_is_read_back_and_not_computed_again(watched, whole):
    result, run = whole
    problem = watched(SURFACE)
    again = search(problem, store=run)
    assert (problem.gradients, problem.measured) == (0, 2)  # the two ends, to see that the loss is the same
    assert again.outcome == result.outcome
    assert torch.equal(again.string.beads, result.string.beads)
    assert again.string.curve == result.string.curve
    assert again.history == result.history


@pytest.mark.parametrize(
    ("less", "more", "reason"),
    [
        (ws.MaxBeads(4), ws.MaxBeads(64), "beads"),
        (ws.MaxSteps(30), ws.MaxSteps(10_000), "steps"),
        (ws.Budget(seconds=1e-9), ws.Budget(seconds=600), "time"),
    ],
    ids=["beads", "steps", "time"],
)
def test_a_raised_limit_lets_a_run_go_on(tmp_path, whole, less, more, reason):
    run = tmp_path / "run"
    first = search(store=run, stop=less)
    assert first.outcome.reason == reason == ws.load(run).outcome.reason
    again = search(store=run, stop=less)
    assert again.outcome == first.outcome
    assert search(store=run, stop=more).connected
    assert_same_run(run, whole[1])


def test_a_verdict_stands_whatever_the_limit(tmp_path, watched):
    problem = watched(SURFACE)
    options = {"threshold": 0.7, "store": tmp_path / "run", "strategy": ws.Greedy(max_depth=2, retries=0)}
    first = search(**options)
    assert first.outcome.reason in ("depth", "descent_failed")
    assert search(problem, **options, stop=ws.MaxBeads(640)).outcome == first.outcome
    assert problem.gradients == 0


def test_a_result_is_loaded_without_its_problem(whole, refused):
    result, run = whole
    loaded = ws.load(run)
    assert torch.equal(loaded.string.beads, result.string.beads)
    assert loaded.string.curve == result.string.curve
    for name in BARRIERS:
        assert loaded.string.barrier(name) == result.string.barrier(name)
    assert (loaded.string.max_loss, loaded.string.length) == (result.string.max_loss, result.string.length)
    assert torch.equal(loaded.string.at(0.37), result.string.at(0.37))
    assert (loaded.ends, loaded.segments, loaded.history) == (result.ends, result.segments, result.history)
    assert (loaded.steps, loaded.evaluations, loaded.seconds) == (result.steps, result.evaluations, result.seconds)
    assert str(loaded) == str(result)
    with refused(ws.InvalidSetting, r"^this string has no problem to measure"):
        loaded.string.measure()
    with_problem = ws.load(str(run), problem=SURFACE)
    measured = with_problem.string.measure()
    assert max(measured.values["loss"]) == pytest.approx(result.string.max_loss, rel=1e-5)


def test_an_unresolved_result_is_loaded_with_its_evidence(tmp_path):
    result = search(threshold=0.7, store=tmp_path, strategy=ws.Greedy(retries=1))
    assert isinstance(result.outcome, ws.Unresolved)
    assert ws.load(tmp_path).outcome == result.outcome


def test_a_run_that_is_not_finished_is_refused_to_load(tmp_path, watched, refused):
    search(watched(SURFACE, interrupt_after=1), store=tmp_path / "run")
    with refused(ws.InvalidRun, r"run: this run is not finished; `weightstring resume .*run` goes on with it$"):
        ws.load(tmp_path / "run")
    with refused(ws.InvalidRun, r"none: no run here \(no manifest.json\); give the directory that --out named$"):
        ws.load(tmp_path / "none")


def test_a_loaded_string_of_another_problem_is_refused(whole, refused):
    with refused(ws.InvalidRun, r"run: a run of another problem; load it without one, or with its own: the "):
        ws.load(whole[1], problem=Ring())


OTHERS: dict[str, tuple[Callable[[], object], str]] = {
    "problem": (lambda: search(replace(SURFACE, lift=0.51), store="run", threshold=THRESHOLD), "the problem "),
    "first end": (lambda: connect(SURFACE, A + 1e-9, B, THRESHOLD, store="run"), "the ends differs"),
    "order of the ends": (lambda: connect(SURFACE, B, A, THRESHOLD, store="run"), "the ends differs"),
    "threshold": (lambda: search(threshold=math.nextafter(THRESHOLD, 1), store="run"), "the threshold differs"),
    "seed": (lambda: search(seed=1, store="run"), "the seed differs"),
    "alpha": (lambda: search(strategy=ws.Greedy(alpha=0.9), store="run"), "the strategy or its recipe differs"),
    "recipe": (lambda: search(recipe=replace(SURFACE.recipe, patience=21), store="run"), "the strategy or its recipe"),
    "bind": (lambda: search(bind="loss", store="run"), "what the threshold binds differs"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_in_the_same_directory_is_refused(tmp_path, monkeypatch, refused, other):
    monkeypatch.chdir(tmp_path)
    search(store="run", stop=ws.MaxBeads(3))
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    call, what = OTHERS[other]
    with refused(
        ws.InvalidRun, rf"^run: holds another run: {what}.*; resume it with what it was begun with, or choose"
    ):
        call()
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_a_loss_that_gives_other_values_now_is_refused(tmp_path, refused):
    search(store=tmp_path, stop=ws.MaxBeads(3))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["end_losses"][1] += 1e-3
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with refused(ws.InvalidRun, r"an end measured 0.501 when it was begun and 0.5 now: has loss_fn changed\?$"):
        search(store=tmp_path)


def test_damage_in_the_middle_of_a_run_is_refused(tmp_path, refused):
    search(store=tmp_path, stop=ws.MaxBeads(4))
    journal, bead_file = tmp_path / "journal.jsonl", tmp_path / "beads" / "round-0001.safetensors"
    whole_journal, whole_beads = journal.read_bytes(), bead_file.read_bytes()
    journal.write_bytes(whole_journal.replace(b'"round":1', b'"round":"one"'))
    with refused(ws.InvalidRun, r"journal.jsonl: line 2 is damaged \(.*\); restore it or start afresh$"):
        search(store=tmp_path)
    journal.write_bytes(whole_journal)
    bead_file.write_bytes(whole_beads[:-1] + b"\x00")
    with refused(ws.InvalidRun, r"round-0001.safetensors: its SHA-256 is not the one written down for it; the file "):
        search(store=tmp_path)
    bead_file.unlink()
    with refused(ws.InvalidRun, r"round-0001.safetensors: cannot be read: No such file or directory$"):
        search(store=tmp_path)
    bead_file.write_bytes(whole_beads)
    assert search(store=tmp_path).connected


def test_a_directory_of_other_files_is_refused_and_left_alone(tmp_path, refused):
    (tmp_path / "thesis.tex").write_text("years of work")
    with refused(ws.InvalidRun, r"holds 'thesis.tex' but no run; choose an empty or new directory$"):
        search(store=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


HOLD = """
import sys
from weightstring.store import RunDirectory
with RunDirectory(sys.argv[1]).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_second_writer_is_refused(tmp_path, refused):
    search(store=tmp_path, stop=ws.MaxBeads(3))
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with refused(ws.RunLocked, r": another process is writing this run; wait for it or choose --out$"):
            search(store=tmp_path)
        holder.communicate()
    assert holder.returncode == 0
    assert search(store=tmp_path).connected


@pytest.mark.parametrize("threshold", [0.4999, 0.0, -1.0])
def test_an_end_above_the_threshold_is_refused_with_both_losses(refused, threshold):
    message = rf"^threshold {threshold} on evaluate: the ends lie at A 0.5, B 0.5, so no path can stay under it; raise"
    with refused(ws.EndAboveThreshold, message) as caught:
        search(threshold=threshold)
    assert caught.value.losses == (0.5, 0.5)
    assert caught.value.threshold == threshold


@pytest.mark.parametrize("threshold", [math.nan, -math.inf, math.inf])
def test_a_threshold_that_is_no_number_is_refused(refused, threshold):
    with refused(ws.InvalidSetting, rf"^threshold={threshold}: must be finite; leave it out for the larger end's own "):
        search(threshold=threshold)


def test_an_end_of_infinite_loss_is_refused(refused):
    ring = Ring()
    with refused(ws.EndAboveThreshold, r"^threshold inf on evaluate: the ends lie at A 0, B inf, so no path can stay"):
        connect(ring, ring.ends[0], ring.ends[1] * 1e200)


def test_ends_and_settings_of_no_meaning_are_refused(refused, tmp_path):
    with refused(ws.InvalidCheckpoint, r"^the first end has shape \(2,\), the problem's θ has \(3,\)"):
        connect(SURFACE, A[:2], B)
    with refused(ws.InvalidCheckpoint, r"^the second end has 3 entries that are NaN or infinite$"):
        connect(SURFACE, A, B * math.nan)
    with refused(ws.InvalidSetting, r"^bind='accuracy': this problem does not measure it"):
        search(bind="accuracy")
    with refused(ws.InvalidSetting, r"^unknown optimizer 'luck'"):
        search(recipe=ws.Recipe("luck", {"lr": 0.1}))
    with refused(ws.InvalidCheckpoint, r"^the second end"):
        connect(SURFACE, A, B * math.nan, store=tmp_path / "run")
    with refused(
        ws.InvalidSetting, r"^executor=4: pass None, weightstring.Processes\(4\), weightstring.Dask\(\), .* or"
    ):
        search(executor=4, store=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bind", ["evaluate", "train", "both", "spread"])
def test_the_threshold_binds_what_it_is_told_to_while_everything_is_recorded(cloud, bind):
    problem = cloud(batch_size=5)
    a, b = (problem.points.mean(0) + torch.tensor([s, -s, 0.2, 0.0, s], dtype=torch.float64) for s in (0.4, -0.5))
    result = connect(problem, a, b, bind=bind)
    assert result.connected  # the loss is convex
    names = {"evaluate": ("loss",), "train": ("train_loss",), "both": ("loss", "train_loss"), "spread": ("spread",)}[
        bind
    ]
    measured = problem.measure(torch.stack([a, b]), names)
    assert result.threshold == max(max(values.tolist()) for values in measured.values())
    assert result.names == names
    tops, seen = result.segments, result.string.measured
    assert set(result.string.curve.values) == {"loss", "train_loss", "spread"}
    assert tops == result.segments  # what the search saw is what is in the curve
    assert not seen
    assert max(top.value for top in result.segments) <= result.threshold


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stretched_shifted_surface_of_many_dimensions_in_either_dtype(dtype):
    scales = torch.linspace(0.8, 1.3, 40, dtype=dtype)
    surface = shifted(stretched(TwoWells(size=40, dtype=dtype), scales), torch.full((40,), 2.0, dtype=dtype), lift=0.25)
    a, b = surface.ends
    result = connect(surface, a, b, 1.1 * surface.gamma(a, b))
    assert result.connected
    assert result.string.beads.dtype == dtype


def test_results_do_not_alias_the_ends():
    a, b = A.clone(), B.clone()
    result = connect(SURFACE, a, b, THRESHOLD)
    a.zero_()
    assert torch.equal(result.string[0], A)


def test_options_that_are_tuples_are_the_same_after_reading_back(tmp_path: Path) -> None:
    surface = Ring(size=2)
    recipe = ws.Recipe("adam", {"lr": 0.02, "betas": (0.8, 0.99)}, check_every=5)
    first = ws.connect(surface, *surface.ends, 0.05, recipe=recipe, stop=ws.MaxBeads(3), store=tmp_path / "run")
    again = ws.connect(surface, *surface.ends, 0.05, recipe=recipe, store=tmp_path / "run")
    assert not first.connected
    assert again.connected


PAIRS = [(A, B), (B, A), (torch.lerp(A, B, 0.02), B), (A, B)]
LEVELS = [THRESHOLD, None, 0.95, 1.3]
GREEDY = ws.Greedy()
"""One attempt: that of each pair that fails is soon over."""


@pytest.fixture(scope="module")
def each_alone() -> list[ws.Result]:
    return [connect(SURFACE, a, b, level, strategy=GREEDY) for (a, b), level in zip(PAIRS, LEVELS, strict=True)]


def assert_same_results(found: list[ws.Result], expected: list[ws.Result]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.outcome, one.threshold) == (other.outcome, other.threshold)
        assert torch.equal(one.string.beads, other.string.beads)
        assert one.string.curve == other.string.curve
        assert (one.steps, one.evaluations) == (other.steps, other.evaluations)


@pytest.mark.slow
def test_many_pairs_find_what_each_finds_alone(each_alone):
    assert_same_results(connect_many(SURFACE, PAIRS, LEVELS, strategy=GREEDY), each_alone)
    assert connect_many(SURFACE, []) == []
    assert [result.threshold for result in connect_many(SURFACE, PAIRS[:2], strategy=GREEDY)] == [0.5, 0.5]


@pytest.mark.slow
def test_each_pair_has_a_run_directory_of_its_own(tmp_path, watched, each_alone):
    found = connect_many(SURFACE, PAIRS, LEVELS, store=tmp_path, strategy=GREEDY)
    assert_same_results(found, each_alone)
    names = [f"pair-000{i}" for i in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert_same_results([ws.load(tmp_path / name, problem=SURFACE) for name in names], each_alone)
    problem = watched(SURFACE)
    assert_same_results(connect_many(problem, PAIRS, LEVELS, store=tmp_path, strategy=GREEDY), each_alone)
    assert (problem.gradients, problem.measured) == (0, 8)
    alone = connect(SURFACE, *PAIRS[2], LEVELS[2], store=tmp_path / names[2], strategy=GREEDY)
    assert_same_results([alone], each_alone[2:3])
    assert json.loads((tmp_path / names[0] / "manifest.json").read_text())["width"] == 4 * WIDTH


@pytest.mark.slow
@pytest.mark.many(quick=1)
@pytest.mark.parametrize("calls", [0, 20, 60])
def test_an_interrupted_half_of_many_pairs_goes_on(tmp_path, watched, each_alone, calls):
    stopped = connect_many(watched(SURFACE, interrupt_after=calls), PAIRS, LEVELS, store=tmp_path, strategy=GREEDY)
    reasons = [result.outcome.reason for result in stopped if not result.connected]
    assert "interrupted" in reasons
    assert_same_results(connect_many(SURFACE, PAIRS, LEVELS, store=tmp_path, strategy=GREEDY), each_alone)


@pytest.mark.slow
def test_more_pairs_join_those_that_are_there(tmp_path, each_alone):
    connect_many(SURFACE, PAIRS[:2], LEVELS[:2], store=tmp_path, strategy=GREEDY)
    assert_same_results(connect_many(SURFACE, PAIRS, LEVELS, store=tmp_path, strategy=GREEDY), each_alone)


def test_misuse_of_one_pair_is_refused_by_its_number(refused, tmp_path):
    with refused(ws.InvalidSetting, r"^threshold: 3 for 4 pairs; give one, or one a pair$"):
        connect_many(SURFACE, PAIRS, [0.9, 0.9, 0.9])
    with refused(ws.InvalidCheckpoint, r"^pair 1: the second end has shape \(2,\), the problem's θ has \(3,\)"):
        connect_many(SURFACE, [(A, B), (A, B[:2])], store=tmp_path / "runs")
    with refused(ws.EndAboveThreshold, r"^pair 2: threshold 0.1 on evaluate: the ends lie at A 0.5, B 0.5, so no path"):
        connect_many(SURFACE, [(A, B)] * 3, [0.9, None, 0.1])
    with refused(ws.InvalidSetting, r"^pair 0: threshold=nan: must be finite"):
        connect_many(SURFACE, PAIRS, math.nan)
    connect_many(SURFACE, PAIRS[:2], THRESHOLD, store=tmp_path, stop=ws.MaxBeads(3))
    with refused(ws.InvalidRun, r"pair-0001: holds another run: the ends differs"):
        connect_many(SURFACE, [(A, B), (A, B)], THRESHOLD, store=tmp_path)


@pytest.mark.parametrize("pair", [(A,), (A, B, A), A, 7])
def test_what_is_no_pair_is_refused_by_its_number(refused, pair):
    with refused(ws.InvalidSetting, r"^pair 1: "):
        connect_many(SURFACE, [(A, B), pair], THRESHOLD)


@pytest.mark.slow
def test_many_pairs_of_networks_have_the_verdicts_that_each_has_alone(digits_end):
    problem = ws.tasks.load_task("digits")
    ends = [digits_end(seed) for seed in range(4)]
    pairs = [(ends[0], ends[1]), (ends[2], ends[3]), (ends[0], ends[3])]
    levels = [1.02 * problem.measure(torch.stack(pair))["loss"].max().item() for pair in pairs]
    for one, (a, b), level in zip(connect_many(problem, pairs, levels), pairs, levels, strict=True):
        alone = connect(problem, a, b, level)
        assert type(one.outcome) is type(alone.outcome)
        assert one.largest == pytest.approx(alone.largest, rel=1e-5)
