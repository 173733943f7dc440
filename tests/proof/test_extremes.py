"""A small part of the search for a contradiction in ``experiments/soundness_certificates.py``."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from weightstring.proof.enclose.rules import RULES
from weightstring.proof.enclose.values import highest

OF_CONSTANTS = {"detach_.default", "identity.default", "lift_fresh_copy.default"}
"""What torch makes of constants alone: nothing depends on θ there."""

SCRIPT = Path(__file__).parents[2] / "experiments" / "soundness_certificates.py"


@pytest.fixture(scope="module")
def search() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPT.parent))  # it imports another
    spec = importlib.util.spec_from_file_location("soundness_certificates", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPT.parent))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")  # its problems are traced and nothing else
@pytest.mark.parametrize("name", ["linear, outputs", "silu"])
def test_extreme_numbers_contradict_no_bound(search: ModuleType, name: str) -> None:
    traced = search.Traced(search.CASES[name])
    met = 0
    for number in range(3):
        generator = np.random.default_rng([7, number])
        draw, _ = search.drawn(traced.case, traced.layout.size, traced.measured.targets, generator)
        with np.errstate(all="ignore"):
            found = search.check(traced, draw, generator)
        assert {key: value for key, value in found.items() if key.startswith("wrong") and value} == {}
        met += found["outputs"] + found["losses"]
    assert met > 5_000


def test_the_vertex_of_a_parabola_is_found_however_large_it_is() -> None:
    nodes = torch.tensor([0.0, 1e200, 1.2e200], dtype=torch.float64)
    assert 1.2249e200 < float(highest(nodes)) < 1.2251e200


def test_every_rule_was_drawn_in_the_search_for_a_contradiction() -> None:
    kept = json.loads((SCRIPT.parent / "results" / "soundness_certificates.json").read_text())
    own = {op for op in RULES if RULES[op].__module__.startswith("weightstring.")}
    assert own - set(kept["certified by"]) == OF_CONSTANTS
    assert kept["outputs"] + kept["losses"] >= 1_000_000
    assert {key: count for key, count in kept.items() if key.startswith("wrong") and count} == {}
