"""Code that the system's compiler makes: autograd's numbers, and a word where there is no compiler."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.problem.engines.base import Unavailable
from weightstring.problem.engines.native import build
from weightstring.problem.engines.native.build import library
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
def test_without_a_compiler_another_engine_is_taken_and_the_reason_given(monkeypatch, refused, tmp_path, variable):
    for name, value in {"XDG_CACHE_HOME": str(tmp_path), **variable}.items():
        monkeypatch.setenv(name, value)
    build.library.cache_clear()
    problem = ModuleProblem(network(nn.ReLU()), nn.CrossEntropyLoss(), (X, CLASSES), dtype=torch.float64)
    choice = problem.engine_choice()
    assert choice.name in ("stack", "loop")
    assert "; not native: " in choice.reason
    message = r"^engine='native' cannot run here \((no C\+\+ compiler|.* cannot compile native code): .*\): install it"
    with refused(Unavailable, message):
        problem.use_engine("native")
    build.library.cache_clear()
