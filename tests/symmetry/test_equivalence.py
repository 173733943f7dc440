"""What ``align`` calls the same function: nothing that changes is hidden by masks, infinities or kinds of outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidSetting, NotEquivalent
from weightstring.memory import DoesNotFit
from weightstring.symmetry.equivalence import check_equivalent
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import Move
from weightstring.symmetry.rotation import RotationPath
from weightstring.symmetry.spec import Group, Spec, Symmetry

from .zoo import Net, numbers, scattered


@dataclass
class Output:
    logits: Tensor


def build(function, loss=None) -> ws.ModuleProblem:
    """Six hidden units, of whose three outputs a function is returned."""
    torch.manual_seed(0)
    net = Net(
        lambda self, x: function(self.last(torch.relu(self.first(x)))), first=nn.Linear(3, 6), last=nn.Linear(6, 3)
    ).double()
    x = numbers(3)(9)
    return ws.ModuleProblem(net, loss or (lambda out, y: (out - y).square().mean()), (x, x), batch_size=None)


def infinite(out: Tensor) -> Tensor:
    return torch.cat([out[:, :2], torch.full_like(out[:, :1], -math.inf)], 1)


def masked(out: Tensor) -> Tensor:
    return torch.cat([out[:, :2], torch.full_like(out[:, :1], -1e9)], 1)


def first_two(out: Tensor, y: Tensor) -> Tensor:
    return (out[:, :2] - y[:, :2]).square().mean()


FORMS = {
    "plain": (lambda out: out, None),
    "one infinite": (infinite, first_two),
    "one masked": (masked, first_two),
    "scales apart": (lambda out: (out, 1e6 + 0 * out), lambda out, y: (out[0] - y).square().mean()),
    "an object": (Output, lambda out, y: (out.logits - y).square().mean()),
    "complex": (lambda out: torch.complex(out, out), lambda out, y: (out.real - y).square().mean()),
    "no numbers but a loss": (lambda out: [out.tolist()][:0] or Hidden(out), lambda out, y: first_two(out.get(), y)),
}


class Hidden:
    """An output that cannot be looked into."""

    __slots__ = ("get",)

    def __init__(self, out: Tensor) -> None:
        self.get = lambda: out


@pytest.mark.parametrize("form", FORMS)
def test_the_same_model_is_equivalent_and_another_is_not(form):
    function, loss = FORMS[form]
    if form == "no numbers but a loss":
        function = Hidden
    problem = build(function, loss)
    theta = scattered(problem)
    assert check_equivalent(problem, theta, theta)[0] == 0
    other = theta.clone()
    other[-3] += 0.1  # the first output's bias
    with pytest.raises(NotEquivalent, match="in norm"):
        check_equivalent(problem, theta, other)


def test_infinities_elsewhere_are_another_function():
    problem = build(lambda out: torch.where(out > 0.2, out, -math.inf), lambda out, y: out.exp().mean())
    theta = scattered(problem)
    other = theta.clone()
    other[:6] *= -1
    with pytest.raises(NotEquivalent):
        check_equivalent(problem, theta, other)


# By hand


def hidden(problem, name: str = "h") -> Symmetry:
    axes = {"first.weight": (name, None), "first.bias": (name,), "last.weight": (None, name)}
    return Symmetry(problem.layout, Spec({name: Group(name, 6)}, axes))


@pytest.mark.parametrize("name", ["h", "first", "last"])
def test_a_symmetry_by_hand_needs_no_other_setting(name):
    problem = build(lambda out: out)
    theta = scattered(problem)
    symmetry = hidden(problem, name)
    copy = ws.permuted_copy(problem, theta, 1, symmetry=symmetry)
    assert torch.equal(ws.align(problem, theta, copy, symmetry=symmetry).theta, theta)


def test_a_found_symmetry_that_is_given_back_is_observed():
    problem = build(lambda out: out)
    theta = scattered(problem)
    found = ws.align(problem, theta, ws.permuted_copy(problem, theta, 1), symmetry=find(problem))
    assert {each.method for each in found.candidates} == {"none", "weights", "activations"}


def test_units_by_hand_cannot_be_observed_and_that_is_refused(refused):
    problem = build(lambda out: out)
    theta = scattered(problem)
    with refused(InvalidSetting, "add 'weights'"):
        ws.align(problem, theta, theta, symmetry=hidden(problem), methods=["activations"])


def test_a_search_takes_a_symmetry_by_hand():
    problem = build(lambda out: out)
    theta = scattered(problem)
    symmetry = hidden(problem)
    copy = ws.permuted_copy(problem, theta, 1, symmetry=symmetry)
    result = ws.connect(problem, theta, copy, align=True, symmetry=symmetry)
    assert torch.equal(result.string[-1], theta)


def test_a_symmetry_of_another_network_is_refused(refused):
    problem = build(lambda out: out)
    theta = scattered(problem)
    other = Symmetry(ws.ModuleProblem(nn.Linear(2, 2), nn.MSELoss(), (torch.ones(2, 2),) * 2).layout, Spec({}))
    for symmetry in (other, {"first": 6}):
        with refused(InvalidSetting, "of this problem"):
            ws.align(problem, theta, theta, symmetry=symmetry)


def test_groups_that_are_held_are_not_counted():
    problem = build(lambda out: out)
    found = find(problem)
    held = found.with_axes({name: (None,) * len(terms) for name, terms in found.permutations.axes.items()})
    assert held.permutations.groups == {}
    assert held.log10_permutations == 0


@pytest.mark.parametrize(
    ("groups", "axes", "words"),
    [
        ({"h": Group("h", -6)}, {}, "at least one unit"),
        ({"h": Group("other", 6)}, {}, "give it that name"),
        ({"h": Group("h", 6, over=("h",))}, {}, "over each other"),
        ({"h": Group("h", 6, over=("g",)), "g": Group("g", 6, over=("h",))}, {}, "over each other"),
        ({"h": Group("h", 6, over=("g",))}, {}, "does not exist"),
        ({"h": Group("h", 6)}, {"first.bias": "h"}, "give a tuple"),
        ({"h": Group("h", 6)}, {"first.bias": (1.5,)}, "the term 1.5"),
        ({"h": Group("h", 6)}, {"first.bias": (-1,)}, "the term -1"),
    ],
)
def test_groups_that_cannot_be_are_refused(refused, groups, axes, words):
    with refused(InvalidSetting, words):
        Symmetry(build(lambda out: out).layout, Spec(groups, axes))


# What tracing finds


def test_parameters_that_nothing_uses_have_no_units():
    net = Net(
        lambda self, x: self.last(self.first(x).relu()),
        first=nn.Linear(3, 6),
        last=nn.Linear(6, 2),
        pooler=nn.Linear(6, 6),
    )
    x = numbers(3)(9)
    problem = ws.ModuleProblem(net.double(), nn.MSELoss(), (x, x[:, :2]), batch_size=None)
    assert find(problem).log10_permutations == pytest.approx(math.log10(math.factorial(6)))


def test_channels_of_grouped_transposed_convolutions_move():
    layers = [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.ReLU(), nn.Conv2d(4, 1, 1)]
    x = torch.randn(9, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(*layers).double()
    problem = ws.ModuleProblem(net, lambda out, y: out.square().mean() + 0 * y.sum(), (x, x), batch_size=None)
    theta = scattered(problem)
    assert find(problem).log10_permutations == pytest.approx(math.log10(2 * 6**2 * 2**2))
    for seed in range(3):
        copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, seed), seed)
        assert check_equivalent(problem, theta, copy)[0] < 1e-12


def test_the_barrier_never_rises():
    x = torch.linspace(-1, 1, 8000).unsqueeze(1)
    y = torch.where(torch.arange(8000).unsqueeze(1) % 1999 == 0, 30.0, x.abs())
    net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1))
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, y))
    for seed in range(4):
        found = ws.align(problem, problem.initial(seed), problem.initial(seed + 10))
        assert found.barrier_after <= found.barrier_before


# Units that sleep on the data


def sleeping(dead: str) -> tuple[ws.ModuleProblem, Tensor]:
    """Eight ReLUs, of which the last three are 0 on all data; and a model in which they are apart."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    x = torch.rand(300, 3, dtype=torch.float64)
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x[:, :2]), batch_size=None, engine="loop")
    with torch.no_grad():
        layer = net[0 if dead == "first" else 2]
        layer.bias[-3:] = -1e3
        if dead == "whatever comes in":
            layer.weight[-3:] = -layer.weight[-3:].abs()
    return problem, problem.flatten(net)


def asleep(problem: ws.ModuleProblem, layer: str) -> Symmetry:
    """A wrong one: the last three units of a layer change places where they come in only."""
    axes = {f"{layer}.weight": ([5, "h"], None), f"{layer}.bias": ([5, "h"],)}
    return Symmetry(problem.layout, Spec({"h": Group("h", 3)}, axes), Spec({"h": Group("h", 3)}, axes))


@pytest.mark.parametrize("dead", ["first", "second", "whatever comes in"])
@pytest.mark.parametrize("copied", [ws.permuted_copy, ws.rescaled_copy])
def test_a_wrong_symmetry_of_units_that_sleep_is_refused(refused, dead, copied):
    problem, theta = sleeping(dead)
    wrong = asleep(problem, "0" if dead == "first" else "2")
    other = Move(wrong, {"h": torch.tensor([1, 2, 0])})(theta)
    assert check_equivalent(problem, theta, other) == (0.0, 300)  # no example wakes them
    with refused(NotEquivalent, rf"{copied.__name__}: the units of 'h' are not free .* on \d+ inputs of .* differ by"):
        copied(problem, theta, 1, symmetry=wrong)
    with refused(NotEquivalent, "align: the units of 'h' are not free to be"):
        ws.align(problem, theta, other, symmetry=wrong, methods=["weights"])
    with refused(NotEquivalent, "RotationPath: the units of 'h' are not free to be permuted"):
        RotationPath(wrong, theta, Move(wrong, {"h": torch.tensor([1, 2, 0])}), problem)


def test_rows_of_a_table_that_no_example_looks_up_are_tried(refused):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(40, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = torch.randint(10, (30, 3))
    problem = ws.ModuleProblem(net, nn.MSELoss(), (tokens, torch.randn(30, 2)), batch_size=None, engine="loop")
    wrong = Symmetry(problem.layout, Spec({"rows": Group("rows", 30)}, {"0.weight": ([10, "rows"], None)}))
    theta = problem.flatten(net)
    with refused(NotEquivalent, "inputs of all values of the integers the outputs differ"):
        ws.permuted_copy(problem, theta, 1, symmetry=wrong)


def test_the_whole_set_is_compared_and_the_input_named():
    torch.manual_seed(0)
    net = nn.Linear(2, 1).double()
    x = torch.rand(5000, 2, dtype=torch.float64)
    x[4321] = torch.tensor([1e6, -1e6])
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x[:, :1]), batch_size=None, chunk=64, engine="loop")
    theta = problem.flatten(net)
    other = theta * (1 + 1e-9)
    with pytest.raises(NotEquivalent, match=r"on the 5000 inputs of the evaluation set .* most on input 4321"):
        check_equivalent(problem, theta, other)


def test_what_a_module_computes_in_float32_is_compared_as_that():
    torch.manual_seed(0)
    net = Net(lambda self, x: self.last(self.first(x).relu().float().softmax(1).double()), first=nn.Linear(3, 6),
              last=nn.Linear(6, 2)).double()  # fmt: skip
    problem = ws.ModuleProblem(net, nn.MSELoss(), (numbers(3)(9), numbers(2)(9)), batch_size=None, engine="loop")
    theta = scattered(problem)
    for seed in range(3):
        copy = ws.permuted_copy(problem, theta, seed)
        assert torch.equal(ws.align(problem, theta, copy).theta, theta)


@pytest.mark.slow
def test_norms_have_the_degree_that_they_have():
    torch.manual_seed(0)
    expected = {0: (0, 0), 1: (6, 0), 2: (6, 0), 0.5: (6, 0), -1.5: (6, 0), math.inf: (6, 0), -math.inf: (6, 0)}
    for order in expected:
        net = Net(
            lambda self, x, order=order: self.last(torch.linalg.vector_norm(self.first(x), order, 1)),
            first=nn.Linear(3, 6), last=nn.Linear(6, 2),
        ).double()  # fmt: skip
        x = numbers(4, 3)(9)
        problem = ws.ModuleProblem(net, lambda out, y: out.square().mean(), (x, x), batch_size=None, engine="loop")
        spec = find(problem).scales
        free = [sum(g.size for g in spec.groups.values() if getattr(g, kind)) for kind in ("positive", "negative")]
        theta = scattered(problem)
        assert tuple(free) == expected[order], order
        assert ws.rescaled_copy(problem, theta, 1).shape == theta.shape


def test_lack_of_memory_for_a_trial_is_told_and_is_no_proof(refused):
    """What a module does not run on counts as no evidence; what no memory was left for is no such case."""

    class Net(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype == torch.float64:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes."
                )
            return super().forward(x)

    net, x = Net(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), torch.randn(8, 2)
    problem = ws.ModuleProblem(net, nn.MSELoss(), (x, x[:, :1]), engine="loop")
    with refused(DoesNotFit, r"^align does not fit into memory \(8.0 GB more were asked for\): pass the problem"):
        ws.align(problem, problem.initial(0), problem.initial(1))
