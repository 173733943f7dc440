"""What EXPERIMENTS.md says of experiments/one_cycle.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tables import read, table

TRAINING = """## Networks sooner: one cycle of the learning rate

`python experiments/one_cycle.py`; CPU seconds and gradient steps until a network of CIFAR-10 is first seen at a test
error, looks included, one network of each kind by each recipe. *Adam, .001*: what networks are trained by unless a
recipe is named, with a look every 20 steps. *One cycle*: `Recipe.one_cycle` of {steps} steps, with a look every
{every}; *smoothed, augmented*: labels smoothed by .1, images shifted and mirrored ([how to take
it](docs/your-own-model.md#training-networks-fast)). {sizes}
"""
LEVELS = {"resnet8": (0.7, 0.65, 0.6), "cnn": (0.65, 0.6, 0.55)}


def section() -> str:
    """A table of the seconds to each error, and the ratios."""
    result = read("one_cycle")
    if result is None:
        return ""
    sizes = "; ".join(
        f"{net}: width {own['width']}, {own['train_size']} training images, {own['test_size']} test images"
        for net, own in result["nets"].items()
    )
    rows = [
        (own["net"], own["recipe"], f"{level:g}", *_first(own, level), f"{_lowest(own):.3f}")
        for own in sorted(result["rows"], key=lambda own: own["net"])
        for level in LEVELS[own["net"]]
    ]
    headings = ("network", "recipe", "test error", "CPU seconds", "steps", f"least error in {result['steps']} steps")
    text = TRAINING.format(steps=result["steps"], every=max(1, result["steps"] // 16), sizes=f"{sizes}.")
    return "\n".join([text, table(headings, rows), _finding(result["rows"])])


def _finding(rows: Sequence[Mapping[str, Any]]) -> str:
    """Seconds by one cycle over those by the first recipe, at the lowest error that all of a network's reach."""
    words = []
    for net, levels in LEVELS.items():
        own = {row["recipe"]: row for row in rows if row["net"] == net}
        reached = [level for level in levels if all(_lowest(row) <= level for row in own.values())]
        if not reached:
            continue
        plain, *others = ((recipe, float(_first(row, min(reached))[0])) for recipe, row in own.items())
        ratios = " and ".join(f"{seconds / plain[1]:.2f} by {recipe}" for recipe, seconds in others)
        words.append(f"{net} to an error of {min(reached):g}: {ratios}")
    return f"CPU seconds over those by Adam, .001: {'; '.join(words)}.\n"


def _first(own: Mapping[str, Any], level: float) -> tuple[str, str]:
    """Seconds and steps at the first look at most so high."""
    found = next(((seconds, steps) for seconds, steps, error in own["looks"] if error <= level), None)
    return ("–", "–") if found is None else (f"{found[0]:.1f}", f"{found[1]}")


def _lowest(own: Mapping[str, Any]) -> float:
    return min(error for _, _, error in own["looks"])
