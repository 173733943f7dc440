"""The tables that `rivals` makes of its rows: medians over pairs, and ratios to the rivals pair by pair."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.rates import RATES, searched_for

Row = dict[str, object]
WORDS = {"evaluate": "evaluation loss", "train": "train loss"}
NOTES = [
    "One process, one thread, sides in turns; CPU seconds of the whole process. Ends: plain Adam until an "
    "evaluation loss of .3 (digits), .15 (MNIST MLP) and .08 (CNN, 2,000 test images); the threshold is 1.02 × the "
    "larger end, of the loss named. `whole grids`: each look of a rival measures all 25 points, as the papers' code "
    "does; the others end a look at the first point over, and begin the next there, which makes rivals faster than "
    "published. `holds`: the largest loss on a dense grid of the whole curve is under the threshold: 401 points of "
    "digits; of MNIST MLP 101, of the CNN 101 of ours and 25 of rivals'; of the train loss 401, 25 and 25.",
    "Ratios are medians over pairs of CPU seconds over those of the fastest rival that connected every pair (one that "
    "did not spent 1,500 gradients in vain), each over the seconds that one rival took in the same visit, so that rows "
    "measured at different times compare. Each of our calls has a problem of its own, which has chosen its engine but "
    "measured nothing. `arithmetic` is what the side's own gradients, of three passes each, and evaluations would "
    "take at the rate of a large matrix product. A rate that was not the fastest of its search but the next, as the "
    "fastest fails on other pairs, has a note under the rates below: that is in its rival's favour.",
]


def tables(rows: Sequence[Row]) -> dict[str, object]:
    """One table for each task and each loss that is bound."""
    found: dict[str, object] = {}
    notes = list(NOTES)
    for task, bind in dict.fromkeys((str(row["task"]), str(row["bind"])) for row in rows):
        own: dict[str, list[Row]] = {}
        for row in rows:
            if (row["task"], row["bind"]) == (task, bind):
                own.setdefault(str(row["side"]), []).append(row)
        found[f"{task}, threshold on the {WORDS[bind]}"] = table(own)
        if any(map(is_rival, own)) and not searched_for(task, bind):
            notes.append(f"On the {WORDS[bind]} of {task} no rates were searched: rivals go at {RATES[1]:g}.")
    return {"notes": notes, **found}


def table(sides: dict[str, list[Row]]) -> list[Row]:
    """A row a side."""
    whole = fastest({side: own for side, own in sides.items() if side.endswith("whole grids")})
    early = fastest({side: own for side, own in sides.items() if is_rival(side)})
    return [
        {
            "side": side,
            "pairs": len(own),
            "found": sum(bool(row["found"]) for row in own),
            "holds": sum(bool(row["holds"]) for row in own),
            "CPU seconds": median(own, "CPU seconds"),
            "range": f"{min(map(cpu, own)):.3g}–{max(map(cpu, own)):.3g}",
            "wall seconds": median(own, "wall seconds"),
            "of the fastest rival": ratio(own, sides.get(early, [])),
            "of the fastest with whole grids": ratio(own, sides.get(whole, [])),
            "of plain greedy": ratio(own, sides.get("plain greedy", [])),
            "gradients": median(own, "gradients"),
            "evaluations": median(own, "evaluations"),
            "arithmetic, CPU seconds": median(own, "arithmetic, CPU seconds"),
            "normalized length": median(own, "normalized length"),
            "largest over threshold": largest(own),
            "commit": ", ".join(dict.fromkeys(str(row["commit"]) for row in own)),
        }
        for side, own in sides.items()
    ]


def is_rival(side: str) -> bool:
    """Neither ours nor the plain form of ours."""
    return not side.startswith(("weightstring", "plain"))


def cpu(row: Row) -> float:
    """Its CPU seconds."""
    return float(row["CPU seconds"])


def relative(row: Row) -> float:
    """Its seconds, in those of the rival that tells the machine's speed."""
    return cpu(row) / float(row["calibration"])


def fastest(sides: dict[str, list[Row]]) -> str:
    """The side of the least median among those that connected every pair; "" if none did."""
    reliable = [side for side, own in sides.items() if all(row["found"] for row in own)]
    return min(reliable, key=lambda side: statistics.median(map(relative, sides[side])), default="")


def ratio(own: list[Row], others: list[Row]) -> float | None:
    """Median over the pairs that both have."""
    by_pair = {row["pair"]: relative(row) for row in others}
    ratios = [relative(row) / by_pair[row["pair"]] for row in own if row["pair"] in by_pair]
    return statistics.median(ratios) if ratios else None


def median(own: list[Row], column: str) -> float | None:
    """Of those rows that have the column."""
    values = [float(row[column]) for row in own if column in row]
    return statistics.median(values) if values else None


def largest(own: list[Row]) -> float | None:
    """How high the highest curve is, in thresholds."""
    column = f"largest {WORDS[str(own[0]['bind'])]}"
    return max((float(row[column]) / float(row["threshold"]) for row in own if column in row), default=None)
