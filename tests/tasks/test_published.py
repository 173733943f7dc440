"""The table of what was published, and the real files against facts known about them."""

from __future__ import annotations

import pytest
import torch

from weightstring.tasks.files import read_images
from weightstring.tasks.published import IMAGE_SETS

COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion-mnist": ([6000] * 10, [1000] * 10),
}
"""Images of each class, for training and testing."""


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_the_table_is_sound(name):
    images = IMAGE_SETS[name]
    shapes = [content.shape for content in images.files.values()]
    assert images.name == name
    assert shapes == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    assert [content.size for content in images.files.values()] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert not any(mirror.endswith("/") for mirror in images.mirrors)


def test_no_content_is_published_twice():
    contents = [content.sha256 for images in IMAGE_SETS.values() for content in images.files.values()]
    assert len(set(contents)) == 8
    assert {len(bytes.fromhex(sha256)) for sha256 in contents} == {32}


@pytest.mark.slow
def test_the_real_files(real):
    images, root = real
    train, test = read_images(images, root)
    for part, counts in zip((train, test), COUNTS[images.name], strict=True):
        assert torch.bincount(part.labels).tolist() == counts
        assert part.pixels.shape == (sum(counts), 28, 28)
    pixels = train.pixels.double() / 255
    assert pixels.mean().item() == pytest.approx(images.mean, abs=5e-5)
    assert pixels.std().item() == pytest.approx(images.std, abs=5e-5)
