"""Which modules are plain stacks, and which only look like one."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem


class Doubled(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


class Reversed(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.flip(1))


class LeakyAtHeart(nn.ReLU):
    def forward(self, inputs: Tensor) -> Tensor:
        return functional.leaky_relu(inputs, 0.3)


def doubling(module: nn.Module, kind: str) -> None:
    """Let a hook double what the module takes in, gives out, or hands back."""
    if kind == "forward":
        module.register_forward_hook(lambda module, args, output: 2 * output)
    elif kind == "pre-forward":
        module.register_forward_pre_hook(lambda module, args: (2 * args[0],))
    elif kind == "backward":
        module.register_full_backward_hook(lambda module, inward, outward: tuple(g and 2 * g for g in inward))
    else:
        module.register_full_backward_pre_hook(lambda module, outward: tuple(2 * g for g in outward))


def hooked(kind: str, at: int | None) -> nn.Sequential:
    net = plain()
    doubling(net if at is None else net[at], kind)
    return net


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def with_own_forward(at: int | None) -> nn.Sequential:
    net = plain()
    module = net if at is None else net[at]
    module.forward = MethodType(lambda self, inputs: 2 * type(self).forward(self, inputs), module)
    return net


def normed(wrap: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    net = plain()
    wrap(net[0])
    return net


def with_first(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules, nn.Linear(4, 3))


def with_middle(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), *modules, nn.Linear(6, 3))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = plain()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs) + inputs[:, :3]


NO_STACK: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{kind} hook of {'the whole' if at is None else f'module {at}'}": lambda kind=kind, at=at: hooked(kind, at)
        for kind in ("forward", "pre-forward")
        for at in (None, 0, 1)
    },
    "own forward of the whole": lambda: with_own_forward(None),
    "own forward of a layer": lambda: with_own_forward(2),
    "own forward of a function": lambda: with_own_forward(1),
    "another module": Wrapped,
    "subclass of Linear": lambda: nn.Sequential(Doubled(4, 5), nn.ReLU(), nn.Linear(5, 3)),
    "subclass of Sequential": lambda: Reversed(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
    "nested subclass of Sequential": lambda: nn.Sequential(Reversed(nn.Linear(4, 5), nn.ReLU()), nn.Linear(5, 3)),
    "subclass of ReLU": lambda: with_middle(LeakyAtHeart()),
    "weight norm": lambda: normed(nn.utils.parametrizations.weight_norm),
    "spectral norm": lambda: normed(nn.utils.parametrizations.spectral_norm),
    "orthogonal": lambda: normed(nn.utils.parametrizations.orthogonal),
    "PReLU": lambda: with_middle(nn.PReLU()),
    "RReLU": lambda: with_middle(nn.RReLU()),
    "BatchNorm": lambda: with_middle(nn.BatchNorm1d(6)),
    "LayerNorm": lambda: with_middle(nn.LayerNorm(6)),
    "Softmax": lambda: with_middle(nn.Softmax(dim=1)),
    "Softmin": lambda: with_middle(nn.Softmin(dim=1)),
    "GLU": lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU(), nn.Linear(3, 3)),
    "Bilinear": lambda: with_middle(nn.Unflatten(1, (2, 3)), nn.Flatten()),
    "a function before the first layer": lambda: with_first(nn.ReLU()),
    "no layer at all": lambda: nn.Sequential(nn.Flatten(), nn.Conv1d(1, 1, 1)),
}


def problem_on(net: nn.Module, inputs: object, targets: Tensor | None = None) -> ModuleProblem:
    count = len(
        next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0] if isinstance(inputs, tuple) else inputs
    )
    targets = torch.arange(count) % 3 if targets is None else targets
    loss = functional.cross_entropy if not targets.is_floating_point() else functional.mse_loss
    return ModuleProblem(net, loss, (inputs, targets), engine="loop")


def inputs_of(*shape: int) -> Tensor:
    return 0.5 + torch.randn(11, *shape, generator=torch.Generator().manual_seed(3))


def assert_no_stack(refused, problem: ModuleProblem) -> None:
    for engine in ("stack", "native"):
        with refused(InvalidModel, rf"^engine='{engine}' runs only nn.Sequential of Linear, "):
            problem.use_engine(engine)
    assert problem.engine_choice().name == "loop"


@pytest.mark.parametrize("case", [name for name in NO_STACK if name != "no layer at all"])
def test_what_does_more_than_its_classes_say_is_refused(refused, case):
    torch.manual_seed(0)
    assert_no_stack(refused, problem_on(NO_STACK[case](), inputs_of(4)))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("kind", ["backward", "pre-backward"])
@pytest.mark.parametrize("at", [None, 0, 2])
def test_a_hook_on_the_way_back_is_refused(refused, kind, at):
    torch.manual_seed(0)
    net = plain()
    seen = []
    module = net if at is None else net[at]
    if kind == "backward":
        module.register_full_backward_hook(lambda module, inward, outward: seen.append(1))
    else:
        module.register_full_backward_pre_hook(lambda module, outward: seen.append(1))
    problem = problem_on(net, inputs_of(4))
    assert seen
    assert_no_stack(refused, problem)


class Sum(nn.Sequential):
    """A Sequential of two inputs."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return super().forward(left + right)


class Named(nn.Sequential):
    def forward(self, left: Tensor) -> Tensor:
        return super().forward(left)


def test_inputs_that_are_not_one_floating_tensor_are_refused(refused):
    layers = (nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    assert_no_stack(refused, problem_on(Sum(*layers), (inputs_of(4), inputs_of(4))))
    assert_no_stack(refused, problem_on(nn.Sequential(*layers), {"input": inputs_of(4)}))
    assert_no_stack(refused, problem_on(Named(*layers), {"left": inputs_of(4)}))
    tokens = torch.arange(44).view(11, 4) % 7
    assert_no_stack(refused, problem_on(nn.Sequential(nn.Embedding(7, 2), nn.Flatten(), nn.Linear(8, 3)), tokens))


def test_inputs_with_more_axes_are_refused_unless_they_are_flattened(refused):
    sequences = inputs_of(2, 4)
    assert_no_stack(refused, problem_on(nn.Linear(4, 3), sequences, torch.zeros(11, 2, 3)))
    late = nn.Sequential(nn.Linear(4, 5), nn.Flatten(), nn.Linear(10, 3))
    assert_no_stack(refused, problem_on(late, sequences))
    other = nn.Sequential(nn.Flatten(1, 2), nn.Linear(8, 3))
    assert_no_stack(refused, problem_on(other, sequences))
    problem = problem_on(nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 3)), sequences)
    problem.use_engine("stack")
    assert problem.engine_choice().agreement <= 1e-4


def test_a_flatten_over_the_examples_is_no_stack(refused):
    """All examples in one row: only a loss over a single example could even take it."""
    net = nn.Sequential(nn.Unflatten(0, (-1, 1)), nn.Flatten(0, 1), nn.Linear(4, 3))
    assert_no_stack(refused, problem_on(net, inputs_of(4)))


def test_a_bare_linear_layer_is_a_stack():
    problem = problem_on(nn.Linear(4, 3), inputs_of(4))
    problem.use_engine("stack")
    assert problem.engine_choice().name == "stack"


@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 1), (1,)])
def test_frozen_parameters_are_constants(frozen):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    parameters = list(net.parameters())
    for i in frozen:
        parameters[i].requires_grad_(False)
    problem = ModuleProblem(net, functional.cross_entropy, (inputs_of(4).double(), torch.arange(11) % 3), engine="loop")
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    by_loop = problem.gradient(thetas, None)
    problem.use_engine("stack")
    by_stack = problem.gradient(thetas, None)
    assert problem.size == sum(p.numel() for i, p in enumerate(parameters) if i not in frozen)
    torch.testing.assert_close(by_stack.gradients, by_loop.gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ["stack", "loop"])
def test_a_large_model_is_computed_alike_whatever_is_beside_it(engine):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 3))
    problem = ModuleProblem(net, nn.CrossEntropyLoss(), (torch.randn(500, 300), torch.arange(500) % 3), engine=engine)
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    rows = torch.stack([torch.randperm(500)[:256] for _ in thetas])
    together, losses = problem.gradient(thetas, rows), problem.measure(thetas)["loss"]
    for i in range(3):
        alone = problem.gradient(thetas[i : i + 1], rows[i : i + 1])
        assert torch.equal(alone.gradients[0], together.gradients[i])
        assert torch.equal(alone.losses[0], together.losses[i])
        assert problem.measure(thetas[i : i + 1])["loss"].item() == losses[i].item()
