"""What was to be reached in speed, and what the kept results say; the head of BENCHMARKS.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.measuring import kept

Row = dict[str, object]
OURS, SHORTENED, CERTIFIED = "weightstring", "weightstring, shortened", "weightstring, certified"
WHOLE, EARLY, PLAIN = "of the fastest with whole grids", "of the fastest rival", "of plain greedy"


class Target(NamedTuple):
    """A ratio to be reached; ``before`` was measured when the target was set, at commit ab7cbc8, by hand or script."""

    work: str
    before: str
    limit: float
    at_least: bool
    measured: Callable[[], float | None]

    def row(self) -> Row:
        """As it is shown."""
        value = self.measured()
        reached = value is not None and (value >= self.limit if self.at_least else value <= self.limit)
        return {
            "work": self.work,
            "before": self.before,
            "to reach": f"{'≥' if self.at_least else '≤'} {self.limit:g}",
            "measured": "not measured" if value is None else f"{value:.3g}",
            "reached": "yes" if reached else "**no**",
        }


def rival(task: str, bind: str, side: str, column: str) -> Callable[[], float | None]:
    """A column of one side in a table of `rivals`."""

    def value() -> float | None:
        found = _sides(task, bind).get(side, {}).get(column)
        return None if found is None else float(found)

    return value


def longer(task: str) -> Callable[[], float | None]:
    """Our shortened string's median normalized length over the shortest rival's."""

    def value() -> float | None:
        sides = _sides(task, "evaluation")
        others = [
            float(row["normalized length"])
            for side, row in sides.items()
            if not side.startswith(("weightstring", "plain")) and row["found"] == row["pairs"]
        ]
        own = sides.get(SHORTENED)
        return float(own["normalized length"]) / min(others) if own and others else None

    return value


def figure(name: str, key: str) -> Callable[[], float | None]:
    """One number of a result."""
    return lambda: kept(name).get(key)  # type: ignore[return-value]


def certificate(network: str, column: str) -> Callable[[], float | None]:
    """One number of the table of certificates."""

    def value() -> float | None:
        rows: Sequence[Row] = kept("certificates").get("certificates", [])  # type: ignore[assignment]
        return next((float(row[column]) for row in rows if network in str(row["network"])), None)

    return value


def _sides(task: str, bind: str) -> dict[str, Row]:
    rows: Sequence[Row] = kept("rivals").get(f"{task}, threshold on the {bind} loss", [])  # type: ignore[assignment]
    return {str(row["side"]): row for row in rows}


PAIR, STRING = "MNIST test set, independent", "MNIST test set, string"
GRID64, GRID32 = "ratio to the plain grid", "ratio to the grid"
TARGETS = (
    Target("digits pair, of the fastest rival", "3.1", 0.3, False, rival("digits", "evaluation", OURS, WHOLE)),
    Target("the same, its looks ended early", "", 0.3, False, rival("digits", "evaluation", OURS, EARLY)),
    # With whole grids no rival connects every pair there within its 1,500 gradients.
    Target("MNIST MLP pair, looks ended early", ".40", 0.1, False, rival("mnist-mlp", "evaluation", OURS, EARLY)),
    Target("the same, certified; rivals sampled", ".6", 0.2, False, rival("mnist-mlp", "evaluation", CERTIFIED, EARLY)),
    Target("small CNN pair, of plain greedy", ".21", 0.12, False, rival("small-cnn", "evaluation", OURS, PLAIN)),
    Target("digits, on the train loss, of the fastest rival", "", 0.5, False, rival("digits", "train", OURS, EARLY)),
    Target("MNIST MLP, on the train loss", "", 0.5, False, rival("mnist-mlp", "train", OURS, EARLY)),
    Target("small CNN, on the train loss", "", 0.5, False, rival("small-cnn", "train", OURS, EARLY)),
    Target("256 digits pairs in one call, times faster", "3.3", 8, True, figure("many-digits", "times faster")),
    Target("256 polynomial pairs, times faster", "7.3", 30, True, figure("many-polynomial", "times faster")),
    Target("quadratic sweep, 320 pairs, no compiler, of plain", "12", 25, True, figure("sweep", "times faster, stack")),
    Target("the same with a compiler", "22", 50, True, figure("sweep", "times faster, native")),
    Target("certificate of an MNIST pair, of a float64 grid", "1.6", 1, False, certificate(PAIR, GRID64)),
    Target("the same, of our float32 grid", "15.9", 6, False, certificate(PAIR, GRID32)),
    Target("certificate of an MNIST string, of a float64 grid", ".7", 0.5, False, certificate(STRING, GRID64)),
    Target("the same, of our float32 grid", "6.2", 3, False, certificate(STRING, GRID32)),
    Target("digits, length when shortened, of the shortest rival", "", 1, False, longer("digits")),
    Target("the same: seconds of the fastest rival", "", 1, False, rival("digits", "evaluation", SHORTENED, WHOLE)),
    Target("MNIST MLP, length when shortened, of the shortest rival", "", 1, False, longer("mnist-mlp")),
    Target("the same: seconds of the fastest rival", "", 1, False, rival("mnist-mlp", "evaluation", SHORTENED, EARLY)),
)  # fmt: skip


def rows() -> list[Row]:
    """All of them, in order."""
    return [target.row() for target in TARGETS]


def limits() -> list[str]:
    """What limits the ratios of pairs that are not reached, from the results: a line each."""
    found = [
        limit(TARGETS[:2], "digits"),
        limit(TARGETS[2:3], "mnist-mlp"),
        certified(TARGETS[3], "mnist-mlp"),
        looked(TARGETS[7], "small-cnn", "Bézier, 3 points"),
    ]
    return [line for line in found if line]


def limit(targets: Sequence[Target], task: str) -> str:
    """The seconds that targets of our plain search leave, those that arithmetic takes, and where the others go."""
    own, values = _sides(task, "evaluation").get(OURS), [target.measured() for target in targets]
    if own is None or None in values:
        return ""
    seconds = float(own["CPU seconds"])
    left = [f"{seconds * target.limit / value:.3g}" for target, value in zip(targets, values, strict=True) if value]
    computed: Sequence[Row] = kept("arithmetic").get(task, [])  # type: ignore[assignment]
    product = "at the rate of a large product"
    parts = "; ".join(
        f"{row['what']} {float(row['CPU seconds']):.3g}" + (f" ({float(row[product]):.3g})" if product in row else "")
        for row in computed
    )
    phases: Sequence[Row] = kept("breakdown").get(task, [])  # type: ignore[assignment]
    spent = ", ".join(
        f"{row['phase']} {row['percent']} %" for row in phases if row["phase"] != "whole" and row["percent"]
    )
    return (
        f"- {'; '.join(target.work for target in targets)}: {seconds:.3g} CPU seconds; there are to be "
        f"{', '.join(left)}. What it computes (`arithmetic`), in brackets at the rate of a large matrix product: "
        f"{parts}. Where a user's first connect goes, its directory and its page too (`breakdown`): {spent}."
    )


def certified(target: Target, task: str) -> str:
    """What a certificate adds to a search."""
    sides, value = _sides(task, "evaluation"), target.measured()
    if not {OURS, CERTIFIED} <= sides.keys() or value is None:
        return ""
    alone, both = (float(sides[side]["CPU seconds"]) for side in (OURS, CERTIFIED))
    grid = certificate(STRING, GRID32)()
    beside = f", {grid:.3g} times our own float32 grid of a string" if grid else ""
    return (
        f"- {target.work}: {both:.3g} CPU seconds, of which the search takes {alone:.3g}; there are to be "
        f"{both * target.limit / value:.3g}. The rest are the trace of the module and the certificate{beside}."
    )


def looked(target: Target, task: str, other: str) -> str:
    """What measurements of the whole training set take of a search under a threshold on it, beside a rival's."""
    sides, value = _sides(task, "train"), target.measured()
    if not {OURS, other} <= sides.keys() or value is None or value <= target.limit:
        return ""
    own, rival = (sides[side] for side in (OURS, other))
    return (
        f"- {target.work}: {float(own['CPU seconds']):.3g} CPU seconds, on a machine that other work shared; there are "
        f"to be {float(own['CPU seconds']) * target.limit / value:.3g}. It takes {own['gradients']:g} gradients where "
        f"{other}, takes {rival['gradients']:g}, but measures {own['evaluations']:g} models on all training images, "
        f"where that measures {rival['evaluations']:g}. A look at a part of them comes first already; to accept a "
        "segment takes nine on all, and a string has several: only chains of fewer beads would spare them."
    )


CALLS = {"digits": (145.25, 44.44, 256), "polynomial": (268.29, 36.62, 222)}
"""Seconds of 256 pairs one after the other and in one call, and how many were connected, when the targets were set:
wall clock, commit 62c86e9."""
WAYS = ("one after the other", "in one call")


def calls() -> list[str]:
    """What limits large calls: a line a task, from the results."""
    lines = [
        line for task, before in CALLS.items() if (found := kept(f"many-{task}")) for line in call(task, before, found)
    ]
    return lines + without_a_compiler()


def without_a_compiler() -> list[str]:
    """What limits the quadratic sweep by tensor calls alone."""
    swept, steps = kept("sweep"), kept("steps")
    if not swept or not steps:
        return []
    engines = {row["engine"]: row for row in swept["engines"]}  # type: ignore[attr-defined]
    micro: dict[str, float] = steps["microseconds a bead-step"]  # type: ignore[assignment]
    plain, full = micro["plain"], micro["stack, 256 beads"]
    stack, native = engines["stack"], engines["native"]
    before, after = stack["before the reference"], stack["after it"]
    return [
        f"- quadratic sweep without a compiler: {stack['CPU seconds of the sweep']:g} CPU seconds for {swept['pairs']} "
        f"pairs, with one {native['CPU seconds of the sweep']:g}; on a shared machine: {before:g} before the "
        f"reference, {after:g} after it. In batches of 256 beads a step takes {full:g} µs a bead by tensor calls, "
        f"{plain / full:.0f} times less than the reference's {plain:g} (`steps`), where the arithmetic takes "
        f"{steps['floor, microseconds']}; the sweep as a whole is {stack['times faster']:g} times as fast: the hardest "
        "pairs try again to the end, in batches too small to share what a tensor call costs."
    ]


def call(task: str, before: tuple[float, float, int], found: Row) -> list[str]:
    """What one call takes, what it took, and what of it could be shared."""
    parts: Sequence[Row] = found.get("where the CPU seconds go", [])  # type: ignore[assignment]
    if not parts:
        return []
    pairs, alone, own = (float(found[key]) for key in ("pairs", *(f"CPU seconds {way}" for way in WAYS)))  # type: ignore[arg-type]
    native = sum(float(row["in one call"]) for row in parts if "native" in str(row["part"]))
    rest = ", ".join(
        f"{row['part']} {1000 * float(row['in one call']) / pairs:.3g}"
        for row in parts
        if "native" not in str(row["part"])
    )
    then, then_at_once, then_connected = before
    products = float(found["CPU seconds of its products at the rate of a large one"])  # type: ignore[arg-type]
    share = 256 / pairs
    return [
        f"- {pairs:g} {task} pairs: {alone:g} CPU seconds one after the other, {own:g} in one call; "
        f"{found['connected in one call']} are connected. When the target was set, 256 took {then:g} and "
        f"{then_at_once:g} wall seconds, and {then_connected} were connected: by itself a pair has become "
        f"{then / alone / share:.2g} times as fast, in one call {then_at_once / own / share:.2g} times; one call is "
        f"{then / own / share:.3g} times as fast as one after the other was then. Native code, which computes each "
        f"model by itself either way, takes {native:.3g} of the call's seconds, and would take {products:g} at the "
        f"rate of a large matrix product: if all else were free, the ratio could not be over {alone / native:.2g}, at "
        f"that rate {alone / products:.3g}. A pair's other milliseconds: {rest}; each search has its own rounds, whose "
        "Python nothing shares with others."
    ]
