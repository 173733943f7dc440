"""What the experiments of Section V have in common: a sweep, and its summary as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import weightstring as ws
from weightstring.codec import for_json
from weightstring.problem import ModuleProblem
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.statistics import Interval, mean_of
from weightstring.study.sweep.summary import Summary, beads_law
from weightstring.study.sweep.trivial import trivial_levels

RESULTS = Path(__file__).parent / "results"


def described(description: str, pairs: int) -> argparse.ArgumentParser:
    """A parser of the options that all have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=pairs, help="at each threshold (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="directory or file of the task's data")
    parser.add_argument("--store", type=Path, help="keep the runs here, to resume and to look at")
    parser.add_argument("--engine", default="auto", help="how networks are computed (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a small version, whose results are not kept")
    return parser


def options(description: str, pairs: int) -> argparse.Namespace:
    """The options that all have."""
    return described(description, pairs).parse_args()


def swept(
    name: str,
    problems: ModuleProblem | Mapping[str, ModuleProblem],
    thresholds: Sequence[float],
    given: argparse.Namespace,
    setting: Mapping[str, Any],
    in_pieces: bool = False,
    **how: Any,
) -> ws.Sweep:
    """Sweep, print the summary, and keep it as ``results/<name>.json``; in pieces: after each pair."""
    several = problems if isinstance(problems, Mapping) else {"all": problems}
    for problem in several.values() if given.engine != "auto" else ():
        problem.use_engine(given.engine)
    resumed = given.store is not None and given.store.exists()
    started = time.perf_counter()
    pairs = min(given.pairs, 3) if given.quick else given.pairs
    falling = sorted(thresholds, reverse=True)
    pieces = [(falling, pairs)]
    if in_pieces and given.store:  # which holds what earlier pieces found
        pieces = [(falling[: i + 1], n) for i in range(len(falling)) for n in range(1, pairs + 1)]
    for levels, count in pieces:
        found = ws.sweep(problems, levels, pairs=count, store=given.store, **how)
        trivial = SweepDirectory(given.store).trivial() if given.store else {}
        kept = _kept(found, several, setting, trivial, None if resumed else time.perf_counter() - started)
        if not given.quick:
            keep(name, beside_known(name, kept))
    return found


def beside_known(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, and the levels that are kept already with more pairs, or were not asked for now."""
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("setting") != found["setting"]:
        return dict(found)
    rows = {(own["variant"], own["threshold"]): own for own in known["summary"]}
    for own in found["summary"]:
        place = own["variant"], own["threshold"]
        if place not in rows or own["pairs"] >= rows[place]["pairs"]:
            rows[place] = own
    if list(rows.values()) == list(found["summary"]):
        return dict(found)
    rest = {
        "seconds": None,
        "beads laws": dict.fromkeys(found["beads laws"]),
    }  # over pairs, which are not here
    return {**found, **rest, "summary": [rows[place] for place in sorted(rows, key=lambda at: (at[0], -at[1]))]}


def _kept(
    found: ws.Sweep,
    several: Mapping[str, ModuleProblem],
    setting: Mapping[str, Any],
    trivial: Mapping[str, Any],
    seconds: float | None,
) -> dict[str, Any]:
    """What is kept of a sweep; its summary is printed."""
    laws = {name: beads_law([row for row in found.rows if row.variant == name]) for name in several}
    for own in found.summary:
        length, beads = own.means["normalized_length"], own.means["beads"]
        print(
            f"{own.variant:>16} {own.threshold:8g} {own.pairs:4d} pairs, connected {own.connected.value:.2f}, "
            f"length {length.value:.3f}, beads {beads.value:.1f}",
            flush=True,
        )
    return {
        "setting": dict(setting),
        "seconds": None if seconds is None else round(seconds, 1),
        "cpu threads": torch.get_num_threads(),
        "engine": next(iter(several.values())).engine_choice().name,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "trivial": trivial
        if trivial
        else {form: trivial_levels(own, found.plan.bind) for form, own in several.items()},
        "beads laws": {name: None if law is None else law._asdict() for name, law in laws.items()},
        "summary": [asdict(own) | {"distance": _distance(found, own)} for own in found.summary],
    }


def _distance(found: ws.Sweep, own: Summary) -> Interval:
    """How far the ends of connected pairs lie apart."""
    rows = [row for row in found.rows if (row.variant, row.threshold) == (own.variant, own.threshold)]
    return mean_of([row.distance for row in rows if row.connected], found.plan.seed)


def keep(name: str, result: object) -> None:
    """Write a result in full."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(for_json(result), indent=1) + "\n")
    print(f"kept {path.name}")
