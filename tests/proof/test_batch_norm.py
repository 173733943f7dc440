"""BatchNorm in certificates: frozen, and with statistics that are estimated anew at every point of the string."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.proof.enclose.enclosable import require_estimable
from weightstring.proof.enclose.enclosing import enclosing
from weightstring.proof.enclose.intervals import Intervals
from weightstring.proof.enclose.spectral import convolution_norm
from weightstring.proof.verify import verify
from weightstring.proof.verify.operations import NotVerifiable
from weightstring.proof.verify.replay import Replay
from weightstring.proof.verify.symbols import convolution_norm as norm_by_verify

BYTES = 1 << 28


class Residual(nn.Module):
    """With a layer that is used twice, so that its statistics are averages over both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(torch.relu(self.norm(x)))))


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2, stride=2, bias=False),
        nn.BatchNorm2d(3, affine=False),
        nn.ReLU(),
        Residual(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 3),
    ).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.1, 1)
            if module.affine:
                nn.init.normal_(module.weight, 0, 1)  # of either sign
                nn.init.normal_(module.bias, 0, 0.3)
    return net


def problem_of(net: nn.Module, buffers: str, images: Tensor | None = None) -> ws.ModuleProblem:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(5, 2, 5, 5, generator=draw, dtype=torch.float64) if images is None else images
    y = torch.randint(3, (5,), generator=draw)
    evaluate = (torch.randn(3, 2, 5, 5, generator=draw, dtype=torch.float64), y[:3])
    return ws.ModuleProblem(net, nn.CrossEntropyLoss(), (x, y), evaluate, buffers=buffers, chunk=3)


def near(theta: Tensor, size: float) -> Tensor:
    return theta + size * torch.randn(theta.shape, generator=torch.Generator().manual_seed(8), dtype=theta.dtype)


def dead(net: nn.Module) -> None:
    """A channel that is 0 everywhere, so that its variance is."""
    with torch.no_grad():
        net[0].weight[0] = 0


def narrow(net: nn.Module) -> None:
    """Variances far below ε, and a channel whose numbers nearly cancel."""
    with torch.no_grad():
        net[0].weight *= 1e-4
        net[3].conv.weight[1] *= 1e-9
        net[3].conv.bias[1] = 1e3


def steep(net: nn.Module) -> None:
    """Hardly any ε, and large factors."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12
    with torch.no_grad():
        net[3].norm.weight *= 30


def require_above(problem: ws.ModuleProblem, a: Tensor, b: Tensor, widths: tuple[float, ...]) -> int:
    """Neither bound lies below a value; on how many intervals both are within 0.1 of the largest."""
    enclosed, replay = enclosing(problem, torch.stack([a, b]), "loss", BYTES), Replay(problem, "loss")
    near = 0
    for width in widths:
        low = 0.375 * (1 - width)
        ts = low + width * torch.linspace(0, 1, 9, dtype=torch.float64)
        largest = float(problem.measure(torch.lerp(a, b, ts.unsqueeze(1)))["loss"].max())
        place = torch.tensor([low], dtype=torch.float64)
        bound = float(enclosed.bounds(Intervals(torch.tensor([0]), place, place + width)))
        again = replay.bound(a.numpy(), b.numpy(), low, low + width)
        assert not bound < largest * (1 - 1e-12)
        assert not again < largest * (1 - 1e-12)
        near += max(bound, again) < largest + 0.1
    return near


@pytest.mark.slow
@pytest.mark.parametrize(
    ("buffers", "attack"),
    [("frozen", None), ("recalibrate", None), ("recalibrate", dead), ("recalibrate", narrow), ("recalibrate", steep)],
)
def test_no_value_lies_above_either_bound(buffers, attack):
    net = network(0)
    if attack is not None:
        attack(net)
    problem = problem_of(net, buffers)
    a = problem.flatten(net)
    assert require_above(problem, a, near(a, 0.03), (1.0, 2.0**-17)) or attack in (narrow, steep)


class Tokens(nn.Module):
    """BatchNorm of the tokens of a layer, whose outputs lie along another axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x[:, :, 0]))
        return self.norm(self.second(x)).mean(1)


@pytest.mark.slow
def test_channels_that_are_tokens():
    torch.manual_seed(0)
    net = Tokens().double()
    problem = problem_of(net, "frozen")
    a = problem.flatten(net)
    assert require_above(problem, a, near(a, 0.03), (2.0**-9,))


def test_chunks_that_do_not_fit_and_statistics_read_elsewhere_are_refused():
    problem = problem_of(network(0), "recalibrate")
    beads = problem.flatten(network(0)).expand(2, -1)
    with pytest.raises(ws.Unsupported, match=r"^running statistics are estimated on 3 .* max_bytes .* smaller chunk="):
        enclosing(problem, beads, "loss", 1000)
    with pytest.raises(NotVerifiable, match=r"^running statistics are estimated on 3 .* max_bytes .* smaller chunk="):
        Replay(problem, "loss", 1000)
    step = SimpleNamespace(op="mul.Tensor", where="mul.Tensor in norm", takes=["x", "b_norm_running_var"], args=())
    with pytest.raises(ws.Unsupported, match=r"^mul.Tensor in norm: it reads running statistics"):
        require_estimable(SimpleNamespace(steps=[step], statistics={"b_norm_running_var": "norm.running_var"}))


@pytest.mark.slow
@pytest.mark.parametrize("attack", [None, dead])
def test_statistics_are_enclosed(attack):
    net = network(4)
    if attack is not None:
        attack(net)
    problem = problem_of(net, "recalibrate")
    a = problem.flatten(net)
    b = near(a, 0.02)
    enclosed = enclosing(problem, torch.stack([a, b]), "loss", BYTES)
    low, high = (torch.tensor([t], dtype=torch.float64) for t in (0.25, 0.25 + 2.0**-9))
    enclosed.bounds(Intervals(torch.tensor([0]), low, high))
    ((_, found),) = [(place, each) for place, each in enclosed.calibrating._found.items() if place[0][1] == 0.25]
    for sigma in (-1.0, -0.3, 0.0, 0.8, 1.0):
        t = float(low + (sigma + 1) / 2 * (high - low))
        exact = problem.statistics(torch.lerp(a, b, t))
        for name, enclosure in found.items():
            minus, middle, plus = (node.flatten() for node in enclosure.nodes)
            polynomial = middle + sigma * (plus - minus) / 2 + sigma**2 * ((plus + minus) / 2 - middle)
            apart = (exact[enclosed.program.statistics[name]] - polynomial).abs()
            assert bool((apart <= enclosure.radius.flatten() + 1e-15).all()) or not bool(
                enclosure.radius.isfinite().all()
            )


@pytest.mark.slow
def test_it_is_certified_and_verified_and_what_is_changed_is_not():
    net = network(1)
    problem = problem_of(net, "recalibrate")
    a = problem.flatten(net)
    string = ws.WeightString(problem, torch.stack([a, near(a, 0.001)]))
    certificate = ws.certify(problem, string, tol=0.1)
    assert certificate.upper_bound < 1.11 * certificate.largest_sample
    assert verify(problem, string, certificate).ok
    # The module's own statistics, which another checkpoint may leave in it, enter nowhere.
    other = network(1)
    other[1].running_mean.fill_(7.0)
    assert verify(problem_of(other, "recalibrate"), string, certificate).ok
    images = problem._parts.train.leaves[0].clone()
    images[4, 0, 0, 0] += 1e-6
    changed = verify(problem_of(net, "recalibrate", images), string, certificate)
    assert not changed.ok
    assert "training inputs" in str(changed)
    assert not verify(problem_of(net, "frozen"), string, certificate).ok
    low = max(certificate.partition, key=lambda piece: piece.bound)
    cut = tuple(piece._replace(bound=piece.bound * 0.8) if piece == low else piece for piece in certificate.partition)
    lowered = msgspec.structs.replace(
        certificate, partition=cut, upper_bound=max(piece.bound for piece in cut), largest_sample=0.0
    )
    assert not verify(problem, string, lowered.sealed()).ok


@pytest.mark.parametrize(
    ("shape", "stride", "dilation", "groups"),
    [
        ((4, 3, 3, 3), 1, 1, 1),
        ((4, 3, 3, 3), 2, 1, 1),
        ((6, 2, 3, 3), 2, 2, 2),
        ((2, 5, 1, 1), 2, 1, 1),
        ((3, 2, 4, 4), 3, 1, 1),
    ],
)
def test_norms_of_convolutions_are_above_what_they_do_to_images(shape, stride, dilation, groups):
    draw = torch.Generator().manual_seed(2)
    kernel = torch.randn(shape, generator=draw, dtype=torch.float64)
    image, settings = (7, 6), {"stride": stride, "padding": 2, "dilation": dilation, "groups": groups}
    units = torch.eye(shape[1] * groups * 42, dtype=torch.float64).view(-1, shape[1] * groups, *image)
    exact = torch.linalg.matrix_norm(torch.conv2d(units, kernel, **settings).flatten(1), 2)
    pair = [stride] * 2, [dilation] * 2
    found = float(convolution_norm(kernel[None], image, *pair, groups))
    assert exact <= found < 1.5 * exact
    assert exact <= norm_by_verify(kernel.numpy(), image, *pair, groups) < 1.5 * exact


@pytest.mark.parametrize("scale", [0.0, 1e-170, 1e-60, 1e60, 1e170])
def test_norms_of_convolutions_of_any_size(scale):
    kernel = scale * torch.ones(1, 2, 1, 3, 3, dtype=torch.float64)
    exact = 9 * 2**0.5 * scale
    for found in (
        float(convolution_norm(kernel, [20, 20], [1, 1], [1, 1])),
        norm_by_verify(kernel[0].numpy(), [20, 20], [1, 1], [1, 1]),
    ):
        assert 0.9 * exact <= found
        assert found <= 1.1 * exact + 1e-100 or np.isinf(found)


def test_running_statistics_of_other_layers_are_refused():
    net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.InstanceNorm1d(3, track_running_stats=True), nn.Flatten())
    problem = ws.ModuleProblem(net, nn.functional.mse_loss, (torch.randn(9, 2, 4), torch.randn(9, 12)))
    theta = problem.flatten(net)
    with pytest.raises(ws.Unsupported, match=r"^running statistics of InstanceNorm1d .* torch's BatchNorm alone"):
        ws.certify(problem, ws.WeightString(problem, torch.stack([theta, theta])))
