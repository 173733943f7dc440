"""Code that the system's compiler makes: autograd's numbers, and a word where there is no compiler."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import weightstring as ws
from weightstring.descent import Descended, Descents, Evolution, Evolved, Start, Step, Tied, constraint, descend
from weightstring.errors import InvalidModel
from weightstring.path import Objective
from weightstring.problem import ModuleProblem
from weightstring.problem.engines.base import Unavailable
from weightstring.problem.engines.native import build
from weightstring.problem.engines.native.build import library
from weightstring.problem.engines.native.engine import Native
from weightstring.problem.engines.trial import tell_once
from weightstring.recipe import Recipe
from weightstring.search.methods.curves import Fitted
from weightstring.tasks.metrics import error_rate
from weightstring.testing.engines import check_engine


def compiles() -> bool:
    try:
        library(torch.float64)
    except Unavailable:
        return False
    return True


needs_compiler = pytest.mark.skipif(not compiles(), reason="no C++ compiler")

X = 0.3 + torch.randn(300, 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLASSES = torch.arange(300) % 3


def network(activation: nn.Module, bias: bool = True) -> nn.Sequential:
    """Layers wider and narrower than a vector, none of them a whole number of vectors."""
    torch.manual_seed(0)
    layers = [nn.Linear(19, 13), activation, nn.Linear(13, 5, bias=bias), activation, nn.Linear(5, 3)]
    return nn.Sequential(*layers)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.ELU(0.7)], ids=lambda each: str(each)
)
def test_it_computes_what_autograd_does(activation, dtype):
    metrics = {"error": lambda output, targets: (output.argmax(1) != targets).double().mean()}
    net, data = network(activation), (X.to(dtype), CLASSES)
    check_engine(
        ModuleProblem(net, functional.cross_entropy, data, batch_size=9, dtype=dtype, metrics=metrics), "native"
    )


@needs_compiler
@pytest.mark.parametrize(
    ("frozen", "loss"), [("0.weight", nn.MSELoss()), ("2.bias", nn.L1Loss()), ("4.weight", nn.MSELoss())]
)
def test_more_examples_than_a_block_and_frozen_parameters(frozen, loss):
    net = network(nn.Tanh())
    net.get_parameter(frozen).requires_grad_(False)
    check_engine(ModuleProblem(net, loss, (X, X[:, :3].clone()), batch_size=None, dtype=torch.float64), "native")


@needs_compiler
def test_a_layer_alone_and_large_logits():
    net = nn.Linear(19, 3, dtype=torch.float64)
    problem = ModuleProblem(net, nn.CrossEntropyLoss(), (1e4 * X, CLASSES), batch_size=9, dtype=torch.float64)
    check_engine(problem, "native")
    thetas = 1e3 * torch.stack([problem.initial(seed) for seed in range(3)])
    with problem.computing_by("native"):
        assert problem.gradient(thetas, None).losses.isfinite().all()


@needs_compiler
@pytest.mark.parametrize(
    ("net", "loss", "says"),
    [
        (network(nn.Softsign()), nn.CrossEntropyLoss(), "knows one activation after each layer of ReLU, "),
        (
            network(nn.Tanh()),
            nn.CrossEntropyLoss(label_smoothing=0.1),
            "knows cross-entropy and means of squares or distances alone",
        ),
        (
            network(nn.Tanh()),
            lambda output, targets: output.mean(),
            "knows cross-entropy and means of squares or distances alone",
        ),
    ],
)
def test_what_was_not_written_for_it_is_refused(refused, net, loss, says):
    problem = ModuleProblem(net, loss, (X, CLASSES), batch_size=9, dtype=torch.float64)
    with refused(InvalidModel, f"^native code {says}"):
        problem.use_engine("native")


@needs_compiler
def test_rows_that_are_not_there_are_an_error():
    problem = ModuleProblem(network(nn.ReLU()), nn.CrossEntropyLoss(), (X, CLASSES), dtype=torch.float64)
    problem.use_engine("native")
    with pytest.raises(Exception, match="a row of the training set that it does not have"):
        problem.gradient(problem.initial(0)[None], torch.tensor([[0, 300]]))


@pytest.mark.parametrize("variable", [{"CXX": "/nonexistent"}, {"CXX": "false"}])
def test_without_a_compiler_another_engine_is_taken_and_the_reason_given(
    monkeypatch, refused, tmp_path, variable, caplog
):
    for name, value in {"XDG_CACHE_HOME": str(tmp_path), **variable}.items():
        monkeypatch.setenv(name, value)
    build.library.cache_clear()
    tell_once.cache_clear()
    caplog.set_level("INFO", "weightstring")
    for _ in range(2):
        problem = ModuleProblem(network(nn.ReLU()), nn.CrossEntropyLoss(), (X, CLASSES), dtype=torch.float64)
        choice = problem.engine_choice()
        assert choice.name in ("stack", "loop")
        assert "; not native: " in choice.reason
    (told,) = caplog.records  # once, though there are two problems; --quiet leaves out what is only information
    assert told.levelname == "INFO"
    assert "up to five times as long" in told.message
    message = r"^engine='native' cannot run here \((no C\+\+ compiler|.* cannot compile native code): .*\): install it"
    with refused(Unavailable, message):
        problem.use_engine("native")
    build.library.cache_clear()


@needs_compiler
def test_a_compiler_that_takes_liberties_with_arithmetic_is_refused(monkeypatch, refused, tmp_path):
    hasty = tmp_path / "hasty"
    hasty.write_text('#!/bin/sh\nexec c++ -ffast-math "$@"\n')
    hasty.chmod(0o700)
    for name, value in {"XDG_CACHE_HOME": tmp_path, "CXX": hasty}.items():
        monkeypatch.setenv(name, str(value))
    build.library.cache_clear()
    with refused(Unavailable, "bounds of rounding need IEEE 754 as it is"):
        build.library(torch.float32)
    build.library.cache_clear()


def reached(recipe: ws.Recipe, batch_size: int | None, models: list[int], width: int = 16) -> torch.Tensor:
    """Where descents end, without a level to reach."""
    data = (X[:, :9], CLASSES)
    net = nn.Sequential(nn.Linear(9, 13), nn.Tanh(), nn.Linear(13, 3))
    problem = ModuleProblem(net, nn.CrossEntropyLoss(), data, batch_size=batch_size, dtype=X.dtype, engine="native")
    descents = Descents[int, Descended](problem, Objective(problem), seed=3, recipe=recipe, width=width)
    for m in models:
        descents.add(Start(problem.initial(m), 0.0, 0.0, f"bead {m}"), m)
    found: dict[int, torch.Tensor] = {}
    while not descents.idle:
        found |= {m: each.theta for m, each in descents.advance().items()}
    return torch.stack([found[m] for m in models])


@needs_compiler
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("batch_size", [13, None])
@pytest.mark.parametrize(
    "recipe",
    [
        ws.Recipe("sgd", {"lr": 0.1}, clip=0.1),
        ws.Recipe("sgd", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}, average=0.9),
        ws.Recipe("adam", {"lr": 0.01, "weight_decay": 0.02, "betas": (0.8, 0.99)}, schedule="cosine", warmup=3),
        ws.Recipe("adamw", {"lr": 0.01, "weight_decay": 0.1}),
    ],
)
def test_many_steps_in_one_call_are_those_of_torch_and_a_model_s_own(monkeypatch, recipe, batch_size):
    recipe = replace(recipe, check_every=5, max_steps=25)
    whole = reached(recipe, batch_size, [0, 1, 2])
    assert torch.equal(reached(recipe, batch_size, [2, 0], width=1), whole[[2, 0]])
    monkeypatch.setattr(Native, "strides", property(lambda self: False))
    torch.testing.assert_close(reached(recipe, batch_size, [0, 1, 2]), whole, rtol=1e-11, atol=1e-12)


@needs_compiler
def test_an_optimizer_s_other_options_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(Native, "stride", None)
    for recipe in (ws.Recipe("adam", {"lr": 0.01, "amsgrad": True}), ws.Recipe("rmsprop", {"lr": 0.01})):
        assert reached(replace(recipe, max_steps=5, check_every=5), 13, [0]).isfinite().all()


@needs_compiler
def test_models_of_a_segment_share_the_first_layer_of_its_ends():
    net = nn.Sequential(nn.Linear(19, 40), nn.Tanh(), nn.Linear(40, 3))
    metrics = {"error": lambda output, targets: (output.argmax(1) != targets).double().mean()}
    problem = ModuleProblem(net, nn.CrossEntropyLoss(), (X, CLASSES), dtype=X.dtype, metrics=metrics, engine="native")
    assert problem.shares_along
    a, b, ts = problem.initial(0), problem.initial(1), torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    along = problem.measure_along(a, b, ts, ("loss", "error"))
    apart = problem.measure(torch.lerp(a, b, ts[:, None]), ("loss", "error"))
    for name, values in along.items():
        torch.testing.assert_close(values, apart[name], rtol=1e-12, atol=0)
        assert torch.equal(values[[0, 3]], apart[name][[0, 3]])
        assert torch.equal(problem.measure_along(a, b, ts[1:2], (name,))[name], values[1:2])
    beside = problem.measure_segments([(b, a, ts[1:3]), (a, b, ts)], ("loss", "error"))
    assert all(torch.equal(values, beside[name][2:]) for name, values in along.items())


@needs_compiler
def test_beads_that_find_their_steps_stride_as_if_they_were_alone():
    def problem(engine: str) -> ModuleProblem:
        net = network(nn.Tanh())
        return ModuleProblem(net, functional.cross_entropy, (X, CLASSES), batch_size=64, dtype=X.dtype, engine=engine)

    native, stack = problem("native"), problem("stack")
    steps = [None, Step("sgd", 0.05), Step("adam", 0.003)]
    starts = [
        Start(native.initial(seed), 0.9 - 0.1 * seed, 0.9, f"bead {seed}", step=step) for seed, step in enumerate(steps)
    ]
    tuned = replace(Recipe.tuned(), max_steps=60)

    def reached(where: ModuleProblem, some: list[Start]) -> list[Descended]:
        return descend(where, Objective(where), some, seed=0, recipe=tuned)

    for start, beside, other in zip(starts, reached(native, starts), reached(stack, starts), strict=True):
        (alone,) = reached(native, [start])
        assert torch.equal(alone.theta, beside.theta)
        assert (alone.steps, alone.value, alone.step) == (beside.steps, beside.value, beside.step)
        assert (beside.status, beside.steps) == (other.status, other.steps)
        torch.testing.assert_close(beside.theta, other.theta, rtol=1e-6, atol=1e-9)


@needs_compiler
def test_it_counts_the_same_errors_as_argmax_among_equal_outputs_and_nan():
    nan = float("nan")
    biases = [(1, 1, 0), (0, 1, 1), (2, 1, 0), (0, 0, 0), (1, nan, 2), (nan, nan, 0), (nan, 3, nan), (0, 1, nan)]
    thetas = torch.tensor([(0.0, 0.0, 0.0, *bias) for bias in biases], dtype=torch.float64)
    data = (torch.ones(300, 1, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 2, 2]).repeat(50))
    found = [
        ModuleProblem(
            nn.Sequential(nn.Linear(1, 3)),
            functional.cross_entropy,
            data,
            engine=engine,
            dtype=torch.float64,
            metrics={"error": error_rate},
        ).measure(thetas, ("error",))["error"]
        for engine in ("native", "loop")
    ]
    torch.testing.assert_close(*found, rtol=1e-15, atol=0)


@needs_compiler
@pytest.mark.parametrize(
    ("motion", "aim", "cost"),
    [(Tied(constraint("hyperplane")), 0.0, 3), (Fitted(5, 2, bezier=True), -math.inf, 2)],
    ids=["string", "curve"],
)
def test_models_that_descend_together_in_native_code_are_those_of_torch_and_their_own(motion, aim, cost):
    def evolved(engine: str, strings: int = 1) -> dict[int, Evolved]:
        net, loss = network(nn.Tanh()), nn.CrossEntropyLoss()
        problem = ModuleProblem(net, loss, (X, CLASSES), batch_size=13, dtype=X.dtype, engine=engine)
        recipe = Recipe("adam", {"lr": 0.01}, check_every=5)
        batch = Descents[int, Evolved](problem, Objective(problem), seed=0, recipe=recipe, width=8)
        thetas = torch.stack([problem.initial(seed) for seed in range(6)])
        for i in range(strings):
            batch.add(Evolution(f"string {i}", thetas, (1, 2, 4), motion, aim, 0.1, 20), i)
        found: dict[int, Evolved] = {}
        while not batch.idle:
            found |= batch.advance()
        return found

    alone, beside, other = evolved("native")[0], evolved("native", 3)[0], evolved("stack")[0]
    assert torch.equal(alone.thetas, beside.thetas)
    assert alone.trace == beside.trace
    torch.testing.assert_close(alone.thetas, other.thetas, rtol=1e-11, atol=1e-12)
    assert alone.steps == other.steps == 20 * cost
