"""Every engine keeps the contract that an outsider's must keep, on modules of many kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.problem.engines import ENGINES
from weightstring.protocol import Gradient
from weightstring.testing.engines import check_engine

pytestmark = pytest.mark.usefixtures("unchecked")


def error_rate(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output.argmax(1) != targets).double().mean()


@pytest.fixture
def problem(request, problem_of, plain, norm_mlp, convolution, dropping) -> ModuleProblem:
    torch.manual_seed(0)
    made: dict[str, Callable[[], ModuleProblem]] = {
        "plain": lambda: problem_of(plain(), 2, chunk=10, metrics={"error": error_rate}),
        "plain in float32": lambda: problem_of(plain(nn.GELU()), 2, dtype=torch.float32),
        "plain that draws": lambda: problem_of(dropping(), 2, batch_size=None),
        "layer norm": lambda: problem_of(norm_mlp(), 2, chunk=10),
        "batch norm": lambda: problem_of(convolution(), 1, 5, buffers="recalibrate", chunk=10),
        "frozen batch norm": lambda: problem_of(convolution(), 1, 5, buffers="frozen", chunk=10),
    }
    return made[request.param]()


STACKS = ("plain", "plain in float32", "plain that draws")
OTHERS = ("layer norm", "batch norm", "frozen batch norm")


def runs(engine: str, kind: str) -> bool:
    return engine != "stack" or kind in STACKS


@pytest.mark.many(quick=6)
@pytest.mark.parametrize(
    ("engine", "problem"),
    [(engine, kind) for engine in ("loop", "vmap") for kind in (*STACKS, *OTHERS)]
    + [("stack", kind) for kind in STACKS],
    indirect=["problem"],
)
def test_it_computes_what_autograd_does(engine, problem):
    check_engine(problem, engine)


@pytest.fixture
def faulty(monkeypatch) -> Callable[[str], str]:
    """Registers an engine that is the loop but for one fault."""
    loop = ENGINES["loop"]

    def register(fault: str) -> str:
        class Faulty(loop):
            def measure(self, thetas, wanted):
                values = super().measure(thetas, wanted)
                return values * (1 + 1e-7) if fault == "measured" else values

            def gradient(self, thetas, rows):
                losses, gradients = super().gradient(thetas, rows)
                match fault:
                    case "company":
                        gradients = gradients * (1 + 1e-13 * len(thetas))
                    case "draws":
                        torch.rand(1)
                    case "writes":
                        thetas += 1e-12
                    case "lost rows" if rows is not None and rows.shape[1] == 7:
                        losses, gradients = super().gradient(thetas, rows[:, :-1])
                    case "dtype" if rows is not None and rows.shape[1] == 7:
                        losses = losses.float()
                return Gradient(losses, gradients)

        monkeypatch.setattr(ENGINES, "_entries", {**ENGINES._entries, "faulty": Faulty})
        return "faulty"

    return register


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("measured", "differ"),
        ("company", "5 models differ by|1 models differ by"),
        ("draws", "moves torch's generators"),
        ("writes", "writes to theta"),
        ("lost rows", "minibatches of 7: losses of . models differ from autograd's by"),
        ("dtype", "torch.float32"),
    ],
)
def test_an_engine_that_breaks_it_is_found_out(problem_of, plain, faulty, fault, words):
    problem = problem_of(plain(), 2)
    with pytest.raises((AssertionError, InvalidModel), match=words):
        check_engine(problem, faulty(fault))
