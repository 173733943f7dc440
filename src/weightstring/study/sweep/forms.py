"""The forms of a task that a sweep asks about: each with its problem, and what else is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

from weightstring.arrays import Theta
from weightstring.descent import Optimizers
from weightstring.errors import InvalidSetting
from weightstring.path import check_theta
from weightstring.problem import Modular, PerExample
from weightstring.protocol import Engined, lacking
from weightstring.recipe import Recipe
from weightstring.study.sweep.plan import Variant, shown


@runtime_checkable
class Sweepable(Modular, PerExample, Engined, Protocol):
    """What a sweep needs of a problem."""


@dataclass(frozen=True, eq=False)
class Form:
    """One form of the task.

    Args:
        variant: what it is called, and how to build its problem again.
        problem: the loss.
        recipe: how beads descend; None: as the problem has it.
        checkpoints: models (P,) in place of trained ends; None: ends are trained.
    """

    variant: Variant
    problem: Sweepable
    recipe: Recipe | None = None
    checkpoints: tuple[Theta, ...] | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.variant.name


def forms_of(problem: object, variants: object, recipe: object, checkpoints: object) -> list[Form]:
    """The forms that a call asks about, in their order.

    Args:
        problem: one, or several by name.
        variants: what they are called; None: by their names alone.
        recipe: for all, or of some by name.
        checkpoints: models of a problem by itself, or by the names of several.

    Raises:
        InvalidSetting: a value of another kind, names that do not fit, or a recipe that torch.optim refuses.
        InvalidCheckpoint: a model that is not its problem's.
    """
    problems = _problems(problem)
    called = _variants(problems, variants)
    recipes = _by_name("recipe", recipe, problems, isinstance(recipe, Recipe), "a ws.Recipe")
    models = _by_name("checkpoints", checkpoints, problems, _is_list(checkpoints), "a list of models")
    forms = []
    for name, variant in called.items():
        loss = problems[name]
        if not isinstance(recipes[name], Recipe | None):
            raise InvalidSetting(f"sweep(recipe={shown(recipes[name])}): pass a ws.Recipe")
        Optimizers(recipes[name] or loss.recipe)  # What torch.optim refuses, it refuses before anything is written.
        forms.append(Form(variant, loss, recipes[name], _checked(loss, models[name], name)))
    return forms


def _is_list(checkpoints: object) -> bool:
    return not isinstance(checkpoints, Mapping | str | bytes) and isinstance(checkpoints, Sequence)


def _checked(problem: Sweepable, models: object, name: str) -> tuple[Theta, ...] | None:
    if models is None:
        return None
    if not isinstance(models, Sequence) or len(models) < 2:
        raise InvalidSetting(f"sweep(checkpoints={shown(models)}): {name} needs two models or more, to make pairs of")
    for number, theta in enumerate(models):
        check_theta(problem, theta, f"sweep: checkpoint {number} of {name}")
    return tuple(models)


def _by_name(what: str, given: object, problems: Mapping[str, Sweepable], shared: bool, kind: str) -> dict[str, Any]:
    """What each problem has of a setting: the same for all, or its own."""
    if given is None or shared:
        return dict.fromkeys(problems, given)
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"sweep({what}={shown(given)}): give {kind}, or several by the problems' names")
    if unknown := [name for name in given if name not in problems]:
        raise InvalidSetting(
            f"sweep({what}=...): {shown(unknown[0])} is none of the problems, which are {shown(list(problems))}"
        )
    if what == "checkpoints" and (missing := [name for name in problems if name not in given]):
        raise InvalidSetting(f"sweep(checkpoints=...): none for {shown(missing[0])}: give every problem its own")
    return {name: given.get(name) for name in problems}


def _problems(problem: object) -> dict[str, Sweepable]:
    """The problems by name."""
    problems: dict[str, Any] = dict(problem) if isinstance(problem, Mapping) else {"all": problem}
    if not problems:
        raise InvalidSetting("sweep(problem={}): give at least one problem")
    for each in problems.values():
        if not isinstance(each, Sweepable):
            raise InvalidSetting(
                f"sweep(problem={shown(each)}): give a ws.ModuleProblem, or several by name; {lacking(each, Sweepable)}"
            )
        Optimizers(each.recipe)
    return problems


def _variants(problems: Mapping[str, Sweepable], variants: object) -> dict[str, Variant]:
    """What the problems are called, by name and in their order."""
    given = [Variant(name) for name in problems] if variants is None else variants
    if not isinstance(given, Sequence) or not all(isinstance(form, Variant) for form in given):
        raise InvalidSetting(f"sweep(variants={shown(given)}): give a list of Variant, one for each problem")
    forms: dict[str, Variant] = {form.name: form for form in given}
    if forms.keys() != problems.keys():
        raise InvalidSetting(
            f"sweep(variants=...): named {shown(list(forms))}, but the problems are {shown(list(problems))}; "
            "give one for each problem"
        )
    if len({PurePath(name) for name in forms}) < len(forms):
        raise InvalidSetting(f"sweep: variants named {shown(list(forms))}: two have one folder; give other names")
    return forms
