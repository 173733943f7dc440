"""The options that choose and configure a strategy. Nothing here imports PyTorch."""

from __future__ import annotations

import argparse
from typing import Any

from weightstring.cli.values import whole

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
"""What each strategy takes; all of it is None where it was not given."""


def add_strategy(parser: argparse.ArgumentParser, default: str = "greedy") -> None:
    """Add the options to a command's parser."""
    group = parser.add_argument_group("strategy")
    group.add_argument(
        "--strategy",
        choices=list(OPTIONS),
        default=default,
        help="persistent: greedy, and where that fails other attempts; sinking: breadth-first, and from where that "
        "stalls greedy at lower and lower thresholds (default: %(default)s)",
    )
    group.add_argument("--alpha", type=float, metavar="A", help="beads aim at A * L0 (default: 0.95)")
    group.add_argument("--max-depth", type=int, metavar="D", help="splits in succession (default: 10)")
    group.add_argument("--retries", type=whole, metavar="N", help="of a failed descent (default: 5)")
    group.add_argument(
        "--stall-depths", type=whole, metavar="K", help="stalled after K splits without gain, 0: never (default: 5)"
    )
    group.add_argument(
        "--stall-fall", type=float, metavar="F", help="which share over L0 must fall meanwhile (default: 0.02)"
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
    group.add_argument("--updates", choices=["jacobi", "red-black"], help="who moves at once (default: jacobi)")
    group.add_argument("--ends", choices=["held", "free"], help="whether the ends descend too (default: held)")
    group.add_argument("--respace", action="store_true", default=None, help="spread beads evenly after each level")
    group.add_argument("--bends", type=int, metavar="N", help="control points of a curve (default: 1, of autoneb 3)")
    group.add_argument("--points", type=int, metavar="N", help="beads on a Bézier curve (default: 9)")
    group.add_argument("--shorten", action="store_true", help="shorten the string that was found")


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given."""
    names = dict.fromkeys(name for taken in OPTIONS.values() for name in taken)
    return {name: value for name in names if (value := getattr(options, name)) is not None}
