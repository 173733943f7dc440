"""Linear maps of units that change no function: found by tracing, and never where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.symmetry.finding import find

from .test_hugging_face import disturbed
from .test_hugging_face import problem_of as language
from .zoo import Net, param, problem_of

WIDTH = 6


def kinds(problem: ws.ModuleProblem) -> dict[str, str]:
    """The groups that linear maps mix."""
    return {name: group.kind for name, group in find(problem).maps.groups.items() if not group.fixed}


def residual(norm: str) -> nn.Module:
    """Two blocks that read a stream through a norm, and a readout that does."""

    def normed(net: nn.Module, x: torch.Tensor, index: int) -> torch.Tensor:
        weight, shift = getattr(net, f"weight{index}"), getattr(net, f"shift{index}")
        if norm == "layer":
            return F.layer_norm(x, (WIDTH,), weight, shift)
        if norm == "batch":
            return F.batch_norm(x, None, None, weight, shift, training=True)
        return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    def forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = net.first(x)
        x = x + net.out0(torch.tanh(net.in0(normed(net, x, 0))))
        return net.last(normed(net, x, 1))

    weights = {
        f"{name}{index}": nn.Parameter(1 + 0.3 * torch.randn(WIDTH)) for name in ("weight", "shift") for index in (0, 1)
    }
    layers = {
        "first": nn.Linear(3, WIDTH),
        "in0": nn.Linear(WIDTH, 5),
        "out0": nn.Linear(5, WIDTH),
        "last": nn.Linear(WIDTH, 1),
    }
    return Net(forward, **layers, **weights)


def attention(rotate: bool, even: bool = True) -> nn.Module:
    """Two heads of width 4, whose queries and keys may be rotated by their position, by pairs of one angle if even."""
    places = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.3])
    angles = torch.cat([places, places if even else 2 * places], -1)

    def turned(x: torch.Tensor, net: nn.Module) -> torch.Tensor:
        one, other = x.chunk(2, -1)
        return x * net.cosines + torch.cat([-other, one], -1) * net.sines

    def forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).view(len(x), 5, 2, 4).transpose(1, 2) for layer in (net.q, net.k, net.v))
        if rotate:
            q, k = turned(q, net), turned(k, net)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return net.o(mixed.transpose(1, 2).reshape(len(x), 5, 8)).mean(1)

    layers = {name: nn.Linear(3, 8) for name in "qkv"}
    return Net(forward, **layers, o=nn.Linear(8, 1), cosines=angles.cos(), sines=angles.sin())


def test_layers_with_nothing_between_are_mixed_by_any_invertible_map():
    net = nn.Sequential(nn.Linear(3, WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
    problem = problem_of(net, torch.randn(9, 3))
    assert kinds(problem) == {"0": "general"}
    theta = problem.initial(0)
    assert float((ws.mapped_copy(problem, theta, 1) - theta).norm()) > 1


@pytest.mark.parametrize(("norm", "kind"), [("layer", "centred"), ("rms", "orthogonal"), ("batch", None)])
def test_a_stream_that_is_read_through_norms_is_rotated(norm, kind):
    problem = problem_of(residual(norm), torch.randn(9, 3))
    assert list(kinds(problem).values()) == ([kind] if kind else [])
    if kind:
        theta = problem.flatten(problem._parts.net)
        copy = problem.unflatten(ws.mapped_copy(problem, theta, 1))
        assert torch.allclose(copy["weight0"], problem.unflatten(theta)["weight0"])  # folded, and unfolded again
        with pytest.raises(ws.Unsupported, match="weight1 has zeros"):
            ws.mapped_copy(problem, problem.flatten({**copy, "weight1": torch.zeros(WIDTH).double()}), 1)


def test_a_norm_before_what_is_tied_to_the_stream_lets_nothing_rotate():
    def forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = F.embedding(x, net.table)
        return F.layer_norm(h, (WIDTH,), net.scale) @ net.table.T

    problem = problem_of(Net(forward, table=param(7, WIDTH), scale=param(WIDTH)), torch.arange(9) % 7)
    assert kinds(problem) == {}


@pytest.mark.parametrize(
    ("rotate", "even", "expected"),
    [(False, True, ["general", "general"]), (True, True, ["complex", "general"]), (True, False, ["general"])],
)
def test_circuits_of_heads_are_mixed_as_far_as_rotations_allow(rotate, even, expected):
    problem = problem_of(attention(rotate, even), torch.randn(9, 5, 3))
    assert sorted(kinds(problem).values()) == expected
    theta = problem.initial(0)
    copy = ws.mapped_copy(problem, theta, 1)
    losses = problem.measure(torch.stack([theta, copy]))["loss"]
    assert float(losses.diff().abs()) < 1e-12


def test_units_that_are_computed_one_by_one_are_not_mixed():
    for between in (nn.ReLU(), nn.Dropout(), nn.Hardtanh(), nn.BatchNorm1d(WIDTH), nn.Softmax(-1), nn.PReLU(WIDTH)):
        problem = problem_of(nn.Sequential(nn.Linear(3, WIDTH), between, nn.Linear(WIDTH, 1)), torch.randn(9, 3))
        assert list(kinds(problem)) == (["0"] if isinstance(between, nn.Dropout) else [])


STREAMS = {
    "gpt2": None,
    "gpt2, untied": "centred",
    "llama": "orthogonal",
    "qwen3": "orthogonal",
    "bert": None,
    "vit, classes": "centred",
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stream"), STREAMS.items())
def test_transformers_as_they_are_have_streams_and_circuits(kind, stream):
    problem = language(kind)
    groups = find(problem).maps.groups.values()
    of_heads = (
        ["general", "general"]
        if kind not in ("llama", "qwen3")
        else ["complex", "general"]
        if kind == "llama"
        else ["general"]
    )
    assert sorted(g.kind for g in groups if not g.fixed and g.over) == sorted(2 * of_heads)
    assert [g.kind for g in groups if not g.fixed and not g.over] == ([stream] if stream else [])
    theta = disturbed(problem)
    assert float((ws.mapped_copy(problem, theta, 1) - theta).norm()) > 1
