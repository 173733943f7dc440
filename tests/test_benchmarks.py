"""The benchmarks' one entry: their names, and that a measurement runs and keeps nothing at a quick size."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import weightstring as ws

ROOT = Path(__file__).parent.parent


@pytest.fixture
def entry(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.__main__")


def test_every_benchmark_is_listed_with_a_line_of_its_own(entry, capsys):
    assert entry.main(["--list"]) == 0
    listed = capsys.readouterr().out
    names = entry.benchmarks()
    assert {"rivals", "rates", "breakdown", "report"} <= names.keys()
    assert "measuring" not in names
    assert not sys.stdlib_module_names & {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert all(line and f"{name:14} {line}" in listed for name, line in names.items())


def test_an_unknown_name_is_refused_in_one_line(entry, capsys):
    assert entry.main(["rivls"]) == 2
    assert "no benchmark 'rivls': choose of" in capsys.readouterr().err


def test_sides_take_turns_and_cpu_seconds_stand_beside_wall_seconds(entry):
    measuring = importlib.import_module("benchmarks.measuring")
    calls = []
    costs = measuring.alternating({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert all(0 <= cost.least <= cost.cpu <= cost.most for cost in costs.values())


def test_a_quick_size_keeps_nothing_and_a_full_one_says_where_it_was_measured(entry, monkeypatch, tmp_path, capsys):
    measuring = importlib.import_module("benchmarks.measuring")
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    measuring.keep("tiny", {"value": 1.5}, quick=True)
    assert json.loads(capsys.readouterr().out)["value"] == 1.5
    assert measuring.kept("tiny") == {}
    measuring.keep("tiny", {"value": 1.5})
    assert measuring.kept("tiny").keys() == {"machine", "commit", "value"}


def test_the_repeats_say_where_a_rival_is_ahead_and_why(entry, monkeypatch):
    words = importlib.import_module("benchmarks.repeats_verdict")
    rates = [{"task": "t", "bind": "evaluate", "method": "C", "lr": lr, "best": False} for lr in (0.1, 0.2)]
    monkeypatch.setattr(words, "kept", lambda name: {"rates": rates})

    def row(side, seconds, holds=True, found=True, largest=0.5):
        return {
            "task": "t", "side": side, "CPU seconds": seconds, "gradients": 10 * seconds, "evaluations": 2,
            "holds": holds, "found": found, "largest evaluation loss": largest, "threshold": 1.0,
        }  # fmt: skip

    ours = [row("weightstring", 4.0), row("weightstring", 4.0, holds=False, largest=1.25)]
    assert words.verdict([*ours, row("A", 1.0), row("B", 9.0)], "t") == (
        "t: a larger share connected than ours: A, B; fewer CPU seconds: A. Of ours 0 of 2 were not found: more steps "
        "would help; 1 exceed the threshold between their samples, by 25.00% at most: more samples would help. A takes "
        "10 gradients and 2 evaluations, ours 40 gradients and 2 evaluations, of which 25% would take as many seconds. "
        "No rate connected the other pairs for C. No rate was searched for Bézier, PolyChain, AutoNEB."
    )
    assert "no rival; fewer CPU seconds: no rival." in words.verdict([ours[0], row("B", 9.0)], "t")


def test_a_limit_says_what_a_target_leaves_and_what_is_computed(entry, monkeypatch):
    targets = importlib.import_module("benchmarks.targets")
    ours = {"side": "weightstring", "CPU seconds": 0.5, targets.WHOLE: 0.2, targets.EARLY: 0.4}
    first = {"what": "first layers", "CPU seconds": 0.25, "at the rate of a large product": 0.125}
    results = {
        "rivals": {"digits, threshold on the evaluation loss": [ours]},
        "arithmetic": {"digits": [first, {"what": "all else", "CPU seconds": 0.25}]},
        "breakdown": {"digits": [{"phase": "store", "percent": 7.0}, {"phase": "whole", "percent": 100.0}]},
    }
    monkeypatch.setattr(targets, "kept", lambda name: results.get(name, {}))
    (line,) = targets.limits()
    assert "0.5 CPU seconds; there are to be 0.75, 0.375." in line
    assert "first layers 0.25 (0.125); all else 0.25." in line
    assert line.endswith("(`breakdown`): store 7.0 %.")


@pytest.mark.slow
def test_a_benchmark_runs_at_a_quick_size(entry, capsys):
    assert entry.main(["table", "--quick", "--rows", "2000", "--repeats", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 100


def test_rivals_end_under_the_threshold_on_their_own_grid(entry):
    setting, curves, band = (importlib.import_module(f"benchmarks.{name}") for name in ("setting", "curves", "band"))
    torch.manual_seed(0)
    x = torch.randn(300, 6)
    data = x, x[:, :4].argmax(1)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    plain = setting.Setting(net, nn.CrossEntropyLoss(), data, data, batch_size=32)
    ends = tuple(plain.trained(0.5 * torch.randn(180), 0.9) for _ in range(2))
    threshold = 1.02 * max(map(plain.loss, ends))
    found = [
        curves.fitted(plain, ends, threshold, weights(points), points, lr=0.1, every=10, most=4000)
        for weights, points in ((curves.bezier, 3), (curves.bezier, 5), (curves.chain, 4))
    ]
    found.append(band.auto_neb(plain, ends, threshold, lr=0.1, every=10, most=4000))
    for controls, weights in zip(found, (curves.bezier, curves.bezier, curves.chain, curves.chain), strict=True):
        shares = weights(len(controls))
        assert max(plain.curve(lambda t, c=controls, s=shares: s(t) @ c)) <= threshold
        assert torch.equal(controls[[0, -1]], torch.stack(ends))


def test_the_dense_check_is_what_the_models_have_one_by_one(entry):
    dense, curves, setting = (importlib.import_module(f"benchmarks.{name}") for name in ("dense", "curves", "setting"))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    data = torch.randn(40, 1, 6, 6), torch.randint(5, (40,))
    plain = setting.Setting(net, nn.CrossEntropyLoss(), data, data)
    size = sum(parameter.numel() for parameter in net.parameters())
    controls = torch.randn(4, size)
    for weights in (curves.bezier(4), curves.chain(4)):
        one_by_one = max(plain.loss(weights(i / 16) @ controls) for i in range(17))
        assert dense.highest(net, controls, weights, data, 17) == pytest.approx(one_by_one, rel=1e-5)


def test_our_sides_have_no_products_that_another_call_has_computed(entry):
    rivals, pairs = (importlib.import_module(f"benchmarks.{name}") for name in ("rivals", "pairs"))
    small = pairs.Task("digits", {"width": 16, "depth": 1}, 1.0)
    problem = small.problem()
    problem.use_engine("stack")
    bench = rivals.Bench("digits", "evaluate", small, problem, small.plain(problem, "evaluate"))
    first, second = bench.ready("weightstring").problem, bench.ready("weightstring").problem
    assert problem is not first is not second
    assert first.engine_choice().name == "stack"
    assert bench.ready("AutoNEB") is bench


@pytest.mark.slow
def test_a_profile_says_which_phases_took_the_time_and_leaves_the_package_as_it_was(entry):
    profile = importlib.import_module("benchmarks.breakdown")
    before = ws.ModuleProblem.fingerprint
    small = importlib.import_module("benchmarks.pairs").Task("digits", {"width": 16, "depth": 1}, 1.0)
    rows = profile.profiled(small, 0)
    assert [row["phase"] for row in rows[-2:]] == [profile.REST, "whole"]
    assert sum(row["percent"] for row in rows[:-1]) == pytest.approx(100, abs=1)
    assert all(row["calls"] for row in rows if row["phase"] not in ("disproving", "optimizer"))
    assert ws.ModuleProblem.fingerprint is before
