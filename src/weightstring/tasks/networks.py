"""The networks of the built-in tasks; all draw their parameters by ``reset_parameters``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

STATISTICS_CHUNK = 256
"""Images in a forward pass of a network with BatchNorm, over which its statistics are averaged: larger passes leave the
caches, and take twice the time."""
CLASSES = 10


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """A multilayer perceptron with ReLU between its linear layers.

    Args:
        sizes: units of each layer, inputs and outputs included.

    >>> mlp([784, 256, 10])
    Sequential(
      (0): Linear(in_features=784, out_features=256, bias=True)
      (1): ReLU()
      (2): Linear(in_features=256, out_features=10, bias=True)
    )
    """
    layers = [layer for m, n in pairwise(sizes) for layer in (nn.Linear(m, n), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def small_cnn() -> nn.Sequential:
    """Two 3×3 convolutions of 16 and 32 channels with pooling, and a hidden layer of 64: (N, 1, 28, 28) to (N, 10).

    >>> sum(parameter.numel() for parameter in small_cnn().parameters())
    105866
    """
    features = [*pooled(1, 16, 3), *pooled(16, 32, 3), nn.Flatten()]
    return nn.Sequential(*features, *mlp([32 * 7 * 7, 64, CLASSES]))


def cnn() -> nn.Sequential:
    """The paper's network for MNIST: two 5×5 convolutions and 1,024 hidden units with dropout, on (N, 1, 28, 28).

    As in C. D. Freeman and J. Bruna, "Topology and Geometry of Half-Rectified Network Optimization", ICLR 2017.

    >>> sum(parameter.numel() for parameter in cnn().parameters())
    3274634
    """
    features = [*pooled(1, 32, 5), *pooled(32, 64, 5), nn.Flatten()]
    hidden, activation, output = mlp([64 * 7 * 7, 1024, CLASSES])
    return nn.Sequential(*features, hidden, activation, nn.Dropout(0.5), output)


def resnet() -> nn.Sequential:
    """A residual network of eight weighted layers with BatchNorm: one block each of 16, 32 and 64 channels.

    The network for CIFAR-10 of K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image
    Recognition", CVPR 2016, Section 4.2, with n = 1, for one input channel, and with projections where the
    shape changes (its option B). Images may have any size: (N, 1, height, width) to (N, 10).

    >>> sum(parameter.numel() for parameter in resnet().parameters())
    77754
    """
    stem = [*normalised(1, 16, stride=1), nn.ReLU()]
    stages = [Residual(16, 16, stride=1), Residual(16, 32, stride=2), Residual(32, 64, stride=2)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


def draw_normal(net: nn.Module, deviation: float) -> None:
    """Draw the weights of linear and convolutional layers anew, in place; biases are all ``deviation``.

    Normal, cut at two deviations: as networks were drawn before layers' widths were thought of, much larger than
    PyTorch's where a layer is wide.

    Args:
        net: the network.
        deviation: of the weights.

    >>> layer = nn.Linear(1000, 10)
    >>> draw_normal(layer, 0.125)
    >>> 0.1 < layer.weight.detach().std().item() < 0.125, layer.bias[0].item()
    (True, 0.125)
    """
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            if module.bias is not None:
                nn.init.constant_(module.bias, deviation)


class Residual(nn.Module):
    """ReLU(f(x) + s(x)): f is two 3×3 convolutions with BatchNorm, s the identity, or a projection to f's shape.

    Args:
        channels_in: of x.
        channels_out: of the output.
        stride: of the first convolution.

    >>> import torch
    >>> Residual(2, 5, stride=2)(torch.zeros(3, 2, 8, 8)).shape
    torch.Size([3, 5, 4, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        first, second = (
            normalised(channels_in, channels_out, stride),
            normalised(channels_out, channels_out, stride=1),
        )
        self.residual = nn.Sequential(*first, nn.ReLU(), *second)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Sequential() if same else nn.Sequential(*normalised(channels_in, channels_out, stride, 1))
        self.activation = nn.ReLU()

    def forward(self, images: Float[Tensor, "N channels height width"]) -> Float[Tensor, "N _ _ _"]:
        """The block's output."""
        output: Tensor = self.activation(self.residual(images) + self.shortcut(images))
        return output


def pooled(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size of the image, ReLU, and a pooling that halves it."""
    return [nn.Conv2d(channels_in, channels_out, kernel, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]


def normalised(channels_in: int, channels_out: int, stride: int, kernel: int = 3) -> list[nn.Module]:
    """A convolution without bias, and BatchNorm."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out)]
