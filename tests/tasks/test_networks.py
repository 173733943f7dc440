"""The networks of the tasks against a naive reference, their sizes, and that each can be drawn anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.problem import ModuleProblem
from weightstring.tasks.networks import Residual, cnn, mlp, resnet, small_cnn

IMAGE = {"mlp": (784,), "small_cnn": (1, 28, 28), "cnn": (1, 28, 28), "resnet": (1, 28, 28)}
NETS = {"mlp": lambda: mlp([784, 13, 10]), "small_cnn": small_cnn, "cnn": cnn, "resnet": resnet}


def draw(*shape: int) -> torch.Tensor:
    return 0.3 + torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def kinds(net: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in net.children()]


class TestMlp:
    def test_its_layers(self):
        assert [tuple(p.shape) for p in mlp([5, 4, 3, 2]).parameters()] == [(4, 5), (4,), (3, 4), (3,), (2, 3), (2,)]
        assert kinds(mlp([5, 4, 3, 2])) == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
        assert kinds(mlp([5, 2])) == ["Linear"]

    def test_its_value(self):
        net, inputs = mlp([3, 4, 2]).double(), draw(5, 3)
        w, b, v, c = net.parameters()
        expected = (inputs @ w.T + b).clamp(min=0) @ v.T + c
        torch.testing.assert_close(net(inputs), expected)


class TestConvolutional:
    @pytest.mark.parametrize(("net", "kernel", "hidden"), [(small_cnn, 3, 64), (cnn, 5, 1024)])
    def test_its_value(self, net, kernel, hidden):
        net, images = net().double().eval(), draw(3, 1, 28, 28)
        w1, b1, w2, b2, w3, b3, w4, b4 = net.parameters()
        assert w1.shape[2:] == w2.shape[2:] == (kernel, kernel)
        assert w3.shape[0] == hidden
        first = functional.max_pool2d(functional.conv2d(images, w1, b1, padding=kernel // 2).relu(), 2)
        second = functional.max_pool2d(functional.conv2d(first, w2, b2, padding=kernel // 2).relu(), 2)
        expected = (second.reshape(3, -1) @ w3.T + b3).relu() @ w4.T + b4
        torch.testing.assert_close(net(images), expected)

    def test_channels(self):
        assert [layer.out_channels for layer in small_cnn() if isinstance(layer, nn.Conv2d)] == [16, 32]
        assert [layer.out_channels for layer in cnn() if isinstance(layer, nn.Conv2d)] == [32, 64]

    def test_dropout_of_the_hidden_units_in_training_only(self):
        net = cnn()
        assert kinds(net)[-4:] == ["Linear", "ReLU", "Dropout", "Linear"]
        assert net[-2].p == 0.5
        images = draw(2, 1, 28, 28).float()
        assert not torch.equal(net.train()(images), net(images))
        assert torch.equal(net.eval()(images), net(images))


class TestResidual:
    @pytest.mark.parametrize(("channels_in", "channels_out", "stride"), [(3, 3, 1), (3, 5, 2), (3, 5, 1), (4, 4, 2)])
    def test_its_value(self, channels_in, channels_out, stride):
        block, images = Residual(channels_in, channels_out, stride).double(), draw(2, channels_in, 9, 7)

        def normalised(values, norm):
            mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), correction=0, keepdim=True)
            return (values - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[
                :, None, None
            ]

        first, norm, _, second, last_norm = block.residual
        inner = normalised(functional.conv2d(images, first.weight, stride=stride, padding=1), norm).relu()
        output = normalised(functional.conv2d(inner, second.weight, padding=1), last_norm)
        if (channels_in, stride) == (channels_out, 1):
            assert list(block.shortcut.parameters()) == []
            shortcut = images
        else:
            projection, projection_norm = block.shortcut
            assert projection.weight.shape == (channels_out, channels_in, 1, 1)
            shortcut = normalised(functional.conv2d(images, projection.weight, stride=stride), projection_norm)
        torch.testing.assert_close(block(images), (output + shortcut).relu())

    def test_the_network_halves_the_image_twice_and_averages(self):
        net, seen = resnet(), []
        for stage in net:
            stage.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
        assert net(draw(2, 1, 28, 28).float()).shape == (2, 10)
        stages = [(16, 28, 28)] * 4 + [(32, 14, 14), (64, 7, 7)]
        assert seen == [*stages, (64, 1, 1), (64,), (10,)]

    def test_eight_weighted_layers_besides_the_projections(self):
        weighted = [module for module in resnet().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        assert len([module for module in weighted if getattr(module, "kernel_size", None) != (1, 1)]) == 8
        assert len(weighted) == 10


@pytest.mark.many(quick=1)
@pytest.mark.parametrize("name", NETS)
def test_a_problem_draws_it_anew(name):
    images, targets = draw(6, *IMAGE[name]).float(), torch.arange(6) % 10
    problem = ModuleProblem(NETS[name](), nn.CrossEntropyLoss(), (images, targets), batch_size=3)
    a, again, b = (problem.initial(seed) for seed in (3, 3, 4))
    assert torch.equal(a, again)
    weights = [
        (one, other)
        for one, other in zip(problem.layout.pieces(a), problem.layout.pieces(b), strict=True)
        if one.ndim > 1  # BatchNorm's scales and shifts begin at 1 and 0
    ]
    assert not any(torch.equal(one, other) for one, other in weights)
    assert len(weights) == {"mlp": 2, "small_cnn": 4, "cnn": 4, "resnet": 10}[name]
