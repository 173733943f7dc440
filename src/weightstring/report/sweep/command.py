"""How a sweep is repeated: its command line, or the call where a command line cannot say it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from weightstring.errors import InvalidSetting
from weightstring.search import Greedy, Persistent
from weightstring.search.strategies import from_plain, plain
from weightstring.study.sweep.records import SweepRecord, VariantRecord

FLAGS = (
    "alpha", "max_depth", "insert", "retries", "stall_depths", "stall_fall", "constraint", "alpha1", "updates", "ends",
    "respace", "bends", "points",
)  # fmt: skip
"""Settings of strategies that the command line takes."""
LIMITS = {
    "MaxBeads": ("--max-beads", "count"),
    "MaxSteps": ("--max-steps", "count"),
    "Budget": ("--seconds", "seconds"),
}


def repeating(record: SweepRecord) -> tuple[str, ...]:
    """Lines of a shell, or of Python where the sweep was begun there, that compute the same sweep in the directory DIR.

    Args:
        record: the settings of the sweep.
    """
    strategy = _strategy_flags(record.strategy)
    known = [variant for variant in record.variants if variant.task is not None]
    if strategy is None or len(known) < len(record.variants) or not known:
        return _call(record)
    recipe = _recipe_flags([variant.recipe for variant in known])
    if recipe is None:
        return _call(record)
    levels = ",".join(map(repr, record.thresholds))
    ends = ["--checkpoints", "MODELS"] if record.ends == "given" else ["--train-ends", record.ends]
    flags = ["--thresholds", levels, "--pairs", str(record.pairs), "--bind", record.bind, *ends]
    flags += ["--tries", str(record.tries), "--seed", str(record.seed), *strategy, *recipe]
    flags += ["--align"] if record.align else []
    for rule in record.stop:
        flag, setting = LIMITS.get(str(rule.get("rule")), ("", ""))
        if not flag:
            return _call(record)
        flags += [flag, str(rule[setting])]
    together = _over(known)
    groups = (
        [(known[0], together)]
        if together
        else [(variant, {k: [v] for k, v in variant.options.items()}) for variant in known]
    )
    return tuple(_line(variant, over, flags) for variant, over in groups)


def _line(variant: VariantRecord, over: Mapping[str, list[str]], flags: list[str]) -> str:
    assert variant.task is not None
    parts = ["weightstring", "sweep", variant.task.name]
    for key, value in variant.task.options.items():
        parts += [] if key in over else ["--set", f"{key}={value}"]
    for key, values in over.items():
        parts += ["--over", f"{key}={','.join(values)}"]
    return shlex.join([*parts, *flags, "--out", "DIR"])


def _over(known: list[VariantRecord]) -> dict[str, list[str]] | None:
    """The values of each option, where the variants are all their combinations of one task, in order."""
    first = known[0]
    over = {key: list(dict.fromkeys(variant.options.get(key, "") for variant in known)) for key in first.options}
    combined = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
    shared = {variant.task.name for variant in known if variant.task} | {
        str({key: value for key, value in variant.task.options.items() if key not in over})
        for variant in known
        if variant.task
    }
    return over if combined == [variant.options for variant in known] and len(shared) == 2 else None


def _strategy_flags(settings: Mapping[str, Any]) -> list[str] | None:
    """Flags for what differs from the strategy's defaults; None where there is no flag for it."""
    name = settings.get("name")
    try:
        usual = plain(from_plain({"name": name}))
    except InvalidSetting:
        return None
    if name == "persistent":
        return _persistent_flags(settings)
    if name == "shortened":
        inner = [key for key, value in settings.items() if isinstance(value, Mapping)]
        same = all(settings[key] == usual.get(key) for key in settings if key not in (*inner, "quick"))
        flags = _strategy_flags(settings[inner[0]]) if len(inner) == 1 and same else None
        return None if flags is None else [*flags, "--shorten" if settings.get("quick") else "--shorten-thoroughly"]
    flags = ["--strategy", str(name)]
    for key, value in settings.items():
        if key == "name" or value == usual.get(key):
            continue
        if key not in FLAGS or isinstance(value, (Mapping, list)):
            return None
        flag = f"--{key.replace('_', '-')}"
        flags += [flag] if value is True else [flag, str(value)]
    return flags


def _persistent_flags(settings: Mapping[str, Any]) -> list[str] | None:
    """Those of the greedy search, where the attempts that follow it are the usual ones."""
    inner = from_plain(settings["strategy"])
    same = isinstance(inner, Greedy) and plain(Persistent(inner)) == dict(settings)
    flags = _strategy_flags(settings["strategy"]) if same else None
    return None if flags is None else ["--strategy", "persistent", *flags[2:]]


def _recipe_flags(recipes: Sequence[Mapping[str, Any] | None]) -> list[str] | None:
    """Flags for the recipe of all variants; None where they differ."""
    first = recipes[0]
    if any(recipe != first for recipe in recipes):
        return None
    flags: list[str] = []
    for field, value in (first or {}).items():
        if field == "options":
            for key, option in value.items():
                words = ",".join(map(json.dumps, option if isinstance(option, list) else [option]))
                flags += ["--optimizer-option", f"{key}={words}"]
        else:
            flag = "descent-steps" if field == "max_steps" else field.replace("_", "-")
            flags += [f"--{flag}", "none" if value is None else str(value)]
    return flags


def _call(record: SweepRecord) -> tuple[str, ...]:
    more = "align=True, " if record.align else ""
    more += "recipe=..., " if any(variant.recipe for variant in record.variants) else ""
    more += "checkpoints=..., " if record.ends == "given" else ""
    problems = ", ".join(f"{variant.name!r}: ..." for variant in record.variants)
    return (
        f"ws.sweep({{{problems}}}, {list(record.thresholds)!r}, pairs={record.pairs}, bind={record.bind!r}, "
        f"ends={record.ends!r}, seed={record.seed}, tries={record.tries}, strategy=..., stop=..., {more}store='DIR')",
    )
