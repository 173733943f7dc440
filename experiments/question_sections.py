"""The sections of EXPERIMENTS.md on what the paper leaves open: optimizers, α, descents, losses, room to move."""

from __future__ import annotations

from statistics import median

from tables import interval, lines_of, read, table

LENGTHS = """The same ends and threshold; beads that descend by different optimizers, tied or not, and by steps of one
length (*even*, *shortened*: a plain search first, by the optimizer named). An optimizer that scales each coordinate
also moves a bead where there is hardly any gradient, and none of that way leads down.
"""


def lengths() -> str:
    """By optimizer and strategy: medians over the pairs that all of them have done."""
    parts = []
    for task in ("digits", "mnist"):
        rows = lines_of("optimizers_and_ties", task)
        kinds = list(dict.fromkeys((row["optimizer"], row["strategy"]) for row in rows))
        whole = {
            pair for pair in {row["pair"] for row in rows} if len(kinds) == sum(row["pair"] == pair for row in rows)
        }
        if not whole:
            continue
        shown = []
        for optimizer, strategy in kinds:
            own = [r for r in rows if (r["optimizer"], r["strategy"]) == (optimizer, strategy) and r["pair"] in whole]
            linked = [row["length"] for row in own if row["connected"]]
            shown.append(
                (
                    optimizer,
                    strategy,
                    f"{len(linked)} of {len(own)}",
                    f"{median(linked):.4f}" if linked else "–",
                    f"{median(row['beads'] for row in own):g}",
                    f"{median(row['gradients'] for row in own):g}",
                )
            )
        parts += [
            f"`python experiments/optimizers_and_ties.py --parts {task}`; L0 = {rows[0]['level']:g}, the same "
            f"{len(whole)} pairs in each row.\n",
            table(("optimizer", "strategy", "connected", "length, median", "beads", "gradients"), shown),
        ]
    return "\n".join(["## Length is largely the optimizer's\n", LENGTHS, *parts]) if parts else ""


def sunk() -> str:
    """Random networks, both ends free."""
    rows = lines_of("optimizers_and_ties", "breadth-first")
    if not rows:
        return ""
    linked = [row for row in rows if row["connected"]]
    sentences = [f"So far {len(rows)} pairs of 20 have been run: {len(linked)} connected."]
    if linked:
        length, beads, gradients = (median(row[key] for row in linked) for key in ("length", "beads", "gradients"))
        sentences.append(f"Medians: length {length:.3f}, {beads:g} beads, {gradients:g} gradients.")
    sentences += [f"Pair {row['pair']} stalled at {row['largest']:.4f}." for row in rows if not row["connected"]]
    return "\n".join(
        [
            "## Breadth-first from random networks\n",
            "`python experiments/optimizers_and_ties.py --parts breadth-first`; digits, both ends free, "
            f"L0 = {rows[0]['level']:g}, about as low as one network alone gets.\n",
            " ".join(sentences) + "\n",
        ]
    )


def alpha() -> str:
    """By α, at three thresholds."""
    result = read("questions_alpha")
    if result is None:
        return ""
    rows = [
        (
            f"{row['threshold']:g}",
            f"{row['alpha']:g}",
            interval(row["connected"], 2),
            interval(row["means"]["beads"], 1),
            interval(row["means"]["normalized_length"]),
            interval(row["means"]["gradients"], 0),
        )
        for row in sorted(result["rows"], key=lambda row: (-row["threshold"], -row["alpha"]))
    ]
    return "\n".join(
        [
            "## Does it help to aim below the threshold? α\n",
            f"`python experiments/questions.py --parts alpha`; the quadratic, {result['pairs']} pairs, the same for "
            "each α.\n",
            table(("L0", "α", "connected", "beads", "length", "gradients"), rows),
        ]
    )


def descent() -> str:
    """The cubic at .01 by learning rate and length of descents."""
    result = read("questions_descent")
    if result is None:
        return ""
    rows = [
        (
            row["descent"],
            f"{row['alpha']:g}",
            row["depth"],
            row["pairs"],
            interval(row["connected"], 2),
            interval(row["means"]["beads"], 1),
            interval(row["means"]["normalized_length"]),
            interval(row["means"]["gradients"], 0),
        )
        for row in result["rows"]
    ]
    return "\n".join(
        [
            "## What limits the cubic at .01? Not the learning rate, nor how long a bead may descend\n",
            f"`python experiments/questions.py --parts descent`; Adam, {result['pairs']} pairs, the same for each row. "
            f"Their ends were trained like the last rows: {2 * result['pairs']} of {result['rows'][0]['seeds']} seeds "
            "reach .01, and stand just under it. Means are of connected pairs.\n",
            table(("learning rate, steps", "α", "depth", "pairs", "connected", "beads", "length", "gradients"), rows),
        ]
    )


def loss() -> str:
    """By the loss that networks are trained by."""
    result = read("questions_loss")
    if result is None:
        return ""
    rows = [
        (
            row["task"],
            f"{row['threshold']:g}",
            row["loss"],
            row["pairs"],
            interval(row["connected"], 2),
            interval(row["means"]["beads"], 1),
            interval(row["means"]["normalized_length"]),
            row["failed_ends"],
        )
        for row in sorted(result["rows"], key=lambda row: (row["task"], -row["threshold"]))
    ]
    return "\n".join(
        [
            "## The choice of the loss, at equal accuracy\n",
            "`python experiments/questions.py --parts loss`; thresholds are of the mean absolute error (quadratic) and "
            "of the error rate (digits), whatever the networks are trained by.\n",
            table(("task", "threshold", "trained by", "pairs", "connected", "beads", "length", "ends replaced"), rows),
        ]
    )


def room() -> str:
    """Against width and the number of samples."""
    result = read("questions_room")
    if result is None:
        return ""
    rows = [
        (
            row["over"],
            row["variant"],
            f"{row['parameters'] / row['samples']:.3g}",
            f"{row['threshold']:g}",
            row["pairs"],
            interval(row["connected"], 2),
            interval(row["means"]["normalized_length"]),
            interval(row["means"]["beads"], 1),
            row["failed_ends"],
        )
        for row in result["rows"]
    ]
    headings = (
        "against",
        "form",
        "parameters per sample",
        "L0",
        "pairs",
        "connected",
        "length",
        "beads",
        "ends replaced",
    )
    return "\n".join(
        [
            "## Room to move: width, and training samples\n",
            "`python experiments/questions.py --parts room`; the quadratic, 1-w-w-1.\n",
            table(headings, rows),
        ]
    )
