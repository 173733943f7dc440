"""The recipe on the command line: what is named changes, in the run's identity too, and everything else stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

EVERY = (
    "--optimizer", "sgd", "--lr", "0.05", "--optimizer-option", "momentum=0.5", "--check-every", "5",
    "--patience", "7", "--descent-steps", "900", "--clip", "3", "--schedule", "cosine", "--warmup", "4",
    "--average", "0.75",
)  # fmt: skip
RECIPE = {
    "optimizer": "sgd",
    "options": {"lr": 0.05, "momentum": 0.5},
    "check_every": 5,
    "patience": 7,
    "max_steps": 900,
    "clip": 3.0,
    "schedule": "cosine",
    "warmup": 4,
    "average": 0.75,
}
OWN = {
    "optimizer": "adam",
    "options": {"lr": 0.02},
    "check_every": 10,
    "patience": 20,
    "max_steps": 10000,
    "clip": None,
    "schedule": "constant",
    "warmup": 0,
}


def recipe_of(run: Path) -> dict[str, object]:
    return json.loads((run / "manifest.json").read_text())["strategy"]["recipe"]


@pytest.mark.slow
def test_every_field_reaches_the_search_and_resuming_goes_on_with_it(cli, workshop, tmp_path):
    run = tmp_path / "run"
    arguments = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", "0.051", "--out", run)
    assert cli(*arguments, *EVERY, "--max-beads", "2").code == 3
    assert recipe_of(run) == RECIPE
    assert cli("resume", run, "--max-beads", "3").code in (0, 3)
    assert recipe_of(run) == RECIPE
    other = cli(*arguments, "--max-beads", "3")
    assert other.code == 2
    assert "the strategy or its recipe differs" in other.err


@pytest.mark.many(quick=1)
@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ((), {}),
        (("--lr", "0.01"), {"options": {"lr": 0.01}}),
        (("--patience", "3", "--clip", "none"), {"patience": 3}),
        (("--optimizer-option", "betas=0.8,0.99"), {"options": {"lr": 0.02, "betas": [0.8, 0.99]}}),
        (("--optimizer-option", "amsgrad=true"), {"options": {"lr": 0.02, "amsgrad": True}}),
    ],
)
def test_a_partial_recipe_changes_the_named_fields_only(cli, workshop, tmp_path, words, changes):
    run = tmp_path / "run"
    done = cli("minimax", workshop.task, workshop.a, workshop.b, "--max-beads", "2", "--out", run, *words)
    assert done.code == 0, done.err
    assert recipe_of(run) == {**OWN, **changes}


def test_the_default_directory_tells_recipes_apart_and_the_own_one_is_none(cli, workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("connect", workshop.task, workshop.a, workshop.b, "--threshold", "0.051", "--max-beads", "2", "--json")
    runs = [json.loads(cli(*arguments, *words).out)["run"] for words in ((), ("--lr", "0.02"), ("--lr", "0.01"))]
    assert runs[0] == runs[1] != runs[2]


def test_training_follows_it_and_the_checkpoint_says_so(cli, workshop, tmp_path):
    out = tmp_path / "a.safetensors"
    words = ("--bind", "train", "--optimizer", "rmsprop", "--lr", "0.01", "--json", "--out", out)
    done = cli("train", workshop.task, "--until", "0.3", *words)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["train_loss"] <= 0.3
    assert told["out"] == str(out)
    with safe_open(out, "pt") as file:
        about = json.loads(file.metadata()["weightstring"])
    assert about["recipe"]["optimizer"] == "rmsprop"
    assert about["recipe"]["options"] == {"lr": 0.01}


@pytest.mark.slow
def test_minimax_takes_any_strategy_and_says_what_is_known_as_json(cli, workshop, tmp_path):
    run = tmp_path / "run"
    words = ("minimax", workshop.task, workshop.a, workshop.b, "--strategy", "greedy", "--retries", "1", "--out", run)
    settings = ("--alpha", "0.9", "--stall-depths", "2", "--stall-fall", "0.1", "--max-depth", "3")
    done = cli(*words, *settings, "--max-beads", "3", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["minimax"]["lower_bound"] <= found["minimax"]["level"]
    assert found["minimax"]["by_depth"][-1] >= found["minimax"]["level"]
    strategy = json.loads((run / "manifest.json").read_text())["strategy"]
    given = {"name": "greedy", "alpha": 0.9, "max_depth": 3, "retries": 1, "stall_depths": 2, "stall_fall": 0.1}
    assert strategy.items() >= given.items()
    again = cli("minimax", workshop.task, workshop.a, workshop.b, "--out", run)
    assert again.code == 2
    assert "strategy or its recipe differs" in again.err


def test_compare_takes_some_strategies_with_settings_that_they_have_and_a_recipe(cli, workshop, tmp_path):
    words = ("compare", workshop.task, workshop.a, workshop.b, "--threshold", "0.051", "--strategies", "greedy,bezier")
    settings = ("--alpha", "0.9", "--retries", "2", "--lr", "0.01", "--max-beads", "3", "--max-steps", "50")
    done = cli(*words, *settings, "--out", tmp_path)
    assert done.code == 0, done.err
    assert max(len(line) for line in done.out.splitlines() if str(tmp_path) not in line) <= 80
    inner = {
        name: json.loads((tmp_path / name / "manifest.json").read_text())["strategy"] for name in ("greedy", "bezier")
    }
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["bezier", "greedy"]
    assert (inner["greedy"]["strategy"]["alpha"], inner["greedy"]["strategy"]["retries"]) == (0.9, 2)
    assert "alpha" not in inner["bezier"]["strategy"]
    assert all(own["recipe"]["options"] == {"lr": 0.01} for own in inner.values())


def test_a_strategy_that_is_none_is_refused_in_one_line(refused, workshop):
    said = refused("compare", workshop.task, workshop.a, workshop.b, "--strategies", "greedy,greedi")
    assert "--strategies greedi (did you mean greedy?): choose some of greedy, as-in-the-paper" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--optimizer", "adan"), "unknown optimizer 'adan' (did you mean adam?): choose one of"),
        (("--optimizer-option", "momentum=0.9"), "optimizer 'adam' has no option 'momentum': it takes lr, betas"),
        (("--optimizer-option", "betas=a,b"), "the value must be a number, true, false"),
        (("--optimizer-option", "eps=NaN"), "the value must be a number, true, false"),
        (("--lr", "-1"), "optimizer 'adam' refuses its options: Invalid learning rate"),
        (("--lr", "nan"), "'nan' is not a number"),
        (("--lr", "inf"), "'inf' is infinite"),
        (("--clip", "0"), "clip=0"),
        (("--clip", "no"), "'no' is not a number"),
        (("--patience", "0"), "0 is less than 1"),
        (("--retries", "-1"), "-1 is less than 0"),
    ],
)
def test_what_no_descent_can_follow_is_refused_in_one_line(refused, workshop, words, said):
    assert said in refused("connect", workshop.task, workshop.a, workshop.b, *words)
