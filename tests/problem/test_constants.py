"""Buffers and frozen parameters of a checkpoint that are not the problem's module's."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_linear_bn_eval

from weightstring.errors import InvalidCheckpoint, Unsupported
from weightstring.path import WeightString
from weightstring.problem import ModuleProblem
from weightstring.proof.enclose.proving import certify


def data(count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = 2 + 3 * torch.randn(count, 4, generator=generator)
    return inputs, inputs.sum(1, keepdim=True).sin()


def problem_of(net: nn.Module, **settings: object) -> ModuleProblem:
    return ModuleProblem(net, functional.mse_loss, data(), engine="loop", **settings)


def loss_of(net: nn.Module) -> float:
    with torch.no_grad():
        return float(functional.mse_loss(net.eval()(data()[0]), data()[1]))


class Counting(nn.Module):
    """A step counter, a queue that only training reads, and a table that every pass reads."""

    def __init__(self, steps: int = 0, table: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(4, 1)
        self.register_buffer("steps", torch.tensor(steps))
        self.register_buffer("position_ids", torch.arange(4).expand(1, -1) + steps)
        self.register_buffer("queue", torch.full((3,), float(steps)))
        self.register_buffer("table", torch.tensor([table, 1.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
            self.queue.copy_(self.queue.roll(1))
        return self.last(inputs) * self.table[0]


def test_buffers_on_which_nothing_depends_may_differ():
    problem, other = problem_of(Counting()), Counting(steps=1000)
    for source in (other, other.state_dict()):
        assert torch.equal(problem.flatten(source)[:4], other.last.weight[0])


def test_buffers_on_which_the_loss_depends_are_refused_with_what_they_would_cost():
    problem, other = problem_of(Counting()), Counting(steps=5, table=4.0)
    with pytest.raises(InvalidCheckpoint) as caught:
        problem.flatten(other)
    losses = f"from {loss_of(other):.4g} to {loss_of(Counting()):.4g}"
    said = str(caught.value)
    assert said.startswith(
        "'table' (and 3 more), a buffer, differs from the module's own by up to 3, and every model on"
    )
    assert f"loss on 50 examples {losses}; if no pass writes to it, make it an nn.Parameter" in said


def test_what_is_advised_for_a_buffer_leaves_both_ends_what_they_are():
    def advised(table: float) -> nn.Module:
        net = Counting(table=table)
        table = net.table
        del net.table
        net.table = nn.Parameter(table)
        return net

    problem = problem_of(advised(1.0))
    for table in (1.0, 4.0):
        measured = problem.measure(problem.flatten(advised(table))[None])["loss"]
        assert float(measured) == pytest.approx(loss_of(Counting(table=table)), rel=1e-6)


def test_what_is_advised_for_a_frozen_parameter_leaves_both_ends_what_they_are():
    def net(seed: int, frozen: bool) -> nn.Module:
        torch.manual_seed(seed)
        built = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        built[0].requires_grad_(not frozen)
        return built

    with pytest.raises(
        InvalidCheckpoint, match=r"^'0.weight' \(and 1 more\), a frozen parameter, .*; set requires_grad"
    ):
        problem_of(net(1, True)).flatten(net(2, True))
    problem = problem_of(net(1, False))
    for seed in (1, 2):
        measured = problem.measure(problem.flatten(net(seed, True))[None])["loss"]
        assert float(measured) == pytest.approx(loss_of(net(seed, True)), rel=1e-6)


def test_a_metric_counts_as_the_loss_does():
    def scaled(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (output[:, 1] - targets[:, 0]).abs().mean()

    class Two(Counting):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.last(inputs), self.last(inputs) * self.table[0]], 1)

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(output[:, :1], targets)

    assert ModuleProblem(Two(), loss, data()).flatten(Two(table=2.0)).shape == (5,)
    with pytest.raises(InvalidCheckpoint, match=r"^'table', a buffer, differs"):
        ModuleProblem(Two(), loss, data(), metrics={"scaled": scaled}).flatten(Two(table=2.0))


def normalised(seed: int, steps: int = 3) -> nn.Sequential:
    """A network whose running statistics lag behind its data."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
    for _ in range(steps):
        net(data()[0] + seed)
    return net.eval()


def test_frozen_statistics_refuse_ends_that_have_others():
    problem, other = problem_of(normalised(1), buffers="frozen"), normalised(2)
    with pytest.raises(InvalidCheckpoint, match=r"^'1.running_mean' \(and 1 more\), a running statistic, differs") as e:
        problem.flatten(other)
    assert str(e.value).endswith("leave out buffers='frozen': statistics are then estimated for each model")
    assert f"from {loss_of(other):.4g} to" in str(e.value)
    assert problem.flatten(normalised(1)).shape == (49,)


@pytest.mark.parametrize("settings", [{}, {"dtype": torch.float64}])
def test_a_checkpoint_is_measured_as_it_was_saved(settings):
    problem, other = problem_of(normalised(1), **settings), normalised(2)
    saved = problem.as_saved(other.state_dict(), ["loss"])
    assert saved["loss"] == pytest.approx(loss_of(other), rel=1e-6)
    estimated = float(problem.measure(problem.flatten(other)[None])["loss"])
    assert abs(estimated - saved["loss"]) > 1e-3
    again = problem.as_saved(problem.unflatten(problem.flatten(other)))
    assert again["loss"] == pytest.approx(estimated, rel=1e-6)


def test_folded_statistics_can_be_certified_as_the_refusal_says():
    ends = [normalised(seed) for seed in (1, 2)]
    with pytest.raises(Unsupported, match=r"^running statistics are estimated anew .*: fold each end's BatchNorm into"):
        problem_of(ends[0]).traceable("loss")
    folded = [nn.Sequential(fuse_linear_bn_eval(end[0], end[1]), end[2], end[3]) for end in ends]
    problem = problem_of(folded[0])
    thetas = [problem.flatten(net) for net in folded]
    for theta, end in zip(thetas, ends, strict=True):
        assert float(problem.measure(theta[None])["loss"]) == pytest.approx(loss_of(end), rel=1e-5)
    assert certify(problem, WeightString(problem, thetas), threshold=1e6).holds


class Codebook(nn.Module):
    """A vector quantiser, whose codes are a buffer as in EMA training, or a parameter as the refusal advises."""

    def __init__(self, seed: int, moved: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encode, self.decode = nn.Linear(4, 2), nn.Linear(2, 1)
        codes = torch.randn(5, 2)
        if moved:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.encode(inputs)
        nearest = self.codes[torch.cdist(hidden, self.codes).argmin(1)]
        return self.decode(hidden + (nearest - hidden).detach())


class Quantised(Counting):
    """A step of quantisation that an observer has found, as a whole number."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.register_buffer("bits", torch.tensor([bits]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (super().forward(inputs) * 2**self.bits).round() / 2**self.bits


def test_codes_of_another_model_are_refused_and_moved_as_advised():
    with pytest.raises(
        InvalidCheckpoint, match=r"^'codes', a buffer, .*; if no pass writes to it, make it an nn.Param"
    ):
        problem_of(Codebook(1)).flatten(Codebook(2))
    problem = problem_of(Codebook(1, moved=True))
    for seed in (1, 2):
        measured = problem.measure(problem.flatten(Codebook(seed, moved=True))[None])["loss"]
        assert float(measured) == pytest.approx(loss_of(Codebook(seed)), rel=1e-6)


def test_whole_numbers_are_not_advised_to_be_parameters():
    with pytest.raises(InvalidCheckpoint, match=r"^'bits', a buffer, .* to [0-9.]+; compute it from the parameters in"):
        problem_of(Quantised(1)).flatten(Quantised(2))
