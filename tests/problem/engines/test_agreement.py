"""Loop, vmap and stack compute the same losses and gradients, over random networks, losses and batches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weightstring.problem import ModuleProblem
from weightstring.problem.engines import threads
from weightstring.problem.engines.stack import ELEMENTWISE

pytestmark = pytest.mark.usefixtures("unchecked_module")

SMOOTH = [nn.GELU, nn.LogSigmoid, nn.Mish, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink]
"""Without kinks, over which rounding in float32 may push a number now and then."""
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
EXAMPLES = 23


@pytest.fixture(scope="module")
def unchecked_module():
    """The check of annotations off: hypothesis runs each test a hundred times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        yield


def unit(kind: type[nn.Module]) -> nn.Module:
    return kind(0.1, -0.3) if kind is nn.Threshold else kind()


@dataclass(frozen=True)
class Drawn:
    """A network with what its problem is made of."""

    net: nn.Sequential
    loss_fn: nn.Module
    inputs: Tensor
    targets: Tensor
    chunk: int
    models: int
    rows: bool


@st.composite
def linear_layers(draw: st.DrawFn, tied: str) -> list[nn.Linear]:
    """One to four layers, chained; tied ones twice in a row, as an object or in their weight."""
    widths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    layers = [nn.Linear(i, o, bias=draw(st.booleans())) for i, o in itertools.pairwise(widths)]
    if tied == "no":
        return layers
    at, width = draw(st.integers(0, len(widths) - 1)), widths
    again = nn.Linear(width[at], width[at])
    other = again if tied == "object" else nn.Linear(width[at], width[at], bias=draw(st.booleans()))
    other.weight = again.weight
    return (
        [*layers[:at], again, *layers[at:], other] if at == len(layers) else [*layers[:at], again, other, *layers[at:]]
    )


@st.composite
def networks(draw: st.DrawFn, dtype: torch.dtype, drops: bool) -> Drawn:
    torch.manual_seed(draw(st.integers(0, 2**20)))
    layers = draw(linear_layers(draw(st.sampled_from(["no", "object", "weight"]))))
    units = [unit(kind) for kind in (SMOOTH if dtype == torch.float32 else ELEMENTWISE)]
    passive = [nn.Identity(), nn.Dropout(0.0), nn.AlphaDropout(0.0), *([nn.Dropout(0.3)] if drops else [])]
    modules: list[nn.Module] = []
    for layer in layers:
        modules += [*draw(st.lists(st.sampled_from(passive), max_size=1)), layer]
        modules += draw(st.lists(st.sampled_from(units), max_size=2))  # now and then the same object again
    trainable = draw(st.integers(0, len(layers) - 1))
    for layer in layers:
        if layer is not layers[trainable] and layer.weight is not layers[trainable].weight:
            layer.requires_grad_(draw(st.booleans()))
    size = layers[0].in_features
    shape = draw(st.sampled_from([(size,), (size, 1), (1, size, 1)]))
    flatten = [nn.Flatten()] if len(shape) > 1 or draw(st.booleans()) else []
    inside = draw(st.integers(0, len(modules)))
    net = nn.Sequential(nn.Sequential(*flatten, nn.Sequential(*modules[:inside])), *modules[inside:])
    outputs = layers[-1].out_features
    classes = outputs > 1 and draw(st.booleans())
    if classes:
        weight = torch.rand(outputs) + 0.5 if draw(st.booleans()) else None
        loss_fn: nn.Module = nn.CrossEntropyLoss(weight=weight)
        targets = torch.randint(outputs, (EXAMPLES,))
    else:
        loss_fn = draw(st.sampled_from([nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(delta=0.4)]))
        targets = torch.randn(EXAMPLES, outputs)
    inputs = 0.3 + torch.randn(EXAMPLES, *shape)
    # A class-weighted mean over chunks is no mean over examples: such losses are refused unless all go at once.
    chunk = draw(st.sampled_from([7, 64])) if not (classes and weight is not None) else 64
    return Drawn(net, loss_fn, inputs, targets, chunk, draw(st.sampled_from([1, 2, 17])), draw(st.booleans()))


def assert_agree(drawn: Drawn, dtype: torch.dtype) -> None:
    problem = ModuleProblem(
        drawn.net, drawn.loss_fn, (drawn.inputs, drawn.targets), dtype=dtype, chunk=drawn.chunk, engine="loop"
    )
    thetas = torch.stack([problem.initial(seed) for seed in range(drawn.models)])
    rows = torch.stack([torch.randperm(EXAMPLES)[:6] for _ in thetas]) if drawn.rows else None
    found = {}
    for engine, large in [("loop", 1e8), ("vmap", 1e8), ("stack", 1e8), ("stack", 0)]:  # the last: one by one
        problem.use_engine(engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "ONE_THREAD_FLOPS", large)
            losses, gradients = problem.gradient(thetas, rows)
            found[engine, large] = problem.measure(thetas)["loss"][:, None], losses[:, None], gradients
        assert losses.dtype == gradients.dtype == dtype
    for engine in found:
        for one, other in zip(found[engine], found["loop", 1e8], strict=True):
            scale = other.abs().amax(dim=1, keepdim=True).clamp_min(1e-2)
            assert (one - other).abs().div(scale).max() <= TOLERANCE[dtype], engine


@pytest.mark.slow
@settings(max_examples=24, deadline=None, derandomize=True)
@given(drawn=networks(torch.float64, drops=False))
def test_engines_agree_in_float64(drawn):
    assert_agree(drawn, torch.float64)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(drawn=networks(torch.float32, drops=False))
def test_engines_agree_in_float32(drawn):
    assert_agree(drawn, torch.float32)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(drawn=networks(torch.float64, drops=True))
def test_engines_agree_where_training_draws(drawn):
    assert_agree(drawn, torch.float64)


@pytest.mark.many(quick=6)
@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_every_elementwise_function_is_the_same_in_every_engine(kind):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(3, 7), unit(kind), nn.Linear(7, 2), unit(kind))
    drawn = Drawn(net, nn.MSELoss(), torch.randn(EXAMPLES, 3), torch.randn(EXAMPLES, 2), 9, 5, True)
    assert_agree(drawn, torch.float64)


@pytest.mark.parametrize("shared", ["activation", "layer", "frozen layer", "weight", "whole block"])
def test_what_is_run_twice_is_run_twice_in_every_engine(shared):
    torch.manual_seed(5)
    act, square = nn.Tanh(), nn.Linear(3, 3)
    other = nn.Linear(3, 3)
    other.weight = square.weight
    block = nn.Sequential(square, act)
    net = {
        "activation": nn.Sequential(nn.Linear(3, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 2)),
        "layer": nn.Sequential(square, nn.Tanh(), square, nn.Sigmoid(), nn.Linear(3, 2)),
        "frozen layer": nn.Sequential(square, nn.Tanh(), square, nn.Sigmoid(), nn.Linear(3, 2)),
        "weight": nn.Sequential(square, nn.Tanh(), other, nn.Sigmoid(), nn.Linear(3, 2)),
        "whole block": nn.Sequential(block, nn.Dropout(0.0), block, nn.Linear(3, 2)),
    }[shared]
    square.requires_grad_(shared != "frozen layer")
    drawn = Drawn(net, nn.MSELoss(), torch.randn(EXAMPLES, 3), torch.randn(EXAMPLES, 2), 64, 4, False)
    assert_agree(drawn, torch.float64)
