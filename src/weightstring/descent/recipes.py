"""A recipe with some of its fields changed, as a caller names them one by one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping

from weightstring.descent.optimizers import kind_of
from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe


def changed(recipe: Recipe, fields: Mapping[str, object]) -> Recipe:
    """The recipe with the named fields changed and everything else as it is.

    ``options`` are changed one by one too. Another optimizer keeps those options of the old one that it has as well,
    the learning rate among them; the others mean nothing to it. A recipe that finds its own step is first made one that
    does not, :attr:`weightstring.Recipe.untuned`.

    Args:
        recipe: what is changed.
        fields: of :class:`Recipe`, by name.

    Raises:
        InvalidSetting: an unknown field or optimizer, or a value out of range.

    >>> changed(Recipe("adam", {"lr": 0.01, "amsgrad": True}, patience=5), {"optimizer": "sgd"})
    Recipe(optimizer='sgd', options={'lr': 0.01}, check_every=20, patience=5, max_steps=10000, clip=None, \
schedule='constant', warmup=0)
    >>> changed(Recipe("adam", {"lr": 0.01, "amsgrad": True}), {"options": {"lr": 0.1}}).options
    {'lr': 0.1, 'amsgrad': True}
    """
    known = [field.name for field in dataclasses.fields(recipe)]
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise InvalidSetting(f"a recipe has no field {unknown[0]!r:.80}: it has {', '.join(known)}")
    tuned, named = fields.get("optimizer", recipe.optimizer) == "auto", fields.get("options", {})
    if tuned != recipe.tunes or (tuned and named):
        recipe = recipe.untuned if recipe.tunes else Recipe.tuned()
    options = dict(recipe.options)
    if not isinstance(named, Mapping):
        raise InvalidSetting(f"a recipe's options={named!r:.80}: give a dict, such as {{'lr': 0.01}}")
    optimizer = fields.get("optimizer", recipe.optimizer)
    if optimizer != recipe.optimizer:
        taken = inspect.signature(kind_of(optimizer)).parameters
        options = {name: value for name, value in options.items() if name in taken}
    return dataclasses.replace(recipe, **{**fields, "options": {**options, **named}})  # type: ignore[arg-type]
