"""``weightstring align`` and ``connect --align``: what is written, printed and refused."""

from __future__ import annotations

import json

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from weightstring.cli.alignment import remarks
from weightstring.store import read_checkpoint
from weightstring.store.alignment_record import AlignmentRecord, CandidateRecord
from weightstring.tasks import load_task

WAYS = {"none": 0.5, "weights": 0.1}
"""Barriers of the ways to align."""


@pytest.fixture(scope="module")
def aligned(cli, workshop, tmp_path_factory):
    out = tmp_path_factory.mktemp("aligned") / "c.safetensors"
    return out, cli("align", workshop.task, workshop.a, workshop.b, "--out", out)


@pytest.mark.slow
def test_the_checkpoint_is_the_second_model_in_another_order(aligned, workshop):
    out, done = aligned
    assert done.code == 0, done.err
    problem = load_task(workshop.task)
    copy, b = (problem.flatten(load_file(path)) for path in (out, workshop.b))
    losses = problem.measure(torch.stack([copy, b]))["loss"]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    assert not torch.equal(copy, b)


@pytest.mark.slow
def test_both_sides_are_printed_in_eighty_columns(aligned):
    _, done = aligned
    lines = done.out.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last names a file
    for words in ("as given", "aligned", "distance of the ends", "barrier of the line, at 4 points", "permutations"):
        assert words in done.out
    assert done.out.splitlines()[-1].startswith("aligned")


def test_json_says_the_same(cli, workshop, tmp_path):
    done = cli("align", workshop.task, workshop.a, workshop.b, "--out", tmp_path / "c.safetensors", "--json")
    told = json.loads(done.out)
    assert told["distance"] <= told["distance_before"] * 1.001 or told["barrier"] <= told["barrier_before"]
    assert sorted(told["groups"][0]["permutation"]) == list(range(5))
    assert told["difference"] <= 1e-5
    assert {each["method"] for each in told["candidates"]} == {"none", "weights", "activations"}


def test_the_function_is_the_same_up_to_the_rounding_that_is_named(aligned_record):
    half = msgspec.structs.replace(aligned_record, rounding="bfloat16", units="batches", examples=123456)
    lines = remarks(half)
    assert "same function up to bfloat16 rounding: within 0.0045 of the largest output" in lines
    assert max(map(len, lines)) <= 80


def test_of_ways_with_the_same_barrier_none_is_called_the_least(aligned_record):
    least, *_ = remarks(aligned_record)
    assert "least barrier of 2 ways" in least
    same = tuple(msgspec.structs.replace(each, barrier=0.5) for each in aligned_record.candidates)
    taken, tied, *_ = remarks(msgspec.structs.replace(aligned_record, candidates=same))
    assert "least" not in taken
    assert tied.startswith("all 2 ways have the same barrier")
    assert len(tied) <= 80


@pytest.fixture
def aligned_record():
    candidates = [CandidateRecord(method=name, rescaled=False, distance=1.0, barrier=b) for name, b in WAYS.items()]
    return AlignmentRecord(
        method="weights", by="barrier", rescaled=False, distance_before=2.0, distance=1.0, barrier_before=0.5,
        barrier=0.1, difference=0.0045, examples=9, log10_permutations=0.3, seconds=0.1, candidates=tuple(candidates),
        groups=(), original="",
    )  # fmt: skip


def test_only_permuting_is_an_option(cli, workshop, tmp_path):
    out = tmp_path / "c.safetensors"
    done = cli(
        "align", workshop.task, workshop.a, workshop.b, "--out", out, "--no-rescale", "--by", "distance", "--json"
    )
    told = json.loads(done.out)
    assert (told["by"], told["rescaled"]) == ("distance", False)
    assert told["distance"] == min(each["distance"] for each in told["candidates"])


@pytest.mark.slow
def test_a_search_after_alignment_shows_both_sides(cli, workshop, tmp_path):
    run = tmp_path / "run"
    options = ("--threshold", 0.051, "--align", "both", "--out", run)
    done = cli("connect", workshop.task, workshop.a, workshop.b, *options)
    assert done.code == 0, done.err
    for words in ("before and after alignment", "as given", "normalized length", "gradient steps"):
        assert words in done.out
    shown = cli("show", run)
    assert shown.code == 0
    assert "before and after alignment" in shown.out
    told = json.loads(cli("show", run, "--json").out)
    assert told["plain"]["string"]["beads"] >= 2
    assert told["alignment"]["method"] in ("none", "weights", "activations")
    assert cli("resume", run).code == 0


def test_a_search_that_only_aligns_leaves_the_other_side_open(cli, workshop, tmp_path):
    run = tmp_path / "run"
    done = cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, "--align", "--out", run)
    assert done.code == 0, done.err
    assert "not searched" in done.out
    assert not (run / "plain").exists()


@pytest.mark.slow
def test_resuming_goes_on_with_both_searches(cli, workshop, tmp_path):
    run = tmp_path / "run"
    options = ("--threshold", 0.051, "--align", "both", "--out", run)
    first = cli("connect", workshop.task, workshop.a, workshop.b, *options)
    for directory in (run, run / "plain"):
        (directory / "result.json").unlink()
    done = cli("resume", run)
    assert done.code == first.code == 0
    assert "not searched" not in done.out
    assert (run / "plain" / "result.json").exists()


@pytest.mark.slow
def test_an_aligned_run_has_a_directory_of_its_own_by_default(cli, workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in ((), ("--align",)):
        assert cli("connect", workshop.task, workshop.a, workshop.b, "--threshold", 0.051, *options).code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_models_of_another_architecture_are_refused(refused, workshop, cli, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "wide.safetensors"
    trained = cli("train", workshop.task, "--set", "hidden=6", "--until", 1.0, "--out", other)
    assert trained.code == 0, trained.err
    line = refused("align", workshop.task, workshop.a, other, "--out", "c.safetensors")
    assert "wide.safetensors" in line


def test_a_destination_that_cannot_be_is_refused_first(refused, workshop):
    assert "c.safetensors" in refused("align", workshop.task, workshop.a, workshop.b, "--out", "c.pt")


def test_the_copy_says_where_it_comes_from(aligned, workshop):
    out, _ = aligned
    assert read_checkpoint(out).keys() == read_checkpoint(workshop.b).keys()
