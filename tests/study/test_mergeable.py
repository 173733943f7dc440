"""Will these models merge, and after what?"""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import InvalidSetting
from weightstring.problem.surfaces import Ring

X = torch.linspace(-1, 1, 8)[:, None]


def line() -> ws.ModuleProblem:
    """The loss of a line through the origin of slope 2."""
    return ws.ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (X, 2 * X), engine="loop")


@pytest.fixture(scope="module")
def trained() -> tuple[ws.ModuleProblem, torch.Tensor]:
    """A perceptron with units of its own order, and a model that has learnt."""
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, x.abs().sum(1, keepdim=True)), engine="loop")
    return problem, problem.fit(seed=0, until=0.05)


def test_of_a_convex_loss_the_average_is_enough():
    found = ws.mergeable(line(), {"low": torch.tensor([1.8, 0.0]), "high": torch.tensor([2.2, 0.0])}, align=False)
    assert found.merges
    assert found.best.name == "average"
    assert found.best.loss == pytest.approx(0.0, abs=1e-12)
    assert "average them as they are" in found.verdict


def test_a_model_and_its_permuted_copy_merge_after_alignment(trained):
    problem, theta = trained
    copy = ws.permuted_copy(problem, theta, seed=3)
    found = ws.mergeable(problem, [theta, copy])
    plain = found.ways[0]
    assert plain.loss > 2 * found.best.loss
    assert found.best.name == "aligned average"
    assert found.best.loss == pytest.approx(found.models["0"]["loss"], rel=1e-4)
    assert "align all to 0" in found.verdict


@pytest.mark.slow
def test_permuted_copies_of_one_model_merge_in_one_order(trained):
    problem, theta = trained
    found = ws.mergeable(problem, [theta, *(ws.permuted_copy(problem, theta, seed=seed) for seed in (3, 4))])
    assert found.best.name == "aligned average"
    assert found.best.loss == pytest.approx(found.models["0"]["loss"], rel=1e-4)
    assert "align all to one order of units" in found.verdict


def test_every_way_measures_what_it_says(trained):
    problem, theta = trained
    models = [theta, problem.initial(1)]
    found = ws.mergeable(problem, models, search=400)
    for way in found.ways:
        if way.theta is not None:
            assert way.loss == pytest.approx(float(problem.measure(way.theta[None])["loss"][0]), rel=1e-5)
    assert found.best.loss == pytest.approx(min(way.loss for way in found.ways), rel=1e-5)
    assert found.merges == (found.best.loss <= max(found.models[name]["loss"] for name in found.models) * (1 + 1e-6))


def test_the_middle_of_arcs_keeps_lengths():
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    net = nn.Linear(2, 1, bias=False)
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x, 2**0.5 * x.sum(1, keepdim=True)), engine="loop")
    found = ws.mergeable(problem, [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])], align=False)
    assert found.best.name == "slerp"
    assert found.best.loss == pytest.approx(0.0, abs=1e-12)
    assert torch.allclose(found.best.theta, torch.full((2,), 2**0.5))
    assert "slerp" in ws.mergeable(problem, [torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0])], align=False).untried


@pytest.fixture(scope="module")
def apart() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor], list[torch.Tensor]]:
    """Two perceptrons from seeds of their own, 128 examples that they have seen, and 64 on which they do not merge."""
    x = torch.randn(192, 3, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x.prod(1), x.sum(1).sin()], 1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 2))
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x[:128], y[:128]), engine="loop")
    models = []
    for seed in (1, 2):
        theta = problem.initial(seed)
        for _ in range(300):
            theta = theta - 0.2 * problem.gradient(theta[None], None).gradients[0]
        models.append(theta)
    return net, (x, y), models


def test_what_does_not_merge_otherwise_is_aligned_by_learning(apart):
    net, (x, y), models = apart
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x[:128], y[:128]), (x[128:], y[128:]), engine="loop")
    without, found = (ws.mergeable(problem, models, learn=learn) for learn in (0, 60))
    assert not without.merges
    assert found.merges
    assert found.best.name.startswith("learned")
    learned = next(way for way in found.ways if way.name == "learned average")
    assert learned.loss < min(way.loss for way in without.ways)
    assert float(problem.measure(learned.theta[None])["loss"]) == pytest.approx(learned.loss)
    assert learned.barrier == pytest.approx(float(found.lines.barriers(aligned=True)[0, 1]))
    assert found.better_aligned
    assert found.learn == 60


def test_a_learned_average_is_compared_with_those_before_it(apart, monkeypatch):
    """Also where it comes right after the first, since nothing else can be tried."""
    net, (x, y), models = apart
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (x[:128], y[:128]), (x[128:], y[128:]), engine="loop")
    refused, heard = ws.Unsupported("no"), []

    def refuse(*_: object) -> None:
        raise refused

    monkeypatch.setattr("weightstring.study.mergeable.rescaled", refuse)
    monkeypatch.setattr("weightstring.study.mergeable.on_arcs", lambda _, a, b: torch.lerp(a, b, 0.5))
    monkeypatch.setattr("weightstring.study.mergeable.averaged", lambda own: torch.lerp(*own, 0.5))
    monkeypatch.setattr("weightstring.study.mergeable._Work._in_one_order", lambda self, _: self.models)
    found = ws.mergeable(problem, models, learn=60, on_way=heard.append)
    assert [way.name for way in found.ways] == ["average", "learned average"]
    assert found.best.name == "learned average"
    assert heard[-1] == "learned and repaired"


def test_what_is_learned_is_not_measured_on_what_it_learns_from(apart):
    net, (x, y), models = apart
    seen = ws.ModuleProblem(net, nn.functional.mse_loss, (x[128:], y[128:]), engine="loop")
    assert "no evaluation set" in ws.mergeable(seen, models, learn=60).untried["learned matching"]
    with pytest.raises(InvalidSetting, match=r"mergeable\(learn=-1\): give a number of gradients, or 0"):
        ws.mergeable(seen, models, learn=-1)


def test_a_greedy_soup_leaves_out_what_makes_it_worse():
    models = {"a": torch.tensor([2.1, 0.0]), "b": torch.tensor([1.9, 0.0]), "far": torch.tensor([9.0, 5.0])}
    found = ws.mergeable(line(), models, align=False)
    assert found.best.name == "greedy soup"
    assert sorted(found.best.members) == ["a", "b"]


def test_a_soup_of_one_is_no_merge():
    models = {"a": torch.tensor([2.0, 0.0]), "b": torch.tensor([1.0, 1.0]), "c": torch.tensor([2.9, 3.0])}
    found = ws.mergeable(line(), models, align=False)
    assert "greedy soup" not in {way.name for way in found.ways}
    assert found.untried["greedy soup"].startswith("the average of a with any other")


def test_lines_of_a_few_are_whole_and_of_many_midpoints():
    problem = ws.ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (X, 2 * X), (X[:5], 2 * X[:5]), engine="loop")
    few, many = ([torch.tensor([2.0 + 0.1 * n, 0.0]) for n in range(count)] for count in (3, 6))
    whole, midpoints = (ws.mergeable(problem, models, align=False).lines for models in (few, many))
    assert min(len(pair.given.t) for pair in whole.lines.values()) > 3
    assert {pair.given.t for pair in midpoints.lines.values()} == {(0.0, 0.5, 1.0)}
    middle = float(problem.measure((many[0] + many[5])[None] / 2)["loss"])
    assert midpoints.lines[0, 5].given.values["loss"][1] == pytest.approx(middle)


def test_a_way_has_the_barrier_of_its_lines_and_its_rise(trained):
    problem, theta = trained
    copy = ws.permuted_copy(problem, theta, seed=3)
    found = ws.mergeable(problem, [theta, copy], blame=True)
    plain, aligned = found.ways[:2]
    assert plain.barrier == pytest.approx(float(found.lines.barriers()[0, 1]))
    assert plain.barrier > 10 * abs(aligned.barrier)
    assert found.rise(plain) == pytest.approx(plain.loss - found.models["0"]["loss"], rel=1e-4)
    assert found.blamed == ("0", "1")
    assert "train_loss" not in plain.values or found.evaluation == "train"
    assert found.memory > 1e6


def test_what_a_loss_cannot_offer_is_named():
    ring = Ring()
    found = ws.mergeable(ring, list(ring.ends))
    assert not found.merges
    assert set(found.untried) == {"alignment", "slerp", "repair"}
    assert len(str(found).splitlines()) <= 24


def test_one_model_and_a_search_among_three_are_refused():
    problem = line()
    with pytest.raises(InvalidSetting, match="two or more"):
        ws.mergeable(problem, [problem.initial(0)])
    with pytest.raises(InvalidSetting, match="a search joins two models"):
        ws.mergeable(problem, [problem.initial(seed) for seed in range(3)], search=10)


@pytest.mark.slow
def test_the_command_writes_the_merged_model_and_says_by_its_exit_code(tmp_path, capsys):
    from safetensors.torch import load_file

    from weightstring.cli import main
    from weightstring.tasks import load_task

    problem = load_task("digits")
    theta = problem.fit(seed=0, until=0.5)
    for name, model in (("a", theta), ("b", ws.permuted_copy(problem, theta, seed=1))):
        torch.save(problem.unflatten(model), tmp_path / f"{name}.pt")
    out = tmp_path / "merged.safetensors"
    page = tmp_path / "page.html"
    words = [str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--out", str(out), "--page", str(page), "--json"]
    command = ["mergeable", "digits", *words, "--search", "50"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["best"] == "aligned average"
    assert told["next"][0]["command"].startswith("weightstring mergeable digits ")
    assert told["blame"]["of"] == [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]
    assert told["about"][f"file: {tmp_path / 'a.pt'}"].startswith("sha256 ")
    assert "They merge" in page.read_text()
    merged = problem.flatten(load_file(out))
    best = next(way for way in told["ways"] if way["name"] == told["best"])
    assert float(problem.measure(merged[None])["loss"][0]) == pytest.approx(best["values"]["loss"], rel=1e-5)
