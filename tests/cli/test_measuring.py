"""κ along a run's string, and random pairs, on the command line."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import weightstring as ws
from weightstring.path.sharpness import along, sharpness
from weightstring.tasks import load_task


@pytest.mark.slow
def test_sharpness_is_that_of_the_beads_and_of_places_between_them(cli, workshop, tmp_path):
    out = tmp_path / "numbers" / "kappa.json"
    done = cli("sharpness", workshop.connected, "--between", "2", "--out", out)
    assert done.code == 0, done.err
    assert max(map(len, done.out.replace(str(out), "").splitlines())) <= 80
    told = json.loads(out.read_text())
    problem = load_task(workshop.task)
    string = ws.load(workshop.connected, problem).string
    beads = [own for own in told["places"] if own["bead"] is not None]
    assert [own["bead"] for own in beads] == list(range(len(string)))
    assert len(told["places"]) == 3 * len(string) - 2
    for own in told["places"]:
        at = sharpness(problem, string.at(own["s"])).kappa
        assert own["kappa"] == pytest.approx(at, rel=1e-3)
    assert told["largest"] == max(own["kappa"] for own in told["places"])
    assert json.loads(cli("sharpness", workshop.connected, "--between", "2", "--json").out) == told


def test_sharpness_of_a_point_that_is_a_string_has_one_place_twice():
    data = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1)
    problem = ws.ModuleProblem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data)
    theta = torch.tensor([1.0, 2.0])
    places = list(along(problem, ws.WeightString(problem, [theta, theta]), between=0))
    assert [(own.s, own.sharpness.kappa) for own in places] == [(0.0, 9.0), (0.0, 9.0)]


def test_a_random_pair_is_as_near_as_asked_and_repeats_itself(cli, workshop, tmp_path):
    words = ("random-pair", workshop.task, "--seed", "3", "--radius", "0.5", "--within", "0.4")
    done = cli(*words, "--out", tmp_path / "one", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    problem = load_task(workshop.task)
    a, b = (problem.flatten(load_file(path)) for path in told["models"])
    assert torch.equal(torch.stack([a, b]), torch.stack(ws.random_pair(problem, 3, radius=0.5, within=0.4)))
    assert told["distance"] == pytest.approx(float((b.double() - a.double()).norm()), rel=1e-6)
    assert told["distance"] <= 0.5 * (1 + 1e-6)
    assert abs(told["losses"][0] - told["losses"][1]) <= 0.4
    plain = cli(*words, "--out", tmp_path / "two")
    assert "distance" in plain.out
    assert (tmp_path / "one/a.safetensors").read_bytes() == (tmp_path / "two/a.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--radius", "0"), "random_pair(radius=0.0): must be positive"),
        (("--within", "-1"), "random_pair(within=-1.0): a difference of losses is 0 or more"),
        (("--within", "nan"), "'nan' is not a number"),
        (("--radius", "inf", "--within", "0"), "of 100 random models the nearest in loss differs by"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_in_one_line(refused, workshop, tmp_path, words, said):
    assert said in refused("random-pair", workshop.task, *words, "--out", "pair")


def test_a_run_without_a_string_has_no_sharpness(refused):
    assert "nowhere" in refused("sharpness", "nowhere")
