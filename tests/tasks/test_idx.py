"""The IDX format: what is read, and that nothing else is."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightstring.errors import InvalidData
from weightstring.tasks.idx import header_size, parse, unpack

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, *range(250, 256)])


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), seed=st.integers(0, 99))
def test_what_was_written_is_read(idx, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    content = idx(values)
    assert header_size(shape) == len(content) - values.numel()
    for packed in (content, gzip.compress(content)):
        read = parse(unpack(io.BytesIO(packed), "file", len(content)), "file", shape)
        assert read.dtype == torch.uint8
        assert torch.equal(read, values)


def test_bytes_written_by_hand():
    assert parse(LABELS, "labels", (3,)).tolist() == [7, 2, 1]
    assert parse(IMAGES, "images", (2, 1, 3)).tolist() == [[[250, 251, 252]], [[253, 254, 255]]]


def test_what_is_read_can_be_written_to():
    read = parse(LABELS, "labels", (3,))
    read[0] = 9
    assert parse(LABELS, "labels", (3,)).tolist() == [7, 2, 1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file of unsigned bytes with 1 axes: it begins with nothing, not 00000801$"),
        (b"<html>", "begins with 3c68746d, not 00000801$"),
        (IMAGES, "begins with 00000803, not 00000801$"),
        (b"\x00\x00\x0d" + LABELS[3:], "begins with 00000d01, not 00000801$"),
        (LABELS[:6], "truncated or damaged: it ends after 6 of 11 bytes$"),
        (LABELS[:-1], "truncated or damaged: it ends after 10 of 11 bytes$"),
        (LABELS + b"\x00", "truncated or damaged: it goes on after 11 bytes$"),
        (LABELS[:7] + b"\x02" + LABELS[8:], "its header counts 2, not 3$"),
        (LABELS[:4] + b"\x03\x00\x00\x00" + LABELS[8:], "its header counts 50331648, not 3$"),
    ],
)
def test_another_content_is_refused(refused, content, says):
    with refused(InvalidData, f"^labels: .*{says}"):
        parse(content, "labels", (3,))


def test_other_axes_of_the_same_size_are_refused(refused):
    with refused(InvalidData, "^images: its header counts 2 x 1 x 3, not 2 x 3 x 1$"):
        parse(IMAGES, "images", (2, 3, 1))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda packed: packed[:-9], "end-of-stream"),
        (lambda packed: packed[:2], "end-of-stream"),
        (lambda packed: packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:], "CRC"),
        (lambda packed: packed[:10] + b"\xff\xff\xff" + packed[13:], "invalid"),
        (lambda packed: packed + b"more", "Not a gzipped file"),
    ],
)
def test_a_damaged_gzip_file_is_refused(refused, damage, says):
    packed = gzip.compress(LABELS, mtime=0)
    assert unpack(io.BytesIO(packed), "labels.gz", 11) == LABELS
    with refused(InvalidData, f"^labels.gz: a truncated or damaged gzip file .*{says}"):
        unpack(io.BytesIO(damage(packed)), "labels.gz", 11)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_no_more_is_read_than_one_byte_too_many(pack):
    stream = io.BytesIO(pack(bytes(40_000_000)))
    tracemalloc.start()
    read = unpack(stream, "bomb", 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == bytes(1001)
    assert peak < 1_000_000
