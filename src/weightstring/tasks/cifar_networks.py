"""The networks of the CIFAR tasks: (N, 3, 32, 32) to (N, classes)."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from weightstring.tasks.cifar_published import CHANNELS, SIDE
from weightstring.tasks.networks import Residual, mlp, normalised, pooled

VGG_11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of its convolutions, between poolings."""


def cnn(classes: int, width: float = 1.0) -> nn.Sequential:
    """The paper's network for CIFAR-10: two 5×5 convolutions of 64 channels, 384 and 192 hidden units.

    As in C. D. Freeman and J. Bruna, "Topology and Geometry of Half-Rectified Network Optimization", ICLR 2017.

    >>> sum(parameter.numel() for parameter in cnn(10).parameters())
    1756426
    """
    channels, first, second = (scaled(each, width) for each in (64, 384, 192))
    features = [*pooled(CHANNELS, channels, 5), *pooled(channels, channels, 5), nn.Flatten()]
    return nn.Sequential(*features, *mlp([channels * (SIDE // 4) ** 2, first, second, classes]))


def resnet(classes: int, blocks: int, width: float = 1.0) -> nn.Sequential:
    """A residual network with BatchNorm: three stages of 16, 32 and 64 channels, each of so many blocks.

    K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, Section 4.2, with
    projections where the shape changes: of 6 · blocks + 2 weighted layers.

    >>> [sum(parameter.numel() for parameter in resnet(10, blocks).parameters()) for blocks in (1, 3)]
    [78042, 272474]
    """
    channels = [scaled(each, width) for each in (16, 16, 32, 64)]
    layers: list[nn.Module] = [*normalised(CHANNELS, channels[0], stride=1), nn.ReLU()]
    for stage, (entering, leaving) in enumerate(pairwise(channels)):
        layers.append(Residual(entering, leaving, stride=1 if stage == 0 else 2))
        layers += [Residual(leaving, leaving, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))


def vgg(classes: int, width: float = 1.0) -> nn.Sequential:
    """VGG-11 without BatchNorm, and with one linear layer at its end, as is usual for images of this size.

    K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    configuration A.

    >>> sum(parameter.numel() for parameter in vgg(10).parameters())
    9225610
    """
    layers: list[nn.Module] = []
    entering = CHANNELS
    for stage in VGG_11:
        for leaving in (scaled(channels, width) for channels in stage):
            layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.ReLU()]
            entering = leaving
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(entering, classes))


class VisionTransformer(nn.Module):
    """A small vision transformer: patches of 4×4, four layers, four heads, mean over the patches.

    A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
    with normalisation before each part, learned places, and no class token.

    Args:
        classes: how many there are.
        width: factor on its 128 features.

    >>> import torch
    >>> VisionTransformer(10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    PATCH, DEPTH, HEADS, FEATURES = 4, 4, 4, 128

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        features = self.HEADS * scaled(self.FEATURES // self.HEADS, width)
        self.patches = nn.Conv2d(CHANNELS, features, self.PATCH, stride=self.PATCH)
        self.places = nn.Embedding((SIDE // self.PATCH) ** 2, features)
        self.layers = nn.Sequential(*(TransformerLayer(features, self.HEADS) for _ in range(self.DEPTH)))
        self.norm = nn.LayerNorm(features)
        self.output = nn.Linear(features, classes)

    def forward(self, images: Float[Tensor, "N 3 32 32"]) -> Float[Tensor, "N classes"]:
        """Scores of the classes."""
        tokens = self.patches(images).flatten(2).mT + self.places.weight
        scores: Tensor = self.output(self.norm(self.layers(tokens)).mean(dim=1))
        return scores


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then the same with a perceptron of four times the features.

    Args:
        features: of each token.
        heads: of the attention.
    """

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(features), nn.LayerNorm(features)
        self.entering, self.leaving = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.hidden, self.output = nn.Linear(features, 4 * features), nn.Linear(4 * features, features)

    def forward(self, tokens: Float[Tensor, "N T F"]) -> Float[Tensor, "N T F"]:
        """The tokens after it."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.entering(self.first(tokens)).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        tokens = tokens + self.leaving(attended)
        after: Tensor = tokens + self.output(functional.gelu(self.hidden(self.second(tokens))))
        return after


def scaled(channels: int, width: float) -> int:
    """Channels times a width factor, one at least.

    >>> scaled(16, 0.5), scaled(16, 0.01)
    (8, 1)
    """
    return max(1, round(channels * width))
