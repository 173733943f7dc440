"""Networks of every common kind: copies compute the same function, and no symmetry is lost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import InvalidCheckpoint, Unsupported
from weightstring.symmetry.copies import permuted_copy, rescaled_copy
from weightstring.symmetry.finding import find, traced
from weightstring.symmetry.spec import Symmetry
from weightstring.testing.rules import check_symmetry_rule

from .zoo import ZOO, Net, change, count, numbers, problem_of, scattered

SEEDS = range(3)


@pytest.fixture(scope="module", params=ZOO)
def case(request):
    return ZOO[request.param]


@pytest.fixture(scope="module")
def problem(case) -> ws.ModuleProblem:
    return case.problem()


def scaled(symmetry: Symmetry) -> tuple[int, int]:
    """How many numbers may be scaled by positive factors, and how many by signs."""
    spec = symmetry.scales
    sizes = {name: group.size * math.prod(spec.copies(name)) for name, group in spec.groups.items() if not group.fixed}
    positive = sum(size for name, size in sizes.items() if spec.groups[name].positive)
    return positive, sum(size for name, size in sizes.items() if spec.groups[name].negative)


@pytest.mark.many(quick=4)
def test_the_symmetry_is_right_and_nothing_of_it_is_lost(case, problem):
    check_symmetry_rule(problem)
    symmetry, theta = find(problem), scattered(problem)
    assert symmetry.log10_permutations == pytest.approx(case.permutations, abs=1e-9)
    if case.scaled is not None:
        assert scaled(symmetry) == case.scaled
    moved = [not torch.equal(rescaled_copy(problem, theta, seed), theta) for seed in SEEDS]
    assert any(moved) == any(scaled(symmetry))


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("name", ["mlp, relu", "gpt", "cnn, recalibrated"])
def test_copies_of_float32_models_agree_to_its_precision(name):
    problem = ZOO[name].problem(torch.float32)
    theta = scattered(problem)
    assert permuted_copy(problem, theta, 1).dtype == torch.float32
    assert change(problem, theta, permuted_copy(problem, theta, 1)) < 1e-5
    assert change(problem, theta, rescaled_copy(problem, theta, 1)) < 1e-5


def test_any_number_of_examples_will_do():
    for examples in (1, 2):
        net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
        problem = problem_of(net, torch.randn(examples, 3, dtype=torch.float64))
        assert find(problem).log10_permutations == pytest.approx(count(6))


def test_widths_that_equal_the_number_of_traced_examples_are_told_apart_from_them():
    net = nn.Sequential(nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 7))
    problem = problem_of(net, torch.randn(7, 7, dtype=torch.float64))
    assert find(problem).log10_permutations == pytest.approx(count(7, 7))
    theta = scattered(problem)
    assert change(problem, theta, permuted_copy(problem, theta, 1)) < 1e-12


def test_copies_depend_on_the_seed_alone():
    problem = ZOO["mlp, relu"].problem()
    theta = scattered(problem)
    for copied in (permuted_copy, rescaled_copy):
        assert torch.equal(copied(problem, theta, 1), copied(problem, theta, 1))
        assert not torch.equal(copied(problem, theta, 1), copied(problem, theta, 2))


def test_theta_itself_is_never_changed():
    problem = ZOO["gpt"].problem()
    theta = scattered(problem)
    before = theta.clone()
    permuted_copy(problem, theta, 1)
    rescaled_copy(problem, theta, 1)
    assert torch.equal(theta, before)


def test_tracing_leaves_grad_mode_out_of_it():
    with torch.no_grad():
        assert find(ZOO["encoder"].fresh()).log10_permutations == pytest.approx(ZOO["encoder"].permutations)


# What cannot be found


def hidden(function) -> ws.ModuleProblem:
    """A network with a function of its hidden units in the middle."""
    net = Net(lambda self, x: self.last(function(self.first(x))), first=nn.Linear(3, 6), last=nn.Linear(6, 2))
    return problem_of(net, numbers(3)(9))


def test_control_flow_that_depends_on_data_is_refused(refused):
    problem = hidden(lambda h: h if h.sum() > 0 else -h)
    with refused(Unsupported, r"cannot be traced as a fixed course of operations .*write a ws.Symmetry by hand"):
        find(problem)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda h: torch.fft.fft(h).real, "fft"),
        (lambda h: torch.cdist(h[:, :, None], h[:, :, None]).sum(1), "cdist"),
        (lambda h: h.unfold(1, 2, 1).mean(2) @ torch.ones(5, 6, dtype=h.dtype), "unfold"),
    ],
)
def test_an_operation_without_rule_is_refused(refused, function, name):
    problem = hidden(function)
    with refused(
        Unsupported, f"no rule for .*{name}.* in Net: add one .*symmetry-rule.md.*, or write a ws.Symmetry by hand"
    ):
        find(problem)


def test_an_operator_of_another_library_does_not_take_the_rule_of_its_namesake(refused):
    library = torch.library.Library("weightstring_tests", "FRAGMENT")
    library.define("relu(Tensor x) -> Tensor")
    library.impl("relu", lambda x: x * torch.arange(x.shape[-1]), "CPU")
    library.impl("relu", torch.empty_like, "Meta")
    library.impl("relu", torch.library.fallthrough_kernel, "Autograd")
    net = Net(lambda self, x: torch.ops.weightstring_tests.relu(self.first(x)), first=nn.Linear(3, 6))
    with refused(Unsupported, r"no rule for weightstring_tests\.relu in Net"):
        find(problem_of(net, numbers(3)(9)))


def test_the_module_of_an_operation_without_rule_is_named(refused):
    inner = Net(lambda self, x: torch.fft.fft(x).real)
    net = nn.Sequential(nn.Linear(3, 6), nn.Sequential(nn.ReLU(), inner), nn.Linear(6, 2))
    problem = problem_of(net, numbers(3)(9))
    with refused(Unsupported, r"no rule for fft_fft in 1\.1 \(Net\)"):
        find(problem)


def test_an_operation_without_rule_on_inputs_alone_does_no_harm():
    net = Net(
        lambda self, x: self.last(torch.relu(self.first(torch.fft.fft(x).real))),
        first=nn.Linear(3, 6), last=nn.Linear(6, 2),
    )  # fmt: skip
    assert find(problem_of(net, numbers(3)(9))).log10_permutations == pytest.approx(count(6))


def test_projected_recurrent_layers_are_refused(refused):
    net = Net(
        lambda self, x: self.last(self.cells(x)[0]),
        cells=nn.LSTM(3, 4, proj_size=2, batch_first=True),
        last=nn.Linear(2, 2),
    )
    problem = problem_of(net, numbers(5, 3)(9))
    with refused(Unsupported, "projects its state"):
        find(problem)


def test_a_model_of_another_size_is_refused(refused):
    problem = ZOO["mlp, relu"].problem()
    for copied in (permuted_copy, rescaled_copy):
        with refused(InvalidCheckpoint, "the model"):
            copied(problem, scattered(problem)[:-1])


# Random networks


KINDS = [
    "linear", "linear", "relu", "tanh", "cat", "chunk", "swap", "view", "residual", "sum", "product", "grouped", "norm",
    "group", "stack", "slice", "mean", "shared",
]  # fmt: skip


class RandomNet(nn.Module):
    """Linear layers, activations, cuts, concatenations, views and residual sums, drawn at random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList()
        self.steps: list[tuple] = []
        widths = [3]

        def pick(n: int) -> int:
            return int(torch.randint(n, (), generator=draw))

        def add(module: nn.Module) -> int:
            self.layers.append(module)
            return len(self.layers) - 1

        self.steps.append(("module", 0, add(nn.Linear(3, 6))))
        widths.append(6)
        for _ in range(8):
            at = 1 + pick(len(widths) - 1)
            width = widths[at]
            even = [other for other in range(1, len(widths)) if widths[other] == width]
            kind = KINDS[pick(len(KINDS))]
            if kind == "linear":
                out = (4, 6, 8, 12)[pick(4)]
                self.steps.append(("module", at, add(nn.Linear(width, out, bias=bool(pick(3))))))
                widths.append(out)
            elif kind in ("relu", "tanh"):
                self.steps.append((kind, at))
                widths.append(width)
            elif kind == "cat":
                other = 1 + pick(len(widths) - 1)
                self.steps.append(("cat", at, other))
                widths.append(width + widths[other])
            elif kind == "chunk" and width % 2 == 0 and width > 2:
                self.steps.append((("chunk", "swap", "glu")[pick(3)], at))
                widths.append(width if self.steps[-1][0] == "swap" else width // 2)
            elif kind == "swap" and width % 2 == 0:
                self.steps.append(("transposed", at))
                widths.append(width)
            elif kind == "view" and width % 2 == 0:
                self.steps.append(("heads", at, add(nn.Linear(width // 2, 3))))
                widths.append(6)
            elif kind == "residual":
                self.steps.append(("residual", at, add(nn.Linear(width, width))))
                widths.append(width)
            elif kind in ("sum", "product"):
                self.steps.append((kind, at, even[pick(len(even))]))
                widths.append(width)
            elif kind == "grouped" and width % 2 == 0:
                self.steps.append(("conv", at, add(nn.Conv1d(width, 6, 1, groups=2))))
                widths.append(6)
            elif kind == "norm":
                self.steps.append(("module", at, add(nn.LayerNorm(width))))
                widths.append(width)
            elif kind == "group" and width % 2 == 0:
                self.steps.append(("module", at, add(nn.GroupNorm(2, width))))
                widths.append(width)
            elif kind == "stack":
                self.steps.append((("stack", "interleave")[pick(2)], at, even[pick(len(even))]))
                widths.append(width if self.steps[-1][0] == "stack" else 2 * width)
            elif kind == "slice" and width > 3:
                start = pick(width - 2)
                self.steps.append(("slice", at, start, start + 2))
                widths.append(2)
            elif kind == "mean" and width % 2 == 0:
                self.steps.append(("mean", at))
                widths.append(width // 2)
            elif kind == "shared":
                same = [index for index, layer in enumerate(self.layers) if getattr(layer, "in_features", 0) == width]
                if same:
                    chosen = same[pick(len(same))]
                    self.steps.append(("module", at, chosen))
                    widths.append(self.layers[chosen].out_features)
        self.last = nn.Linear(widths[-1] + widths[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        held = [x]
        for kind, at, *more in self.steps:
            held.append(self.step(kind, held[at], more, held))
        return self.last(torch.cat([held[-1], held[1]], 1))

    def step(self, kind: str, x: Tensor, more: list[int], held: list[Tensor]) -> Tensor:
        n, width = x.shape
        if kind in ("relu", "tanh"):
            return getattr(torch, kind)(x)
        if kind in ("chunk", "swap", "glu"):
            one, two = x.chunk(2, 1)
            return {"chunk": one + two, "swap": torch.cat([torch.relu(two), one], 1), "glu": one * torch.sigmoid(two)}[
                kind
            ]
        if kind == "transposed":
            return x.view(n, 2, width // 2).transpose(1, 2).reshape(n, width)
        if kind == "mean":
            return x.view(n, 2, width // 2).mean(1)
        if kind == "slice":
            return x[:, more[0] : more[1]]
        if kind in ("module", "residual", "heads", "conv"):
            layer = self.layers[more[0]]
            if kind == "module":
                return layer(x)
            if kind == "residual":
                return x + torch.tanh(layer(x))
            if kind == "heads":
                return layer(x.view(n, 2, width // 2)).flatten(1)
            return layer(x[:, :, None])[:, :, 0]
        other = held[more[0]]
        if kind == "cat":
            return torch.cat([x, other], 1)
        if kind == "stack":
            return torch.stack([x, other], 1).amax(1)
        if kind == "interleave":
            return torch.stack([x, other], 2).flatten(1)
        return x + other if kind == "sum" else x * torch.sigmoid(other)


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("seed", range(24))
def test_copies_of_random_networks_compute_the_same(seed):
    torch.manual_seed(seed)
    problem = problem_of(RandomNet(seed), numbers(3)(9))
    theta = scattered(problem, seed)
    copies = [copied(problem, theta, other) for copied in (permuted_copy, rescaled_copy) for other in SEEDS]
    assert max(change(problem, theta, copy) for copy in copies) < 1e-11


def test_what_was_traced_keeps_no_parameters_that_the_module_gives_up():
    problem = problem_of(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.ones(5, 3, dtype=torch.float64)
    )
    held = {id(tensor) for tensor in traced(problem).trace.held.values()}
    assert held >= {id(parameter) for parameter in problem.computation.evaluating.parameters}
