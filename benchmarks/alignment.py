"""What aligning one of two networks first brings (Section IV): the line's barrier, the string, and the time it takes.

    python -m benchmarks alignment [--quick] [--parts line,strings,time]

Three parts, each in this process, its sides one after the other on the same pair:

- ``line``: networks with three hidden layers of 512 units, independently trained on all 60,000 MNIST images until
  the evaluation loss is ``--until``. The barrier is the largest sampled evaluation loss of the straight line over the
  mean of its ends. Each way to match units is a call of its own, which takes the copy nearest the first model
  (``by="distance"``), so that no barrier is looked at before it is reported; ``align()`` with its defaults, which
  takes the candidate of the lowest barrier, is what is timed for users.
- ``strings``: ``connect`` with ``align=True`` and without, at the same threshold.
- ``time``: how long ``align`` takes by width, and what with, by Python's own profiler.

``--quick`` tries everything out with small networks and few pairs, and keeps nothing.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

import weightstring as ws
from benchmarks.measuring import asked, keep, parser, timed
from weightstring.descent import Descended, Start, descend
from weightstring.path import Objective
from weightstring.tasks import load_task

ALLOWED = 0.05
"""What may be left of the line's barrier after matching by weights; published is zero."""
MARGINS = (1.02, 1.1)
"""Thresholds of the strings, as multiples of the larger end's evaluation loss."""
SHORT = 0.3
"""Evaluation loss to which networks are trained that are timed only."""

WAYS: dict[str, dict[str, object]] = {
    "weights": {"methods": ("weights",), "rescale": False, "by": "distance"},
    "weights, rescaled": {"methods": ("weights",), "by": "distance"},
    "activations": {"methods": ("activations",), "rescale": False, "by": "distance"},
    "activations, rescaled": {"methods": ("activations",), "by": "distance"},
    "align(), as it is": {},
}

NOTES = (
    "A barrier is the largest sampled evaluation loss of the straight line over the mean of its ends. It cannot be "
    "less than half the difference of the ends; what remains above the larger end has a column of its own.",
    "The normalized length of a string is its length over the distance of its own ends. Alignment brings the ends "
    "nearer, so that a string may be shorter by far and its normalized length hardly less: both are given.",
    f"Seconds of `align`: networks trained until evaluation loss {SHORT}, on MNIST's 10,000 test images; parts "
    "by Python's profiler. The last three columns are of the same call: how much of a barrier goes depends "
    "on the width.",
)


class Size(NamedTuple):
    """How much is measured."""

    hidden: str
    until: float
    line_pairs: int
    string_pairs: int
    string_tasks: tuple[str, ...]
    widths: tuple[int, ...]


FULL = Size("512-512-512", 0.08, 3, 5, ("digits", "MNIST"), (128, 256, 512, 1024))
QUICK = Size("64-64-64", 0.25, 1, 2, ("digits",), (64, 128))


def main(arguments: Sequence[str]) -> None:
    """Measure the parts asked for and keep them all."""
    options = parser(__doc__)
    options.add_argument("--parts", default="line,strings,time")
    options.add_argument("--until", type=float, help="evaluation loss of the networks of the first part")
    options.add_argument("--data", type=Path)
    chosen = asked(options, arguments)
    size = QUICK if chosen.quick else FULL
    if chosen.until is not None:
        size = size._replace(until=chosen.until)
    data = {} if chosen.data is None else {"data": str(chosen.data)}
    parts = {"line": line, "strings": strings, "time": timing}
    started = time.perf_counter()
    found: dict[str, object] = {}
    for part in chosen.parts.split(","):
        found |= parts[part](size, data)
    found = {"notes": NOTES, "minutes of the whole run": round((time.perf_counter() - started) / 60, 1), **found}
    keep("alignment", found, chosen.quick or set(chosen.parts.split(",")) != parts.keys())


def trained(problem: ws.ModuleProblem, seed: int, until: float) -> Descended:
    """A network trained to ``until`` from random, and how many steps that took; as ``problem.fit`` does it."""
    start = Start(problem.initial(seed), until, until, "fit")
    (found,) = descend(problem, Objective(problem), [start], seed=seed)
    if found.status != "reached":
        raise RuntimeError(f"seed {seed} does not reach {until}: best {found.value:.4g}")
    return found


def line(size: Size, data: dict[str, str]) -> dict[str, object]:
    """The straight line between independently trained networks, before and after each way to align."""
    problem = load_task("mnist", {"hidden": size.hidden, **data})
    epoch = -(-problem.train_size // problem.batch_size)
    ends_rows, rows = [], []
    for pair in range(size.line_pairs):
        seeds = 2 * pair, 2 * pair + 1
        ends = [trained(problem, seed, size.until) for seed in seeds]
        a, b = (end.theta for end in ends)
        measured = problem.measure(torch.stack([a, b]), problem.quantities)
        ends_rows += [
            {
                "seed": seed,
                "epochs": end.steps / epoch,
                **{
                    words: float(measured[name][i])
                    for words, name in (
                        ("evaluation loss", "loss"),
                        ("train loss", "train_loss"),
                        ("evaluation error", "error"),
                        ("train error", "train_error"),
                    )
                },
            }
            for i, (seed, end) in enumerate(zip(seeds, ends, strict=True))
        ]
        # The line is at least as high as its worse end, so that no barrier over the mean is below this.
        least = abs(ends[0].value - ends[1].value) / 2
        for way, settings in WAYS.items():
            aligned = ws.align(problem, a, b, **settings)
            before, after = barriers(problem, a, b, aligned.theta)
            rows.append(
                {
                    "pair": pair,
                    "matched by": way,
                    "barrier before": before,
                    "barrier after": after,
                    "after / before": after / before,
                    "after, over the larger end": round(after - least, 7),
                    "distance before": aligned.distance_before,
                    "distance after": aligned.distance,
                    "seconds": aligned.seconds,
                    "taken": aligned.chosen.method + (", rescaled" if aligned.chosen.rescaled else ""),
                }
            )
            print(rows[-1], flush=True)
    medians = [summary(rows, "matched by", way, {"pair": "median"}) for way in WAYS]
    largest = {
        way: max(float(row["after / before"]) for row in rows if row["matched by"] == way)
        for way in WAYS
        if way.startswith("weights")
    }
    return {
        "networks of the line": f"784-{size.hidden}-10 on MNIST, trained until evaluation loss {size.until}",
        **{f"barrier left by {way}, largest of all pairs": f"{share:.2%}" for way, share in largest.items()},
        "at most 5 % left in every pair": all(share <= ALLOWED for share in largest.values()),
        "the line's ends": ends_rows,
        "the line's barrier": rows + medians,
    }


def strings(size: Size, data: dict[str, str]) -> dict[str, object]:
    """Strings with alignment and without, on the same pairs."""
    made: dict[str, Callable[[], tuple[ws.ModuleProblem, float]]] = {
        "digits": lambda: (load_task("digits"), 0.3),
        "MNIST": lambda: (load_task("mnist", {"train_size": "10000", **data}), 0.15),
    }
    tasks = {task: made[task]() for task in size.string_tasks}
    counts: list[dict[str, object]] = []
    tables: dict[str, object] = {}
    for task, (problem, until) in tasks.items():
        problem.engine_choice()
        # A problem is traced once, and the first trace of a process loads the tracer: no pair is to pay for that.
        ws.align(problem, problem.initial(0), problem.initial(1), restarts=1)
        seeds = range(2 * size.string_pairs)
        ends = [trained(problem, seed, until) for seed in seeds]
        for margin in MARGINS:
            rows = []
            for pair, (a, b) in enumerate(zip(ends[::2], ends[1::2], strict=True)):
                threshold = margin * max(a.value, b.value)
                order = ("plain", "aligned") if pair % 2 == 0 else ("aligned", "plain")
                both = {side: connected(problem, a, b, threshold, side) for side in order}
                line_before = both["aligned"].pop("line's barrier before")
                both["plain"]["line's barrier"] = line_before
                rows += [{"pair": pair, **both[side]} for side in ("plain", "aligned")]
                print(*rows[-2:], sep="\n", flush=True)
            sides = [summary(rows, "side", side, {"pair": "median"}) for side in ("plain", "aligned")]
            tables[f"{task}, threshold {margin} × the larger end"] = [*rows, *sides, ratios(rows)]
            counts.append({"task": task, "threshold": f"{margin} × the larger end", **compared(rows)})
    return {
        "networks of the strings": ", ".join(
            f"{task}: evaluation loss {until}, {problem.train_size} training examples"
            for task, (problem, until) in tasks.items()
        ),
        "in how many pairs alignment makes it no worse": counts,
        **tables,
    }


def connected(
    problem: ws.ModuleProblem, a: Descended, b: Descended, threshold: float, side: str
) -> dict[str, float | str | bool]:
    """One side of one pair."""
    started = time.perf_counter()
    found = ws.connect(problem, a.theta, b.theta, threshold, align=side == "aligned", progress=False)
    whole = time.perf_counter() - started
    record = found.alignment
    row: dict[str, float | str | bool] = {
        "side": side,
        "connected": found.connected,
        "beads": len(found.string),
        "normalized length": found.string.normalized_length,
        "length": found.string.length,
        "distance of the ends": found.string.distance,
        "line's barrier": float("nan") if record is None else float(record.barrier),
        "gradient steps": found.steps,
        "search, seconds": found.seconds,
        "alignment, seconds": 0.0 if record is None else record.seconds,
        "all, seconds": whole,
        "taken": "" if record is None else record.method + (", rescaled" if record.rescaled else ""),
    }
    return row if record is None else {**row, "line's barrier before": float(record.barrier_before)}


def barriers(problem: ws.ModuleProblem, a: torch.Tensor, *others: torch.Tensor) -> list[float]:
    """Over the mean of the ends, of the straight lines from one model to others, sampled as a string is."""
    return [ws.WeightString(problem, torch.stack([a, b])).barrier("over_mean") for b in others]


def summary(rows: Sequence[dict[str, object]], column: str, value: str, head: dict[str, object]) -> dict[str, object]:
    """Medians of the numbers of one side; of yes and no how many, and of words nothing."""
    own = [row for row in rows if row[column] == value]
    found: dict[str, object] = {}
    for name, first in own[0].items():
        if name in head or name == column:
            found[name] = head.get(name, value)
        elif isinstance(first, bool):
            found[name] = f"{sum(bool(row[name]) for row in own)} of {len(own)}"
        elif isinstance(first, str):
            found[name] = ""
        else:
            found[name] = statistics.median(row[name] for row in own)
    return found


def ratios(rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """Medians of aligned over plain, pair by pair."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    found: dict[str, object] = {"pair": "median", "side": "aligned / plain"}
    for name, first in rows[0].items():
        if name in found:
            continue
        plain_is_zero = any(not plain[name] for plain, _ in pairs)
        found[name] = (
            ""
            if isinstance(first, bool | str) or plain_is_zero
            else statistics.median(aligned[name] / plain[name] for plain, aligned in pairs)
        )
    return found


def compared(rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """In how many pairs the aligned string is no worse than the plain one."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    of = f" of {len(pairs)}"
    words = {
        "beads": "no more beads",
        "normalized length": "normalized length no longer",
        "length": "length no longer",
        "gradient steps": "no more gradient steps",
        "all, seconds": "no more seconds, alignment counted",
    }
    return {
        "both connected": f"{sum(bool(plain['connected'] and aligned['connected']) for plain, aligned in pairs)}{of}",
        **{
            text: f"{sum(aligned[name] <= plain[name] for plain, aligned in pairs)}{of}" for name, text in words.items()
        },
        "fewer beads": f"{sum(aligned['beads'] < plain['beads'] for plain, aligned in pairs)}{of}",
    }


def timing(size: Size, data: dict[str, str]) -> dict[str, object]:
    """Seconds of align by the width of three hidden layers, and what they go into."""
    rows = []
    for width in size.widths:
        problem = load_task("mnist", {"hidden": "-".join([str(width)] * 3), **data})
        a, b = (trained(problem, seed, SHORT).theta for seed in (0, 1))
        profile = cProfile.Profile()
        aligned = profile.runcall(ws.align, problem, a, b)
        before, after = barriers(problem, a, b, aligned.theta)
        rows.append(
            {
                "hidden": f"3 × {width}",
                "parameters": problem.size,
                "align()": aligned.seconds,
                **parts_of(profile, aligned.seconds),
                "by weights alone": ws.align(problem, a, b, methods=("weights",)).seconds,
                "measuring one model": timed(lambda problem=problem, a=a: problem.measure(a.unsqueeze(0)))[1].cpu,
                "barrier before": before,
                "barrier after": after,
                "after / before": after / before,
            }
        )
        print(rows[-1], flush=True)
    return {"seconds of align by width, and the barrier": rows}


def parts_of(profile: cProfile.Profile, whole: float) -> dict[str, float]:
    """Seconds of an ``align`` by what they were spent on."""
    entries = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    found = {(Path(file).name, name): entry for (file, _, name), entry in entries.items()}

    def spent(file: str, name: str) -> float:
        return found[file, name][3]

    # Matching is called for the weights through _by_weights, for the activations by `matched` itself.
    of_match = found["matching.py", "match"][4]
    matching = sum(entry[3] for (_, _, caller), entry in of_match.items() if caller == "matched")
    parts = {
        "tracing": spent("finding.py", "find"),
        "matching weights, 3 starts": spent("candidates.py", "_by_weights"),
        "of these assignments": sum(e[3] for (_, name), e in found.items() if "linear_sum_assignment" in name),
        "matching activations": matching + spent("activations.py", "recorded"),
        "rescaling": spent("rescaling.py", "canonical") + spent("rescaling.py", "nearest"),
        "barriers": spent("lines.py", "sketch") + spent("lines.py", "sampled"),
    }
    return {**parts, "rest": whole - sum(value for name, value in parts.items() if not name.startswith("of "))}
