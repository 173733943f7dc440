"""A threshold for two models, and the scale that it stands on."""

from __future__ import annotations

import json
import math

import pytest
import torch

import weightstring as ws
from weightstring.cli import main
from weightstring.errors import InvalidCheckpoint
from weightstring.problem.surfaces import Ring


@pytest.fixture(scope="module")
def problem() -> ws.ModuleProblem:
    """A classifier of three classes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 2, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    return ws.ModuleProblem(net, torch.nn.functional.cross_entropy, (x[:40], y[:40]), (x[40:], y[40:]), engine="loop")


def test_a_search_at_the_suggested_threshold_is_not_refused(problem):
    a, b = problem.initial(0), problem.initial(1)
    suggestion = ws.suggest_threshold(problem, a, b)
    assert suggestion.value == pytest.approx(1.02 * max(suggestion.ends))
    ws.connect(problem, a, b, suggestion.value, stop=ws.MaxSteps(1), progress=False)


def test_its_standard_error_is_that_of_the_mean_over_examples(problem):
    a, b = problem.initial(0), problem.initial(1)
    suggestion = ws.suggest_threshold(problem, a, b)
    higher = a if suggestion.ends[0] > suggestion.ends[1] else b
    each = problem.measure_each(higher)
    assert suggestion.examples == 20
    assert suggestion.standard_error == pytest.approx(float(each.std()) / math.sqrt(20), rel=1e-5)


def test_it_says_where_a_constant_would_be_under_it(problem):
    untrained = ws.suggest_threshold(problem, problem.initial(0), problem.initial(1))
    assert untrained.trivial
    assert "says nothing of what was learnt" in str(untrained)
    fits = [problem.fit(seed=seed, until=0.4) for seed in (0, 1)]
    trained = ws.suggest_threshold(problem, *fits, bind="train")
    assert not trained.trivial


def test_it_says_whether_the_straight_line_is_under_it():
    ring = Ring()
    end = ring.ends[0]
    assert ws.suggest_threshold(ring, end, end).straight
    assert not ws.suggest_threshold(ring, *ring.ends).straight


def test_a_loss_that_is_not_finite_has_no_threshold(problem):
    broken = torch.full_like(problem.initial(0), 1e38)
    with pytest.raises(InvalidCheckpoint, match="was that model trained"):
        ws.suggest_threshold(problem, broken, problem.initial(1))


def test_the_command_prints_what_it_found(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["threshold", "polynomial", "random:0", "random:1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert told["value"] >= max(told["ends"])
