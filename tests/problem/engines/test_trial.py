"""Which engine is taken, what is said about it, and what is not taken."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.engines import Trial, trial
from weightstring.problem.engines.trial import GAIN
from weightstring.protocol import EngineChoice


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(2, 3, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.recurrent(inputs)[0][:, -1]


class Branching(nn.Module):
    """Decides by the value of an output, which vmap cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output = self.linear(inputs)
        return output if output.sum() > 0 else 2 * output


class Forking(nn.Module):
    """Gives other numbers under vmap, where a tensor cannot tell that it has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs) * (1.0 if "Batched" not in repr(self.linear.weight) else 1.5)


def test_the_choice_is_made_once_and_explains_itself(problem_of, norm_mlp):
    problem = problem_of(norm_mlp(), 2)
    choice = problem.engine_choice()
    assert problem.engine_choice() is choice
    assert choice.agreement <= 1e-9
    faster = f"vmap: {choice.speedup:.1f}x the speed of one model at a time, results agree to {choice.agreement:.0e}"
    slower = f"loop: vmap runs at {choice.speedup:.1f}x the speed of one model at a time"
    assert choice.reason == (faster if choice.speedup >= GAIN else slower)
    assert choice.name == choice.reason[:4]


def test_where_one_call_each_shows_which_is_faster_none_is_repeated(monkeypatch, problem_of, norm_mlp):
    monkeypatch.setattr(trial, "CLEARLY", 0.0)
    monkeypatch.setattr(Trial, "speedup", None)
    choice = problem_of(norm_mlp(), 2).engine_choice()
    assert choice.speedup > 0
    assert choice.agreement < 1e-4


@pytest.mark.parametrize("speedup", [0.4, 3.7])
def test_the_faster_engine_is_taken(monkeypatch, speedup, problem_of, norm_mlp):
    monkeypatch.setattr(trial, "CLEARLY", math.inf)
    monkeypatch.setattr(Trial, "speedup", lambda self, name, over, run=None: speedup)
    choice = problem_of(norm_mlp(), 2, dtype=torch.float32).engine_choice()
    assert choice.name == ("vmap" if speedup > 1 else "loop")
    assert f"{speedup}x" in choice.reason


@pytest.mark.parametrize(("build", "shape"), [(Recurrent, (4, 2)), (Branching, (2,))])
def test_a_module_that_vmap_cannot_run_is_looped(build, shape, problem_of):
    problem = problem_of(build(), *shape)
    choice = problem.engine_choice()
    assert choice.reason.startswith("loop: vmap cannot run this module (")
    assert (choice.name, choice.speedup, choice.agreement) == ("loop", None, None)
    thetas = torch.stack([problem.initial(seed) for seed in range(2)])
    assert problem.measure(thetas)["loss"].shape == (2,)
    with pytest.raises(
        InvalidModel, match=r"^engine='vmap' cannot run this module \(.*\): pass engine='auto' or 'loop'$"
    ):
        problem.use_engine("vmap")
    assert problem.engine_choice() is choice


def test_an_engine_with_other_numbers_is_not_taken(problem_of):
    problem = problem_of(Forking(), 2)
    choice = problem.engine_choice()
    assert choice.name == "loop"
    assert choice.agreement > 0.1
    assert choice.reason.startswith("loop: vmap differs from one model at a time by ")
    with pytest.raises(InvalidModel, match=r"^engine='vmap' differs from one model at a time by .*1e-09 that rounding"):
        problem.use_engine("vmap")


def test_a_metric_that_leaves_tensors_is_measured_by_the_loop(problem_of, norm_mlp):
    def wrong(output: torch.Tensor, targets: torch.Tensor) -> float:
        return (output.argmax(dim=1) != targets).double().mean().item()

    problem = problem_of(norm_mlp(), 2, metrics={"wrong": wrong})
    thetas = torch.stack([problem.initial(seed) for seed in range(2)])
    assert problem.measure(thetas, ("wrong",))["wrong"].shape == (2,)
    assert problem.engine_choice().name == "loop"


def test_a_set_engine_is_kept(problem_of, norm_mlp):
    problem = problem_of(norm_mlp(), 2, engine="loop")
    assert replace(problem.engine_choice(), flops=0.0) == EngineChoice("loop", "loop: set by the caller")
    problem.use_engine("vmap")
    assert problem.engine_choice().name == "vmap"
    assert problem.engine_choice().reason == "vmap: set by the caller"


def test_the_operations_of_one_example_are_counted(problem_of, plain):
    assert problem_of(plain(), 2).engine_choice().flops == 2 * (2 * 5 + 5 * 3)
    for engine in ("loop", "vmap", "stack"):
        assert problem_of(plain(), 2, engine=engine).engine_choice().flops == 2 * (2 * 5 + 5 * 3)


@pytest.mark.parametrize(("speedup", "taken"), [(0.7, "loop"), (0.9, "stack"), (3.7, "stack")])
def test_the_stack_is_taken_unless_it_is_slower(monkeypatch, problem_of, plain, speedup, taken):
    tried = []
    monkeypatch.setattr(trial, "CLEARLY", math.inf)
    monkeypatch.setattr(Trial, "speedup", lambda self, name, over, models=8: tried.append(name) or speedup)
    choice = problem_of(plain(nn.Softsign()), 2).engine_choice()
    assert choice.name == taken
    assert tried == (["stack"] if taken == "stack" else ["stack", "vmap"])


def test_where_one_step_is_much_work_vmap_is_not_even_tried(monkeypatch, problem_of, norm_mlp):
    monkeypatch.setattr("weightstring.problem.engines.trial.LARGE_FLOPS", 3 * 50 * 29 - 1)
    choice = problem_of(norm_mlp(), 2).engine_choice()
    assert choice.reason == "loop: one step is so much work that more beside it gain nothing on a CPU"
    monkeypatch.setattr("weightstring.problem.engines.trial.LARGE_FLOPS", 3 * 50 * 29)
    assert "vmap" in problem_of(norm_mlp(), 2).engine_choice().reason


def test_an_engine_for_a_while(refused, problem_of, plain):
    problem = problem_of(plain(), 2, engine="loop")
    before = problem.engine_choice()
    with problem.computing_by("stack"):
        assert problem.engine_choice().name == "stack"
        with problem.computing_by("loop"):
            assert problem.engine_choice().name == "loop"
        assert problem.engine_choice().name == "stack"
    assert problem.engine_choice() is before
    with refused(
        InvalidSetting,
        r"^engine='quick': pass one of 'loop', 'native', 'channels-last', 'stack', 'vmap' \(a problem also",
    ):
        problem.use_engine("quick")


@pytest.mark.parametrize("engine", ["stack", "native"])
def test_a_module_that_is_no_stack_is_refused_by_what_needs_one(refused, problem_of, norm_mlp, engine):
    problem = problem_of(norm_mlp(), 2)
    message = rf"^engine='{engine}' runs only nn.Sequential of Linear, .* floating input.*: pass engine='auto'$"
    with refused(InvalidModel, message):
        problem.use_engine(engine)


def test_of_engines_that_pay_a_rival_is_taken_where_it_is_faster_still(monkeypatch, problem_of):
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    monkeypatch.setattr(Trial, "_compared", lambda self, name: (0.0, faster[name]))
    for faster in ({"native": 2.0, "channels-last": 3.0}, {"native": 3.0, "channels-last": 2.0}):
        assert problem_of(net, 1, 4, 4).engine_choice().name == max(faster, key=faster.get)


def test_a_rival_that_is_clearly_slower_than_what_pays_is_not_timed_again(monkeypatch, problem_of):
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    speeds, timed = {"native": 3.0, "channels-last": 1.3}, []
    monkeypatch.setattr(Trial, "_compared", lambda self, name: (0.0, speeds[name]))
    monkeypatch.setattr(Trial, "speedup", lambda self, name, over: timed.append(name) or speeds[name])
    assert problem_of(net, 1, 4, 4).engine_choice().name == "native"
    assert timed == []
    speeds["native"] = 1.8
    assert problem_of(net, 1, 4, 4).engine_choice().name == "native"
    assert timed == ["channels-last"]


def test_numbers_that_differ_once_are_compared_again(monkeypatch, problem_of, norm_mlp):
    seen, once = [], Trial._once
    monkeypatch.setattr(
        Trial,
        "_once",
        lambda self, name, seed: seen.append(seed) or (1.0 if seed == 0 else 0.0, once(self, name, seed)[1]),
    )
    assert problem_of(norm_mlp(), 2, engine="vmap").engine_choice().agreement == 0
    assert seen == [0, 1]
