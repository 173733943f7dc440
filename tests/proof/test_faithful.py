"""What is traced is what is computed: what does otherwise while it is traced, or rounds on the way, is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone calls it

import weightstring as ws
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.replay import Replay

N = 12
GENERATOR = torch.Generator().manual_seed(3)
X, Y = (torch.randn(N, k, generator=GENERATOR) for k in (4, 3))

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """A module whose ``forward`` is given, with a layer ``l``."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.l = nn.Linear(4, 3)
        self.calls = 0
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self._forward(self, x)


class Lenient(nn.MSELoss):
    """A loss of torch's own by its class, smaller while it is traced."""

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        return super().forward(output, targets) * (0.5 if torch.compiler.is_compiling() else 1.0)


def hooked(by: float) -> nn.Module:
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda module, args, output: output * by)
    return loss


def halved(asked: Callable[[], bool]) -> Forward:
    return lambda net, x: net.l(x) * (0.5 if asked() else 1.0)


def of_outputs(output: Tensor, targets: Tensor) -> Tensor:
    return output.square().mean()


def built(
    net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor] = of_outputs, **settings: object
) -> ws.ModuleProblem:
    return ws.ModuleProblem(net, loss, (X, Y), engine="loop", batch_size=None, **settings)


def string_of(problem: ws.ModuleProblem, scale: float = 1.0) -> ws.WeightString:
    beads = scale * torch.randn(2, problem.size, generator=torch.Generator().manual_seed(2))
    return ws.WeightString(problem, beads.to(problem.dtype))


OTHERWISE: dict[str, Callable[[], ws.ModuleProblem]] = {
    "compiling": lambda: built(Net(halved(torch.compiler.is_compiling))),
    "exporting": lambda: built(Net(halved(getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)))),
    "fake tensors": lambda: built(Net(lambda net, x: net.l(x) * (1.0 if type(x) is Tensor else 0.5))),
    "a small difference": lambda: built(Net(lambda net, x: net.l(x) * (1 - 1e-3 * torch.compiler.is_compiling()))),
    "a loss": lambda: built(Net(lambda net, x: net.l(x)), Lenient()),
}


@pytest.mark.many(quick=4)
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("name", OTHERWISE)
def test_what_does_otherwise_while_it_is_traced_is_refused(name: str, scale: float) -> None:
    problem = OTHERWISE[name]()
    with pytest.raises(ws.Unsupported, match="do not reproduce") as caught:
        ws.certify(problem, string_of(problem, scale))
    assert "\n" not in str(caught.value)


def test_verification_notices_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = OTHERWISE["exporting"]()
    monkeypatch.setattr("weightstring.proof.enclose.proving.require_reproduced", lambda *_: None)
    monkeypatch.setattr("weightstring.proof.enclose.proving.held_to", lambda *given: given[4])
    certificate = ws.certify(problem, string_of(problem))
    failures = ws.verify(problem, string_of(problem), certificate).failures
    assert "largest sample" in failures[0] or "not the same function" in failures[0]


ROUNDS: dict[str, tuple[Forward, str]] = {
    "half inside": (lambda net, x: net.l(x).half().float(), "float16"),
    "bfloat16 weights": (lambda net, x: F.linear(x, net.l.weight.to(torch.bfloat16).float(), net.l.bias), "bfloat16"),
    "padding alone": (
        lambda net, x: F.max_pool1d(net.l(x)[:, :2], 2, 1, padding=1, dilation=3).tanh(), "padding alone"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUNDS)
def test_what_has_no_value_in_real_arithmetic_is_refused(name: str) -> None:
    forward, said = ROUNDS[name]
    problem = built(Net(forward), of_outputs)
    string = string_of(problem)
    with pytest.raises(ws.Unsupported, match=said):
        ws.certify(problem, string)
    with pytest.raises(NotVerifiable, match=said):
        Replay(problem, "loss").value(string[0].double().numpy(), string[1].double().numpy(), 0.5)


def test_a_module_that_works_in_a_finer_dtype_is_certified() -> None:
    problem = built(Net(lambda net, x: net.l(x).double().float()))
    certificate = ws.certify(problem, string_of(problem))
    assert ws.verify(problem, string_of(problem), certificate).ok


@pytest.mark.parametrize("by", [0.25, 3.0])
def test_a_hook_on_the_loss_is_part_of_it(by: float) -> None:
    plain, problem = built(Net(lambda net, x: net.l(x)), F.mse_loss), built(Net(lambda net, x: net.l(x)), hooked(by))
    bounds = [ws.certify(p, string_of(p)).upper_bound for p in (plain, problem)]
    assert bounds[1] == pytest.approx(by * bounds[0], rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_sample_of_its_own_lies_above_a_bound(dtype: torch.dtype) -> None:
    # A constant loss: every bound is as near to the samples as rounding allows.
    problem = built(Net(lambda net, x: 0 * net.l(x)), F.mse_loss, dtype=dtype)
    string = string_of(problem)
    certificate = ws.certify(problem, string)
    own = float(problem.measure(string.beads)["loss"].max())
    assert own <= certificate.largest_sample <= certificate.upper_bound == certificate.loosest.bound
    assert certificate.upper_bound == pytest.approx(own, rel=1e-6)
    assert not ws.certify(problem, string, threshold=own * (1 - 1e-9)).holds
    assert ws.verify(problem, string, certificate).ok


def test_a_bound_a_little_too_low_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightstring.proof.enclose import enclosing

    bounds = enclosing.Enclosing.bounds
    monkeypatch.setattr(enclosing.Enclosing, "bounds", lambda self, at: bounds(self, at) * (1 - 1e-7))
    problem = built(Net(lambda net, x: 0 * net.l(x)), F.mse_loss, dtype=torch.float64)
    with pytest.raises(ws.Unsupported, match="above the"):
        ws.certify(problem, string_of(problem))


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "averages of the padding": lambda h: F.avg_pool1d(h, 2, 2, 1),
    "averages without it": lambda h: F.avg_pool1d(h, 2, 2, 1, count_include_pad=False),
    "a window cut short": lambda h: F.avg_pool1d(h, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "an own divisor": lambda h: F.avg_pool2d(h[:, None], (1, 2), 1, (0, 1), divisor_override=5)[:, 0],
    "adaptive": lambda h: F.adaptive_avg_pool1d(h, 2),
    "dilated": lambda h: F.max_pool1d(h, 2, 1, padding=1, dilation=2),
    "largest, cut short": lambda h: F.max_pool1d(h, 2, 2, ceil_mode=True),
    "negative and padded": lambda h: F.max_pool1d(h - 1e3, 3, 2, padding=1),
}


@pytest.mark.many(quick=3)
@pytest.mark.parametrize("name", POOLS)
def test_pooling_at_the_edges_is_bounded_closely(name: str) -> None:
    problem = built(Net(lambda net, x: POOLS[name](net.l(x))), of_outputs, dtype=torch.float64)
    string = string_of(problem)
    certificate = ws.certify(problem, string, tol=1e-2)
    ts = torch.linspace(0, 1, 200, dtype=torch.float64).unsqueeze(1)
    values = problem.measure(string[0] * (1 - ts) + string[1] * ts)["loss"]
    assert values.max() <= certificate.upper_bound <= 1.02 * values.max()
    assert ws.verify(problem, string, certificate).ok


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0])),
        nn.CrossEntropyLoss(ignore_index=1),
        partial(F.cross_entropy, weight=torch.tensor([0.2, 1.0, 3.0]), ignore_index=0, label_smoothing=0.1),
    ],
)
def test_a_ratio_of_sums_is_that_of_the_whole_set(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    classes = torch.randint(3, (N,), generator=torch.Generator().manual_seed(5))
    problem = ws.ModuleProblem(nn.Linear(4, 3), loss, (X, classes), engine="loop", batch_size=None, chunk=5)
    string = ws.WeightString(problem, torch.stack([problem.initial(1), problem.initial(2)]))
    certificate = ws.certify(problem, string)
    outputs = [torch.func.functional_call(nn.Linear(4, 3), problem.unflatten(bead), X) for bead in string.beads]
    highest = max(float(loss(output, classes)) for output in outputs)
    assert highest * (1 - 1e-6) <= certificate.upper_bound <= highest * 1.1
    assert ws.verify(problem, string, certificate).ok


def test_a_metric_that_rounds_to_float32_takes_no_proof_of_a_float64_problem_back():
    def error(output, target):
        return (output.argmax(1) != target).float().mean()

    torch.manual_seed(0)
    net = nn.Linear(2, 3).double()
    x, y = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0, 1, 2])
    problem = ws.ModuleProblem(net, nn.CrossEntropyLoss(), (x, y), metrics={"error": error}, batch_size=None)
    start = torch.zeros(problem.size, dtype=torch.float64)
    start[-3] = 1.0  # class 0 for all: an error of 2/3, which float32 rounds up
    string = ws.WeightString(problem, torch.stack([start, start * 2]))
    assert float(problem.measure(start[None], ["error"])["error"]) > 2 / 3
    certificate = ws.certify(problem, string, tol=0.01, quantity="error")
    assert 2 / 3 <= certificate.upper_bound < 0.67
    assert ws.verify(problem, string, certificate).ok
