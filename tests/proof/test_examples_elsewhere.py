"""Networks that have the examples along another axis than the first are bounded as those that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import weightstring as ws
from weightstring.errors import Unsupported

X = torch.randn(
    14, 7, 3, generator=torch.Generator().manual_seed(1)
)  # as many steps as a module is traced with examples
Y = torch.arange(14) % 2


class Mixer(nn.Module):
    """Layers along both axes of a sequence, the rest as a function of the sequence (N, 7, 8) and the layers says."""

    def __init__(self, rest: Callable[[Mixer, Tensor], Tensor], given: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.rest, self.given = rest, given

    def forward(self, x: Tensor) -> Tensor:
        """Two outputs."""
        return self.last(self.rest(self, self.given(x)))


def certified(rest: Callable[[Mixer, Tensor], Tensor], given: Callable[[Tensor], Tensor] = lambda x: x) -> float:
    """The bound of a straight line, once it is verified."""
    problem = ws.ModuleProblem(Mixer(rest, given), nn.CrossEntropyLoss(), (X, Y), chunk=4)
    string = ws.WeightString(problem, torch.stack([problem.initial(seed) for seed in range(2)]))
    certificate = ws.certify(problem, string, max_intervals=4)
    assert ws.verify(problem, string, certificate).ok
    return certificate.upper_bound


def steps_second(net: Mixer, x: Tensor) -> Tensor:
    hidden = torch.relu(net.first(x))
    return (hidden + torch.tanh(net.inner(hidden))).mean(1)


SAID = {
    "transposed": (lambda x: x.transpose(0, 1), lambda x: x.mean(0)),
    "permuted and back": (lambda x: x.permute(2, 0, 1).permute(2, 1, 0), lambda x: x.transpose(0, 1).mean(1)),
    "by other names": (lambda x: x.movedim(0, 1), lambda x: x.swapaxes(0, 1).mT.mean(2)),
    "an axis more": (lambda x: x.transpose(0, 1)[:, :, None], lambda x: x.squeeze(2).mean(0)),
    "reshaped behind": (
        lambda x: x.transpose(0, 1).unflatten(2, (1, 3)).flatten(2), lambda x: x.sum(0, keepdim=True)[0] / 7
    ),
}  # fmt: skip


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("way", SAID)
def test_it_is_the_same_proof(way):
    given, ending = SAID[way]

    def steps_first(net: Mixer, x: Tensor) -> Tensor:
        hidden = torch.relu(net.first(x))
        return ending(hidden + torch.tanh(net.inner(hidden)))

    assert certified(steps_first, given) == pytest.approx(certified(steps_second), rel=1e-11)


@pytest.mark.slow
def test_what_is_made_of_data_alone_may_be_anything_that_keeps_them_apart():
    assert certified(lambda net, x: net.first(x).mean(0), lambda x: x.transpose(0, 1).sort(0)[0]) == pytest.approx(
        certified(lambda net, x: net.first(x).mean(1), lambda x: x.sort(1)[0]), rel=1e-12
    )


@pytest.mark.slow
def test_chosen_and_joined_steps():
    def first(net: Mixer, x: Tensor) -> Tensor:
        hidden = net.first(x)
        return torch.cat([hidden[1:3], hidden[-1:]], 0)[2]

    def second(net: Mixer, x: Tensor) -> Tensor:
        return net.first(x)[:, -1]

    assert certified(first, lambda x: x.transpose(0, 1)) == pytest.approx(certified(second), rel=1e-9)


@pytest.mark.many(quick=2)
@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x.transpose(0, 1).cumsum(1).transpose(0, 1),
        lambda x: x - x.transpose(0, 1).mean(1),
        lambda x: x.transpose(0, 1).flip(1).transpose(0, 1),
        lambda x: x.transpose(0, 1).reshape(-1, 14).reshape(7, -1, 8).transpose(0, 1),
        lambda x: x + x.transpose(0, 1).mean(1, keepdim=True).transpose(0, 1),
    ],
    ids=["summed", "centred", "turned round", "reshaped", "shifted"],
)
def test_what_mixes_examples_is_refused(mixing):
    with pytest.raises(Unsupported, match=r"example|no rule"):
        certified(lambda net, x: mixing(net.first(x)).mean(1))
