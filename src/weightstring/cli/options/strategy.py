"""The options that choose and configure a strategy."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

import weightstring as ws
from weightstring.cli.options.values import whole
from weightstring.errors import InvalidSetting

if TYPE_CHECKING:
    from weightstring.search import Strategy

_GREEDY = ("alpha", "max_depth", "insert", "retries", "stall_depths", "stall_fall")

OPTIONS = {
    "persistent": _GREEDY,
    "greedy": _GREEDY,
    "as-in-the-paper": ("alpha", "max_depth"),
    "constrained": (*_GREEDY, "constraint"),
    "breadth-first": ("alpha1", "constraint", "updates", "ends", "respace"),
    "sinking": ("alpha1", "constraint", "updates", "respace"),
    "bezier": ("bends", "points"),
    "poly-chain": ("bends",),
    "autoneb": ("bends",),
}
"""What each strategy of weightstring's own takes; all of it is None where it was not given."""


def add_strategy(parser: argparse.ArgumentParser, default: str = "greedy", told: str = "%(default)s") -> None:
    """Add the options to a command's parser; what the default is may be told in other words."""
    others = [name for name in OPTIONS if name not in ("persistent", "sinking")]
    group = parser.add_argument_group("strategy")
    group.add_argument(
        "--strategy",
        metavar="NAME",
        default=default,
        help="persistent: greedy, and where that fails other attempts; sinking: breadth-first, and from where that "
        f"stalls greedy at lower and lower thresholds; {', '.join(others)}, or one that the task's file or a "
        f"package registers (default: {told})",
    )
    group.add_argument("--alpha", type=float, metavar="A", help="beads aim at A * L0 (default: 0.95)")
    group.add_argument("--max-depth", type=int, metavar="D", help="splits in succession (default: 10)")
    group.add_argument("--retries", type=whole, metavar="N", help="of a failed descent (default: 5)")
    group.add_argument(
        "--stall-depths",
        type=whole,
        metavar="K",
        help="give up after K splits in succession without gain; 0: never (default: 5)",
    )
    group.add_argument(
        "--stall-fall", type=float, metavar="F", help="share of the excess over L0 that counts as gain (default: 0.02)"
    )
    group.add_argument("--insert", choices=["maximum", "midpoint"], help="where beads start (default: maximum)")
    group.add_argument(
        "--constraint",
        metavar="TIE",
        help="free, hyperplane, spring:ZETA, soft:KAPPA, or several joined by + (default: hyperplane)",
    )
    group.add_argument(
        "--alpha1", type=float, metavar="A1", help="segments may exceed the common level by this share (default: 0.05)"
    )
    group.add_argument("--updates", choices=["jacobi", "red-black"], help="which beads move at once (default: jacobi)")
    group.add_argument("--ends", choices=["held", "free"], help="whether the ends descend too (default: held)")
    group.add_argument("--respace", action="store_true", default=None, help="spread beads evenly after each level")
    group.add_argument("--bends", type=int, metavar="N", help="control points of a curve (default: 1, of autoneb 3)")
    group.add_argument("--points", type=int, metavar="N", help="beads on a Bézier curve (default: 9)")
    group.add_argument("--shorten", action="store_const", const="quickly", help="draw the string found tight")
    group.add_argument(
        "--shorten-thoroughly",
        dest="shorten",
        action="store_const",
        const="thoroughly",
        help="move its beads too, which takes many times as long as the search",
    )


def chosen_strategy(options: argparse.Namespace) -> Strategy[Any]:
    """The strategy that the options ask for.

    Raises:
        InvalidSetting: an option of another strategy is given, or a value is out of range.
    """
    from weightstring.search import Relay, Sinking
    from weightstring.search.strategies import from_plain

    taken, settings = _taken(options.strategy), _given(options)
    foreign = next((name for name in settings if name not in taken), None)
    if foreign is not None:
        flag = f"--{foreign.replace('_', '-')}"
        takers = " or ".join(name for name, names in OPTIONS.items() if foreign in names)
        raise InvalidSetting(f"{flag} is for --strategy {takers}, not {options.strategy}: leave it out, or choose that")
    begins = {"persistent": "greedy", "sinking": "breadth-first"}.get(options.strategy, options.strategy)
    strategy = from_plain({"name": begins, **settings})
    if options.strategy == "persistent":
        strategy = ws.Persistent(strategy)
    elif options.strategy == "sinking":
        strategy = Relay(strategy, Sinking())
    return ws.Shortened(strategy, quick=options.shorten == "quickly") if options.shorten else strategy


def _taken(name: str) -> tuple[str, ...]:
    """Which settings a strategy takes: of one from outside, those of its fields that have an option."""
    from weightstring.search.strategies import STRATEGIES

    if name in OPTIONS:
        return OPTIONS[name]
    return tuple(field.name for field in dataclasses.fields(STRATEGIES[name]))  # type: ignore[arg-type]


def _given(options: argparse.Namespace) -> dict[str, Any]:
    names = dict.fromkeys(name for taken in OPTIONS.values() for name in taken)
    return {name: value for name in names if (value := getattr(options, name)) is not None}
