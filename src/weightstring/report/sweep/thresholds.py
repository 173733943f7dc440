"""What changes with the threshold: length, beads, the share that is connected, barriers (Section V).

A pair that is not connected is in no mean, and drawn as a cross; shares count every pair.
"""

from __future__ import annotations

import math
from dataclasses import replace

from weightstring.report.run.page import BARRIERS
from weightstring.report.sweep.chart import (
    Chart,
    Kind,
    Level,
    Series,
    counts,
    mean_line,
    number_words,
    pair_points,
    percent,
    plural,
    prefix,
    shown,
    spread,
    title,
)
from weightstring.report.sweep.data import Swept
from weightstring.study.sweep.statistics import share_of
from weightstring.study.sweep.summary import beads_law

LENGTHS = {
    "normalized_length": ("all parameters", "over all parameters"),
    "normalized_length_weights": ("weights only", "over weights only, without biases and other vectors"),
}
KINDS: tuple[Kind, ...] = ("unresolved", "disconnected")
POINTS = 2000
"""Connected pairs of a variant that are drawn at most as points: more are a blot, and megabytes."""
ASIDE = 0.012
"""How far variants stand aside in the figure of shares, as a part of the axis."""
FAR = 10.0
"""A trivial predictor this many times beyond the thresholds is told but not drawn: it would squeeze all else."""


def length_charts(swept: Swept) -> tuple[Chart, ...]:
    """Mean normalized length against threshold, in both conventions."""
    return tuple(
        _mean_chart(
            swept,
            column,
            name="length-" + label.split()[0],
            label=label,
            what=f"Mean normalized length: the string's length over the distance of its ends, {words}",
            y_title="normalized length",
        )
        for column, (label, words) in LENGTHS.items()
    )


def barrier_charts(swept: Swept) -> tuple[Chart, ...]:
    """Mean barrier of the strings against threshold, by each of the four definitions."""
    return tuple(
        _mean_chart(
            swept,
            f"barrier_{name}",
            name=f"barrier-{name.replace('_', '-')}",
            label=name.replace("_", " "),
            what=f"Mean barrier of the strings, {name.replace('_', ' ')}: {words}",
            y_title=f"barrier, {name.replace('_', ' ')}",
            y_log=None,
        )
        for name, words in BARRIERS.items()
    )


def beads_chart(swept: Swept) -> Chart:
    """Mean beads against threshold, with the power law fitted to the pairs of each variant."""
    what = "Mean number of beads on the string, ends counted"
    chart = _mean_chart(swept, "beads", name="beads", label="", what=what, y_title="beads", y_log=True)
    fits: list[Series] = []
    said = []
    for look, name in enumerate(swept.names):
        law = beads_law(swept.pairs(name), swept.record.seed)
        if law is None:
            continue
        levels = [row.threshold for row in swept.pairs(name) if row.connected]
        x = (min(levels), max(levels))
        y = tuple(law.factor * place**law.exponent.value for place in x)
        fits.append(Series("power law" if not fits else "", "fit", x, y, look=look))
        said.append(f"{prefix(swept, name)}{shown(law.exponent)}, {plural(law.points, 'pair')}")
    words = (
        "Dashed: the power law beads ~ threshold^p, by least squares on logarithms of all connected pairs, "
        f"p = {'; '.join(said)}."
        if said
        else "No power law is fitted: that takes connected pairs at two thresholds."
    )
    return replace(chart, sentence=f"{chart.sentence} {words}", series=(*chart.series, *fits))


def share_chart(swept: Swept) -> Chart:
    """The share connected against threshold, with Wilson intervals; the shares unresolved and disconnected too."""
    series: list[Series] = []
    asked = [row.threshold for row in swept.rows]
    span = max(asked) / min(asked) if max(asked) > min(asked) else 2.0
    for look, name in enumerate(swept.names):
        own = [one for one in swept.of(name) if one.pairs]
        # Side by side: shares are often equal, and one line would hide the other.
        aside = span ** (ASIDE * (look - (len(swept.names) - 1) / 2))
        x, texts = tuple(one.threshold * aside for one in own), tuple(map(counts, own))
        series.append(mean_line(title(swept, name, "connected"), x, [one.connected for one in own], look, texts))
        for kind in KINDS:
            shares = tuple(getattr(one, kind) / one.pairs for one in own)
            if any(shares):
                words = "" if any(one.kind == kind for one in series) else kind
                series.append(Series(words, kind, x, shares, look=look, texts=texts))
    levels, told = _levels(swept)
    sentence = (
        f"Share of pairs that a string connects, with 95 % Wilson intervals. {outcome_words(swept)} Unresolved means "
        f"not connected within the limits, which does not show that there is no path; such pairs count here.{told}"
    )
    sentence += " Variants stand a little aside, so that none hides another." if len(swept.names) > 1 else ""
    x_title = threshold_title(swept)
    return Chart(
        "connected", "", sentence, x_title, "share of pairs", tuple(series), levels, y_range=(-0.04, 1.04)
    )  # fmt: skip


def outcome_words(swept: Swept) -> str:
    """What became of every pair."""
    of = {kind: sum(row.outcome == kind for row in swept.rows) for kind in ("connected", "unresolved", "disconnected")}
    share = share_of(of["connected"], len(swept.rows))
    return (
        f"{of['connected']:,} of {plural(len(swept.rows), 'pair')} connected ({percent(share)}), "
        f"{of['unresolved']:,} unresolved, {of['disconnected']:,} disconnected by proof."
    )


def threshold_title(swept: Swept) -> str:
    """The axis of thresholds, by what they bind."""
    bound = {"loss": "evaluation loss", "train_loss": "training loss"}
    return f"threshold L₀ of the {bound.get(swept.record.bind, swept.record.bind)}"


def _mean_chart(
    swept: Swept, column: str, *, name: str, label: str, what: str, y_title: str, y_log: bool | None = False
) -> Chart:
    """A column's mean over connected pairs against threshold, one line a variant, and behind it every pair.

    Args:
        swept: the sweep.
        column: of the table.
        name: of the chart.
        label: of the chart.
        what: how its sentence begins.
        y_title: of the axis.
        y_log: whether the axis is logarithmic; None: where all means are positive and far apart.
    """
    behind: list[Series] = []
    means: list[Series] = []
    finite = left_out = 0
    for look, variant in enumerate(swept.names):
        own = [one for one in swept.of(variant) if one.connected.value > 0]
        texts = [f"{counts(one)}\nmean {shown(one.means[column])}" for one in own]
        x = [one.threshold for one in own]
        found = [one.means[column] for one in own]
        means.append(mean_line(title(swept, variant, "mean"), x, found, look, texts))
        rows = [row for row in swept.pairs(variant) if math.isfinite(getattr(row, column))]
        finite += len(rows)
        connected, others = [row for row in rows if row.connected], [row for row in rows if not row.connected]
        drawn = connected[:: max(1, -(-len(connected) // POINTS))]
        left_out += len(connected) - len(drawn)
        if drawn:
            behind.append(pair_points(drawn, column, "", "pairs", look))
        if others:
            words = "" if any(one.kind == "open" for one in behind) else "not connected"
            behind.append(pair_points(others, column, words, "open", look))
    y_log = spread(means) if y_log is None else y_log
    levels, told = _levels(swept)
    sentence = f"{what}. Lines: means of connected pairs, with 95 % bootstrap intervals; {_lowest(swept, column)}."
    sentence += " Faint points: the pairs"
    sentence += f", {left_out:,} of them left out" if left_out else ""
    open_pairs = sum(not row.connected for row in swept.rows)
    sentence += f"; crosses: the {open_pairs:,} not connected, by their best string so far." if open_pairs else "."
    below = sum(y <= 0 for one in behind for y in one.y) if y_log else 0
    sentence += f" {plural(below, 'pair')} at or below 0 cannot stand on a logarithmic axis." if below else ""
    missing = len(swept.rows) - finite
    sentence += f" {plural(missing, 'pair')} without a finite value cannot be drawn." if missing else ""
    return Chart(
        name, label, sentence + told, threshold_title(swept), y_title, (*behind, *means), levels, y_log=y_log
    )  # fmt: skip


def _lowest(swept: Swept, column: str) -> str:
    """Each variant's mean at the lowest threshold at which a pair is connected."""
    said = []
    for variant in swept.names:
        own = [one for one in swept.of(variant) if one.connected.value > 0]
        if own:
            pairs = plural(round(own[-1].connected.value * own[-1].pairs), "pair")
            mean = shown(own[-1].means[column])
            said.append(f"{prefix(swept, variant)}{mean} at {own[-1].threshold:g} ({pairs})")
    return "at the lowest threshold " + "; ".join(said) if said else "no pair is connected, so there is none"


def _levels(swept: Swept) -> tuple[tuple[Level, ...], str]:
    """The levels of trivial predictors that are drawn, each once, and all of them in words."""
    asked = [row.threshold for row in swept.rows] or [*swept.record.thresholds]
    kinds = dict.fromkeys(kind for found in swept.trivial.values() for kind in found)
    drawn, said = [], []
    for kind in kinds:
        known = {name: found[kind] for name, found in swept.trivial.items() if found.get(kind) is not None}
        groups: dict[str, list[str]] = {}
        for name, value in known.items():
            groups.setdefault(number_words(float(value or 0.0)), []).append(name)
        for words, names in groups.items():
            value = float(known[names[0]] or 0.0)
            whose = kind if len(groups) == 1 else f"{kind}, {', '.join(names)}"
            beyond = not min(asked) / FAR <= value <= max(asked) * FAR
            said.append(f"{whose} {words}{' (not drawn: too far away)' * beyond}")
            drawn += [] if beyond else [Level(whose, value)]
    return tuple(drawn), f" Upright lines: what trivial predictors reach, {'; '.join(said)}." if said else ""
