"""A recipe with some of its fields changed: those named, and no other."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightstring.descent import Optimizers, changed
from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe

OWN = Recipe("rmsprop", {"lr": 0.003, "momentum": 0.5}, check_every=7, patience=9, max_steps=900, clip=2.0, warmup=3)

VALUES: dict[str, object] = {"check_every": 11, "patience": 4, "max_steps": 77, "clip": None, "schedule": "cosine"}


@given(st.sets(st.sampled_from(sorted(VALUES))))
def test_only_named_fields_change(names: set[str]) -> None:
    found = changed(OWN, {name: VALUES[name] for name in names})
    for field in dataclasses.fields(Recipe):
        expected = VALUES[field.name] if field.name in names else getattr(OWN, field.name)
        assert getattr(found, field.name) == expected


def test_nothing_named_is_the_same_recipe() -> None:
    assert changed(OWN, {}) == changed(OWN, {"options": {}}) == OWN


@pytest.mark.parametrize("name", ["sgd", "SGD", "adam", "adagrad"])
def test_another_optimizer_keeps_what_it_has_too_and_runs(name: str) -> None:
    found = changed(OWN, {"optimizer": name})
    assert found.options == ({"lr": 0.003, "momentum": 0.5} if name.lower() == "sgd" else {"lr": 0.003})
    theta = torch.ones(3, requires_grad=True)
    optimizers = Optimizers(found)
    optimizers.add(theta)
    theta.grad = torch.tensor([1.0, -1.0, 2.0])
    optimizers.step()
    assert theta.tolist() != [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"learning_rate": 0.1}, "no field 'learning_rate': it has optimizer, options"),
        ({"optimizer": "adan"}, r"unknown optimizer 'adan' \(did you mean adam\?\): choose one of adadelta"),
        ({"optimizer": 3}, "unknown optimizer 3"),
        ({"options": 0.1}, "options=0.1: give a dict"),
        ({"patience": 0}, "patience=0"),
    ],
)
def test_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        changed(OWN, fields)
    assert "\n" not in str(caught.value)
