"""Linear maps of units that change no function: found by tracing, and never where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.symmetry.finding import find
from weightstring.symmetry.rotation import RotationPath

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

    layers = {name: nn.Linear(7, 8) for name in "qkv"}
    return Net(forward, **layers, o=nn.Linear(8, 9), cosines=angles.cos(), sines=angles.sin())


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
    problem = problem_of(attention(rotate, even), torch.randn(9, 5, 7))
    assert sorted(kinds(problem).values()) == expected
    theta = problem.initial(0)
    copy = ws.mapped_copy(problem, theta, 1)
    losses = problem.measure(torch.stack([theta, copy]))["loss"]
    assert float(losses.diff().abs()) < 1e-12


def test_units_that_are_computed_one_by_one_are_not_mixed():
    for between in (nn.ReLU(), nn.Dropout(), nn.Hardtanh(), nn.BatchNorm1d(WIDTH), nn.Softmax(-1), nn.PReLU(WIDTH)):
        problem = problem_of(nn.Sequential(nn.Linear(3, WIDTH), between, nn.Linear(WIDTH, 1)), torch.randn(9, 3))
        assert list(kinds(problem)) == (["0"] if isinstance(between, nn.Dropout) else [])


NETS = {
    "linear": lambda: nn.Sequential(nn.Linear(7, WIDTH), nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1)),
    "layer": lambda: residual("layer"),
    "rms": lambda: residual("rms"),
    "heads": lambda: attention(rotate=False),
    "rotary": lambda: attention(rotate=True),
}


@pytest.mark.parametrize("kind", NETS)
def test_a_copy_by_a_random_element_of_the_group_is_brought_back(kind):
    torch.manual_seed(0)
    shapes = {"heads": (9, 5, 7), "rotary": (9, 5, 7), "linear": (9, 7)}
    inputs = torch.randn(*shapes.get(kind, (9, 3)))
    problem = problem_of(NETS[kind](), inputs)
    theta = problem.flatten(problem._parts.net)
    copy = ws.mapped_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    found = ws.align(problem, theta, copy, methods=["weights"])
    assert found.chosen.mapped
    assert float((copy - theta).norm()) > 1
    assert float((found.theta - theta).norm()) < 1e-8 * float(theta.norm())
    assert found.difference < 1e-10
    assert not ws.align(problem, theta, copy, methods=["weights"], maps=False).chosen.mapped


def test_correlations_are_of_units_and_left_out_where_these_were_mixed():
    torch.manual_seed(0)
    problem = problem_of(residual("layer"), torch.randn(9, 3))
    theta = problem.flatten(problem._parts.net)
    found = ws.align(problem, theta, ws.mapped_copy(problem, theta, 1))
    assert found.chosen.mapped
    assert "in0" in found.correlations
    assert "first" not in found.correlations
    with pytest.raises(ws.InvalidSetting, match="also scales"):  # as a motion of permutations
        RotationPath(found.move.symmetry, theta, found.move)


CIRCUITS = ["general", "general"]
FOUND = {
    "gpt2": (CIRCUITS, []),  # its output layer is tied to the stream, and reads it through the weights of a norm
    "gpt2, untied": (CIRCUITS, ["centred"]),
    "llama": (["complex", "general"], ["orthogonal"]),
    "qwen3": (["general"], ["orthogonal"]),  # queries are normalised, number by number
    "bert": (CIRCUITS, []),  # what a norm returns is added to the stream again
    "vit, classes": (CIRCUITS, ["centred"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOUND)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_transformers_are_brought_back_from_random_elements(kind, dtype, tolerance):
    problem = language(kind, dtype=dtype)
    groups = [group for group in find(problem).maps.groups.values() if not group.fixed]
    circuits, streams = FOUND[kind]
    assert sorted(group.kind for group in groups if group.over) == sorted(2 * circuits)
    assert [group.kind for group in groups if not group.over] == streams
    theta = disturbed(problem)
    for seed in range(2):
        copy = ws.mapped_copy(problem, ws.permuted_copy(problem, theta, seed), seed)
        copy = ws.rescaled_copy(problem, copy, seed)
        found = ws.align(problem, theta, copy, methods=["weights"])
        assert float((copy - theta).norm()) > 1
        assert float((found.theta - theta).norm()) < tolerance * float(theta.norm())
        assert found.difference < max(tolerance, 1e-6)  # Llama's norms are always computed in float32
