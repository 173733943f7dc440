"""Recipes that no descent can follow."""

from __future__ import annotations

import pytest

from weightstring import InvalidSetting, Recipe


@pytest.mark.parametrize("name", ["check_every", "patience", "max_steps"])
@pytest.mark.parametrize("value", [0, -3, 2.5, None])
def test_a_recipe_that_never_steps_or_never_looks_is_refused(refused, name, value):
    with refused(InvalidSetting, rf"^Recipe\({name}={value}\): no descent can follow it; give at least 1$"):
        Recipe(**{name: value})


@pytest.mark.parametrize(("optimizer", "options"), [(None, {"lr": 0.1}), ("sgd", 0.1)])
def test_a_recipe_of_other_things_is_refused(refused, optimizer, options):
    with refused(InvalidSetting, r"^Recipe\(.*, ...\): give the optimizer's name and a dict of its options$"):
        Recipe(optimizer, options)
