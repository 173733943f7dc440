"""CIFAR-10 and CIFAR-100 as they were published: their archives, the files in them, and what these hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SIDE = 32
CHANNELS = 3
PIXELS = CHANNELS * SIDE * SIDE
"""Bytes of an image: all of its red, then green, then blue, row by row."""
MIRROR = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class Records:
    """A file of the binary form: for each image its labels, a byte each, and its pixels.

    Args:
        count: images in it.
        md5: of all its bytes, by which it is known whatever form they come in.
    """

    count: int
    md5: str


@dataclass(frozen=True)
class CifarSet:
    """A set of colour images for classification.

    Args:
        name: of the task.
        stem: what the names of its archives begin with.
        binary: the folder in the archive of the binary form.
        python: that in the archive of Python's.
        labels: what the labels of an image are called in Python's form, in the order of the binary one; the last is
            its class.
        classes: how many there are.
        mean: of each channel of the training images in [0, 1].
        std: likewise.
        train: the files of the training part, without the ending that they have in the binary form.
        test: those of the test part.
        mirrors: folders on the web that hold the archives.
    """

    name: str
    stem: str
    binary: str
    python: str
    labels: tuple[str, ...]
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train: Mapping[str, Records]
    test: Mapping[str, Records]
    mirrors: tuple[str, ...] = (MIRROR,)

    @property
    def files(self) -> dict[str, Records]:
        """Those of both parts."""
        return {**self.train, **self.test}

    @property
    def record(self) -> int:
        """Bytes of an image with its labels."""
        return len(self.labels) + PIXELS

    def archive(self, form: str) -> str:
        """The name of the archive of a form.

        >>> CIFAR_SETS["cifar10"].archive("binary")
        'cifar-10-binary.tar.gz'
        """
        return f"{self.stem}-{form}.tar.gz"


CIFAR_SETS = {
    # A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    "cifar10": CifarSet(
        name="cifar10",
        stem="cifar-10",
        binary="cifar-10-batches-bin",
        python="cifar-10-batches-py",
        labels=("labels",),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        train={
            "data_batch_1": Records(10_000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
            "data_batch_2": Records(10_000, "5ea93a67294ea407fff1d09f752e9692"),
            "data_batch_3": Records(10_000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
            "data_batch_4": Records(10_000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
            "data_batch_5": Records(10_000, "53f37980c15c3d472c316c40844f3f0d"),
        },
        test={"test_batch": Records(10_000, "803d5f7f4d78ea53de84dbe85f74fb6d")},
    ),
    "cifar100": CifarSet(
        name="cifar100",
        stem="cifar-100",
        binary="cifar-100-binary",
        python="cifar-100-python",
        labels=("coarse_labels", "fine_labels"),
        classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        train={"train": Records(50_000, "6172c7755cfe09b2fe270c85cebc1b15")},
        test={"test": Records(10_000, "4499cfba6c016c1be1438163640a0898")},
    ),
}
"""By name."""
