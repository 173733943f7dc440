"""Options of the built-in tasks that are one of several names, and the recipe that they give."""

from __future__ import annotations

from collections.abc import Iterable

from weightstring.errors import InvalidSetting
from weightstring.recipe import Recipe
from weightstring.text import meant


def choose(task: str, option: str, value: str, known: Iterable[str]) -> None:
    """Refuse an unknown value of an option.

    Raises:
        InvalidSetting: it is none of the known values.

    >>> choose("polynomial", "target", "cubic", ["quadratic", "cubic"])
    """
    names = list(known)
    if value not in names:
        raise InvalidSetting(f"{task}: {option}={value!r}{meant(value, names)}: choose one of {', '.join(names)}")


def recipe_of(optimizer: str, lr: float) -> Recipe:
    """The recipe that a task's options name; a rate for what finds its own means Adam's, and 0 means .001.

    >>> recipe_of("auto", 0.01).optimizer, recipe_of("adam", 0.0).options, recipe_of("auto", 0.0) == Recipe.tuned()
    ('adam', {'lr': 0.001}, True)
    """
    tunes = optimizer.lower() == "auto"
    return Recipe.tuned() if tunes and not lr else Recipe("adam" if tunes else optimizer, {"lr": lr or 1e-3})
