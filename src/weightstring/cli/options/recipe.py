"""The options that change a problem's own recipe, field by field."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import weightstring as ws
from weightstring.cli.options.values import finite, key_value, number, positive, whole

FIELDS = {
    "optimizer": "optimizer",
    "check_every": "check_every",
    "patience": "patience",
    "descent_steps": "max_steps",
    "clip": "clip",
    "schedule": "schedule",
    "warmup": "warmup",
    "average": "average",
}
"""The recipe's field that an option names; --lr and --optimizer-option name entries of its ``options``."""


def add_recipe(parser: argparse.ArgumentParser, *, steps: bool = True, whose: str = "how models descend") -> None:
    """Add the options to a command's parser.

    Args:
        parser: the command's.
        steps: whether --descent-steps is among them; a training's own limit is its --max-steps.
        whose: what follows it, in words.
    """
    group = parser.add_argument_group("recipe", f"{whose}; whatever is left out is the task's own")
    group.add_argument("--optimizer", metavar="NAME", help="of torch.optim, such as adam, sgd, rmsprop")
    group.add_argument("--lr", type=finite, metavar="R", help="learning rate")
    group.add_argument(
        "--optimizer-option",
        dest="optimizer_options",
        action="append",
        type=_optimizer_option,
        default=[],
        metavar="KEY=VALUE",
        help="another option of the optimizer, such as momentum=0.9 or betas=0.9,0.99; may be repeated",
    )
    group.add_argument("--check-every", type=positive, metavar="N", help="gradient steps between measurements")
    group.add_argument("--patience", type=positive, metavar="N", help="stop after N measurements without improvement")
    if steps:
        group.add_argument("--descent-steps", type=positive, metavar="N", help="gradient steps in one descent at most")
    group.add_argument("--clip", type=_norm, metavar="G", help="clip gradients to this norm; none: never")
    group.add_argument(
        "--average", type=_norm, metavar="B", help="measure the average of the iterates, which decays by B a step"
    )
    group.add_argument(
        "--schedule",
        choices=["constant", "linear", "cosine", "one-cycle"],
        help="how the learning rate falls over a descent",
    )
    group.add_argument("--warmup", type=whole, metavar="N", help="steps over which it first rises")


def changed_recipe(options: argparse.Namespace, default: ws.Recipe) -> ws.Recipe | None:
    """The problem's own recipe with what the options change; None where that is nothing.

    Raises:
        InvalidSetting: an unknown optimizer, an option it has not, or a value out of range.
    """
    from weightstring.descent import Optimizers, changed

    given = {field: getattr(options, name, None) for name, field in FIELDS.items()}
    fields: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    fields |= {field: None for field in ("clip", "average") if fields.get(field) == "none"}
    inner = dict(options.optimizer_options)
    if options.lr is not None:
        inner["lr"] = options.lr
    recipe = changed(default, {**fields, "options": inner})
    Optimizers(recipe)  # What torch.optim refuses, it refuses before anything else is done.
    return None if recipe == default else recipe


def _norm(text: str) -> float | str:
    return text if text == "none" else number(text)


def _optimizer_option(text: str) -> tuple[str, float | bool | list[float]]:
    """``KEY=VALUE``, the value a number, true or false, or numbers joined by commas."""
    key, words = key_value(text)
    try:
        values = [json.loads(word) for word in words.split(",")]
    except json.JSONDecodeError:
        values = []
    if not values or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise argparse.ArgumentTypeError(
            f"{text!r:.80}: the value must be a number, true, false, or numbers joined by commas"
        )
    return key, values if len(values) > 1 else values[0]
