"""What EXPERIMENTS.md says of experiments/language.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tables import interval, read, table

from weightstring.study.sweep.statistics import mean_of, share_of

LANGUAGE = """Each end is the best state of its training, past which the evaluation loss rises again or steps run out.
The original's measured loss of 0 cannot happen here: losses are means over every word of the evaluation part, and a
second computation, by the module itself and a plain sum, must agree.
"""
HEADINGS = (
    "pair",
    "ends, perplexity",
    "threshold",
    "search",
    "barrier of the line, nats",
    "outcome",
    "beads",
    "length",
)
HEADINGS += ("largest sample, perplexity", "steps")
Pair = Mapping[str, Any]


def section() -> str:
    """Each network with its pairs."""
    parts = [_text("language"), _text("language_small", " --small")]
    if not any(parts):
        return ""
    return "\n".join(["## A language model in place of the Penn Treebank's\n", LANGUAGE, *filter(None, parts)])


def _text(name: str, options: str = "") -> str:
    result = read(name)
    if result is None:
        return ""
    pairs = result["pairs"]
    rows = [row for number, pair in enumerate(pairs) for row in _rows(number, pair)]
    setting = ", ".join(f"{key} {value}" for key, value in result["setting"].items())
    command = f"`python experiments/language.py --data FILE{options}`"
    searches = dict.fromkeys(row["search"] for pair in pairs for row in pair["rows"])
    means = " ".join(_means(search, [r for pair in pairs for r in pair["rows"] if r["search"] == search])
                     for search in searches)  # fmt: skip
    return "\n".join(
        [f"{command}; {setting}; {result['parameters']:,} parameters.\n", table(HEADINGS, rows), f"{means}\n"]
    )


def _rows(number: int, pair: Pair) -> Iterable[tuple[object, ...]]:
    barriers = {"as given": pair["barrier"], "aligned": pair["barrier aligned"]}
    for row in pair["rows"]:
        barrier = barriers[row["search"]]
        yield (
            number,
            " and ".join(f"{end:.2f}" for end in pair["ends"]),
            f"{row['perplexity']:.1f}",
            row["search"],
            "–" if barrier is None else f"{barrier:.4f}",
            row["outcome"],
            row["beads"],
            f"{row['length']:.4f}",
            f"{row['largest']:.1f}",
            row["steps"],
        )


def _means(search: str, rows: list[Mapping[str, Any]]) -> str:
    """Share connected and mean length, over the pairs that there are."""
    held = [row for row in rows if row["outcome"] == "connected"]
    share = share_of(len(held), len(rows))
    lengths = [None if x != x else x for x in mean_of([row["length"] for row in held])]  # NaN: no interval
    return (
        f"{search.capitalize()}: {len(held)} of {len(rows)} connected ({share.low:.2f}–{share.high:.2f}), "
        f"length {interval(lengths, 4)}."
    )
