"""Draws depend on the seed and on the place, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product

import pytest
import torch

from weightstring.randomness import derive_seed, generator

PLACES = [(), ("",), ("a",), ("b",), ("a", "b"), ("ab",), ("a", ""), (1,), (11,), (1, 1), ("a", 3), (-1,)]


def test_every_seed_and_place_has_its_own_stream():
    seeds = [derive_seed(seed, *place) for seed, place in product((0, 1, -1, 2**70), PLACES)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_not_mistaken_for_the_beginning_of_a_place():
    assert derive_seed(1, "2", "x") != derive_seed(12, "x")
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_generator_is_seeded_by_the_place_alone():
    torch.manual_seed(3)
    first = torch.randn(5, generator=generator(7, "bead", 2))
    torch.manual_seed(4)
    assert torch.equal(torch.randn(5, generator=generator(7, "bead", 2)), first)
    assert not torch.equal(torch.randn(5, generator=generator(8, "bead", 2)), first)
    assert not torch.equal(torch.randn(5, generator=generator(7, "bead", 3)), first)


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    torch.randn(100, generator=generator(0, "elsewhere"))
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.slow
def test_a_seed_is_the_same_in_another_process():
    code = "from weightstring.randomness import derive_seed; print(derive_seed(7, 'bead', 2), hash('bead'))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    seed, hashed = map(int, process.stdout.split())
    assert hashed != hash("bead")
    assert seed == derive_seed(7, "bead", 2)
