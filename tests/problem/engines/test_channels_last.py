"""Convolutional models in the memory format that suits them: the loop's numbers, and the loop's module untouched."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from weightstring.errors import InvalidModel
from weightstring.problem.engines.channels_last import ChannelsLast
from weightstring.problem.engines.trial import Trial
from weightstring.testing import check_engine


def network(*more: nn.Module) -> nn.Sequential:
    """Convolutions over planes of 6 × 6, and what is asked for after the first."""
    torch.manual_seed(0)
    features = [nn.Conv2d(2, 4, 3, padding=1), *more, nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(12, 3))


def frozen() -> nn.Sequential:
    net = network()
    net[0].weight.requires_grad_(False)
    return net


@pytest.mark.parametrize(
    "net",
    [network(), network(nn.BatchNorm2d(4)), network(nn.Dropout2d(0.5)), frozen()],
    ids=["plain", "statistics", "drawing", "frozen"],
)
def test_it_computes_what_autograd_does(problem_of, net):
    check_engine(problem_of(net, 2, 6, 6, dtype=torch.float32, batch_size=9), "channels-last")


def test_it_is_taken_where_it_is_faster_and_a_run_that_names_it_gets_its_bits(monkeypatch, problem_of, answers):
    monkeypatch.setattr(Trial, "speedup", lambda self, name, over, run=None: 1.2)
    problem = problem_of(network(nn.GroupNorm(2, 4)), 2, 6, 6, dtype=torch.float32)
    thetas, rows = torch.stack([problem.initial(seed) for seed in range(2)]), torch.arange(16).view(2, 8)
    with problem.computing_by("loop"):
        by_loop = answers(problem, thetas, rows)
    assert problem.engine_choice().name == "channels-last"
    found = answers(problem, thetas, rows)
    again = problem_of(network(nn.GroupNorm(2, 4)), 2, 6, 6, dtype=torch.float32)
    with again.computing_by("channels-last"):
        assert all(map(torch.equal, found, answers(again, thetas[:], rows)))
        assert all(map(torch.equal, [each[1:] for each in found], answers(again, thetas[1:], rows[1:])))
    with problem.computing_by("loop"):
        assert all(map(torch.equal, by_loop, answers(problem, thetas, rows)))


def test_only_weights_of_its_own_copy_lie_channels_last(problem_of):
    problem = problem_of(network(), 2, 6, 6)
    problem.use_engine("channels-last")
    engine = problem._parts.dispatcher.engine
    assert isinstance(engine, ChannelsLast)
    for own in (engine, pickle.loads(pickle.dumps(engine))):
        assert own.work.computation.training.module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert problem.computation.training.module[0].weight.is_contiguous()


def test_what_has_nothing_to_lay_out_is_refused(refused, problem_of, plain, convolution):
    for problem in (problem_of(plain(), 2), problem_of(convolution(), 1, 5)):
        with refused(InvalidModel, r"^engine='channels-last' is for modules with Conv2d or ConvTranspose2d: pass"):
            problem.use_engine("channels-last")


def test_what_crashes_in_that_format_is_refused_and_not_tried(refused, problem_of):
    problem = problem_of(network(nn.Conv2d(4, 4, 1, stride=2), nn.Upsample(scale_factor=2)), 2, 6, 6)
    with refused(InvalidModel, r"^engine='channels-last': the backward pass of a 1×1 convolution with a stride"):
        problem.use_engine("channels-last")
    problem.use_engine("auto")
    assert problem.engine_choice().name != "channels-last"
