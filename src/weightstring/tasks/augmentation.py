"""The standard augmentation of small images: shifted by a few pixels, and mirrored half of the time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from weightstring.problem.datasets.data import Inputs

SHIFT = 4
"""Pixels by which an image is shifted at most, each way."""


@dataclass(frozen=True)
class TrainingLoss:
    """A training step: cross-entropy of images that are augmented or not, against labels that are smoothed or not.

    Args:
        augmented: whether images are shifted and mirrored at random.
        smoothing: the share of each label that is spread evenly over all classes: C. Szegedy et al., "Rethinking the
            Inception Architecture for Computer Vision", CVPR 2016.

    >>> step = TrainingLoss(augmented=True, smoothing=0.1)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    >>> step(net, torch.zeros(5, 3, 8, 8), torch.zeros(5, dtype=torch.int64)).shape
    torch.Size([])
    """

    augmented: bool
    smoothing: float = 0.0

    def __call__(self, net: nn.Module, images: Inputs, labels: Int64[Tensor, " N"]) -> Tensor:
        """The mean loss of a minibatch of images (N, C, H, W)."""
        assert isinstance(images, Tensor)  # a step may be given any inputs
        seen = augmented(images) if self.augmented else images
        return functional.cross_entropy(net(seen), labels, label_smoothing=self.smoothing)


def augmented(images: Float[Tensor, "N C H W"], shift: int = SHIFT) -> Float[Tensor, "N C H W"]:
    """Images that are each shifted at random, with zeros where nothing was, and mirrored half of the time.

    As for CIFAR-10 in K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> augmented(torch.ones(2, 1, 6, 6)).shape
    torch.Size([2, 1, 6, 6])
    """
    count, _, height, width = images.shape
    where = images.device
    padded = functional.pad(images, (shift, shift, shift, shift))
    down, along = (torch.randint(2 * shift + 1, (count, 1), device=where) for _ in range(2))
    rows = down + torch.arange(height, device=where)
    columns = along + torch.arange(width, device=where)
    mirrored = torch.rand(count, 1, device=where) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    example = torch.arange(count, device=where)[:, None, None]
    # One gather for all: the index on either side of the sliced axis puts channels last.
    return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
