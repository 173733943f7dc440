"""MNIST and Fashion-MNIST as they were published: their files, what is in them, where to fetch them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from weightstring.tasks.idx import header_size


@dataclass(frozen=True)
class Content:
    """What an IDX file holds once it is decompressed.

    Args:
        shape: of its array.
        sha256: of all its bytes, the header included.

    >>> Content((3,), "").size
    11
    """

    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Its bytes, the header included."""
        return header_size(self.shape) + math.prod(self.shape)


@dataclass(frozen=True)
class ImageSet:
    """A set of images for classification.

    Args:
        name: of the task, and of the folder that ``weightstring download`` makes.
        torchvision: the folder in which torchvision keeps the same files.
        mean, std: of the training pixels in [0, 1], all taken together.
        mirrors: folders on the web that hold the files, compressed.
        files: what each file holds, by its name without ``.gz``: the training images and labels, then the
            test images and labels.
    """

    name: str
    torchvision: str
    mean: float
    std: float
    mirrors: tuple[str, ...]
    files: Mapping[str, Content]


IMAGE_SETS = {
    # Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    "mnist": ImageSet(
        name="mnist",
        torchvision="MNIST/raw",
        mean=0.1307,
        std=0.3081,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
        files={
            "train-images-idx3-ubyte": Content(
                (60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte": Content(
                (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte": Content(
                (10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte": Content(
                (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
    ),
    # H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    # algorithms", arXiv:1708.07747.
    "fashion-mnist": ImageSet(
        name="fashion-mnist",
        torchvision="FashionMNIST/raw",
        mean=0.2860,
        std=0.3530,
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
        files={
            "train-images-idx3-ubyte": Content(
                (60_000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
            ),
            "train-labels-idx1-ubyte": Content(
                (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
            ),
            "t10k-images-idx3-ubyte": Content(
                (10_000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            "t10k-labels-idx1-ubyte": Content(
                (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
            ),
        },
    ),
}
"""By name."""
