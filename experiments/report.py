"""Write EXPERIMENTS.md from ``experiments/results``: the paper's numbers beside ours.

python experiments/report.py
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cubic_section
import theory_sections
from tables import read, table

FOLDER = Path(__file__).parent
OUT = FOLDER.parent / "EXPERIMENTS.md"

# Means of Fig. 1 of the final paper, read off its curves: threshold → (normalized length, beads).
PAPER: Mapping[str, Mapping[float, tuple[float | None, float | None]]] = {
    "quadratic": {0.001: (1.86, 62.4), 0.01: (1.48, 13.8), 0.025: (1.33, 8.2), 0.125: (1.27, 4.0)},
    "cubic": {
        0.01: (1.87, 46.3),
        0.05: (1.43, 14.0),
        0.14: (1.42, 4.5),
        0.158: (2.54, 3.4),
        0.168: (1.006, 3.2),
        0.32: (1.003, 3.1),
    },
    "mnist": {0.007: (1.071, 7.1), 0.008: (1.026, 6.0), 0.01: (1.016, 5.5), 0.04: (1.003, 4.1)},
}

INTRODUCTION = """# Experiments

Section V of C. D. Freeman and J. Bruna, ICLR 2017, again, and questions that it leaves open. Every number of ours comes
from `experiments/results`, written by the script named beside it; `python experiments/report.py` writes this page. The
paper's numbers are the means of its Fig. 1, read off the curves.

Lengths are normalized: over the distance of the ends. *Weights* leaves biases out, as the authors' scripts do. Beads
count the ends. Intervals are 95 %: bootstrap over pairs for means, Wilson's for shares; means are of connected pairs.
Losses on strings are *sampled*.
"""

DIFFERENCES = """**What differs from the paper's set-up.** Thresholds are exact: every sample of a string is at most
L0, where the authors' scripts stop at 1.1 L0. Superfluous beads are dropped, where the paper always has one in the
middle. 256 training points in place of 10,000; ends are trained just until they reach L0, and carried down from the
thresholds above.
"""


LANGUAGE = """Each end is the best state of its training, past which the evaluation loss rises again or steps run out.
The original's measured loss of 0 cannot happen here: losses are means over every word of the evaluation part, and a
second computation, by the module itself and a plain sum, must agree.
"""

FIRST_WEIGHTS = """**Why these two differ.** Length is normalized by the distance of the ends, and most of that is
the distance of the random networks they began as. PyTorch draws the widest layer, of 3,136 inputs, with a deviation of
.01. With .1 in every layer, a usual choice before widths were taken into account, the ends lie far apart, detours of
the same order count little, and the normalized length comes most of the way to the paper's. How the authors drew their
networks, the text does not say.
"""


LENGTHS = """The same ends and threshold; beads that descend by different optimizers, tied or not, and by steps of one
length (*even*, *shortened*: a plain search first, by the optimizer named). An optimizer that scales each coordinate
also moves a bead where there is hardly any gradient, and none of that way leads down.
"""


def main() -> None:
    """Write the page."""
    parts = [INTRODUCTION, _curve("quadratic", "Quadratic"), _curve("cubic", "Cubic"), DIFFERENCES]
    parts += [_draft()]
    parts += [_curve("mnist", "MNIST, convolutional network, test error")]
    parts += [_curve("mnist_0.1", "The same, drawn with first weights of 0.1", "--first-weights 0.1"), FIRST_WEIGHTS]
    parts += [_language(), _appendix(), _motion()]
    parts += [
        _lengths(),
        _sunk(),
        _alpha(),
        *theory_sections.all_sections(),
        _descent(),
        cubic_section.section(),
        _loss(),
        _room(),
        _known_answers(),
        _soundness(),
        _disconnection(),
        _kills(),
    ]
    OUT.write_text("\n".join(part for part in parts if part))
    print(f"wrote {OUT.name}")


def _shown(interval: Sequence[float | None] | None, digits: int = 3) -> str:
    if interval is None or interval[0] is None:
        return "–"
    if interval[1] is None or interval[2] is None:  # of one pair
        return f"{interval[0]:.{digits}f}"
    return f"{interval[0]:.{digits}f} [{interval[1]:.{digits}f}, {interval[2]:.{digits}f}]"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _curve(name: str, title: str, options: str = "") -> str:
    result = read(name)
    if result is None:
        return ""
    script = name.partition("_")[0]
    paper = PAPER[script]
    command = f"python experiments/{script}.py {options}".strip()
    rows = []
    for own in result["summary"]:
        length, beads = paper.get(own["threshold"], (None, None))
        means = own["means"]
        rows.append(
            (
                f"{own['threshold']:g}",
                _plain(length),
                _shown(means["normalized_length"]),
                _shown(means["normalized_length_weights"]),
                _plain(beads),
                _shown(means["beads"], 1),
                own["pairs"],
                _shown(own["connected"], 2),
                own["failed_ends"],
                _shown(own["distance"]),
                _shown(own["line_over_mean"], 4),
            )
        )
    headings = (
        "L0",
        "paper: length",
        "length",
        "length, weights",
        "paper: beads",
        "beads",
        "pairs",
        "connected",
        "ends replaced",
        "distance of the ends",
    )
    seconds = "in several sessions" if result["seconds"] is None else f"{result['seconds']:.0f} s"
    lines = [
        f"## {title}\n",
        f"`{command}`; {seconds} on {result['cpu threads']} thread.\n",
    ]
    lines.append(table((*headings, "barrier of the line"), rows))
    for form, law in result["beads laws"].items():
        if law:
            lines.append(f"Beads ~ L0^p with p = {_shown(law['exponent'])} ({form}), over {law['points']} pairs.")
    trivial = [
        f"{name} {value:.4g}" for levels in result["trivial"].values() for name, value in levels.items() if value
    ]
    lines.append(f"Trivial predictors: {', '.join(dict.fromkeys(trivial))}.\n")
    return "\n".join(lines)


DRAFT = """## The same by the draft's settings

`python experiments/draft.py`: ReLU units and RMSprop, as in the draft's Section V.A, where the tables above have the
final paper's sigmoid units and Adam; its loss, which the draft leaves open, is the mean absolute error too. *As in the
paper* is its algorithm and nothing else, S(θ1, θ2, α, d) with α = .95 and d = 10: a bead counts only at α L0, none is
tried again and none is dropped. The random target is a cubic with f([0, 1]) in [0, 1].

Strings of ReLU networks are no longer than those of sigmoid units, but at the lower thresholds far fewer pairs are
connected, and more networks do not get there themselves: means over connected pairs flatter them. The spike at the
cubic's best constant, .158, is one of sigmoid units. The paper's own algorithm needs more beads than the greedy
search and connects about as many pairs, fewer where the threshold is near that constant.
"""


def _draft() -> str:
    """The draft's settings beside the final paper's, and the paper's own algorithm beside the greedy search."""
    parts = []
    for target in ("quadratic", "cubic", "random"):
        sources = {"final": target, "greedy": f"draft_{target}", "paper": f"draft_{target}_as_in_the_paper"}
        found = {kind: result for kind, name in sources.items() if (result := read(name)) is not None}
        if "greedy" in found:
            parts += [f"{target.capitalize()}:\n", _drafttable(found, PAPER.get(target, {}))]
    return "\n".join([DRAFT, *parts]) if parts else ""


def _drafttable(
    found: Mapping[str, Mapping[str, Any]], paper: Mapping[float, tuple[float | None, float | None]]
) -> str:
    by_level = {kind: {own["threshold"]: own for own in result["summary"]} for kind, result in found.items()}
    rows = []
    for level, own in by_level["greedy"].items():
        row = [f"{level:g}", *map(_plain, paper.get(level, (None, None)))]
        for kind in ("final", "greedy", "paper"):
            one = by_level.get(kind, {}).get(level)
            row += ["–", "–"] if one is None else [_shown(one["means"][k], n) for k, n in MEASURES]
            row += [] if kind == "final" else ["–" if one is None else _shown(one["connected"], 2)]
        rows.append((*row, own["pairs"], own["failed_ends"]))
    headings = ["L0", "final paper: length", "beads", "its settings: length", "beads", "draft's settings: length"]
    headings += ["beads", "connected", "as in the paper: length", "beads", "connected", "pairs", "ends replaced"]
    return table(headings, rows)


MEASURES = (("normalized_length", 3), ("beads", 1))


def _language() -> str:
    parts = [_text("language"), _text("language_small", " --small")]
    if not any(parts):
        return ""
    return "\n".join(["## A language model in place of the Penn Treebank's\n", LANGUAGE, *filter(None, parts)])


def _text(name: str, options: str = "") -> str:
    result = read(name)
    if result is None:
        return ""
    headings = ("threshold, perplexity", "search", "outcome", "beads", "length", "largest sample, perplexity", "steps")
    rows = [
        (
            f"{row['perplexity']:.1f}",
            row["search"],
            row["outcome"],
            row["beads"],
            f"{row['length']:.4f}",
            f"{row['largest']:.1f}",
            row["steps"],
        )
        for row in result["rows"]
    ]
    setting = ", ".join(f"{key} {value}" for key, value in result["setting"].items())
    ends = f"Ends: perplexity {result['ends'][0]:.2f} and {result['ends'][1]:.2f}; computed apart, "
    ends += f"{result['apart'][0]:.2f} and {result['apart'][1]:.2f}."
    if result["barrier"] is not None:
        ends += f" Line barrier over the mean {result['barrier']:.4f} nats, after alignment "
        ends += f"{result['barrier aligned']:.4f}."
    command = f"`python experiments/language.py --data FILE{options}`"
    return "\n".join(
        [f"{command}; {setting}; {result['parameters']:,} parameters.\n", table(headings, rows), f"{ends}\n"]
    )


def _appendix() -> str:
    result = read("appendix_e")
    if result is None:
        return ""
    rows = [
        (row["strategy"], f"{row['threshold']:g}", f"{row['connected']} of {row['pairs']}") for row in result["rows"]
    ]
    return "\n".join(
        [
            "## Appendix E: two hidden units swapped\n",
            "`python experiments/appendix_e.py`\n",
            f"Proved: no path below {result['bound']:.6f} ([why](docs/theory/disconnection.md)). "
            "Searches that do not know it:\n",
            table(("strategy", "threshold", "connected"), rows),
        ]
    )


def _motion() -> str:
    return (
        "## Permutations as motions, curvature against width\n\n"
        "`python experiments/permutation_motion.py`: [what was found](docs/symmetry-motion.md).\n"
    )


def _rows(name: str, part: str) -> list[dict[str, Any]]:
    """The lines of one part of a campaign that is kept pair by pair."""
    path = FOLDER / "results" / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if row["part"] == part]


def _lengths() -> str:
    """By optimizer and strategy: medians over the pairs that all of them have done."""
    parts = []
    for task in ("digits", "mnist"):
        rows = _rows("optimizers_and_ties", task)
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


def _sunk() -> str:
    """Random networks, both ends free."""
    rows = _rows("optimizers_and_ties", "breadth-first")
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


def _alpha() -> str:
    result = read("questions_alpha")
    if result is None:
        return ""
    rows = [
        (
            f"{row['threshold']:g}",
            f"{row['alpha']:g}",
            _shown(row["connected"], 2),
            _shown(row["means"]["beads"], 1),
            _shown(row["means"]["normalized_length"]),
            _shown(row["means"]["gradients"], 0),
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


def _descent() -> str:
    result = read("questions_descent")
    if result is None:
        return ""
    rows = [
        (
            row["descent"],
            f"{row['alpha']:g}",
            row["depth"],
            row["pairs"],
            _shown(row["connected"], 2),
            _shown(row["means"]["beads"], 1),
            _shown(row["means"]["normalized_length"]),
            _shown(row["means"]["gradients"], 0),
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


def _loss() -> str:
    result = read("questions_loss")
    if result is None:
        return ""
    rows = [
        (
            row["task"],
            f"{row['threshold']:g}",
            row["loss"],
            row["pairs"],
            _shown(row["connected"], 2),
            _shown(row["means"]["beads"], 1),
            _shown(row["means"]["normalized_length"]),
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


def _known_answers() -> str:
    """How near estimates of Γ come, and whether a higher threshold is ever harder."""
    path = FOLDER / "results" / "known_answers.jsonl"
    if not path.exists():
        return ""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    known, levels = [one for one in found if "gamma" in one], [one["levels"] for one in found]
    rows = [
        (one["name"], f"{one['gamma']:.6g}", f"{one['line']:.4g}", f"{one['estimate']:.6g}", _off(one), one["steps"])
        for one in known
    ]
    later = Counter(level["attempt"] for each in levels for level in each if level["connected"])
    tried = ", ".join(f"{name} {count}" for name, count in later.most_common())
    harder = [one["name"] for one in found if _is_harder(one["levels"])]
    failed = sum(not level["connected"] for each in levels for level in each)
    return "\n".join(
        [
            "## Is a higher threshold ever harder, and how near to Γ do estimates come?\n",
            f"`python experiments/known_answers.py`; `connect` with its defaults on {len(known)} losses whose Γ is "
            f"known and {len(found) - len(known)} pairs of digits networks, at {len(levels[0])} thresholds each from "
            f"just above Γ, or the ends' own level, on. Of {sum(map(len, levels))} searches {failed} did not connect. "
            f"Where a lower threshold connects and a higher one does not: {', '.join(harder) or 'nowhere'}. Found by: "
            f"{tried}.\n",
            "`minimax` with its defaults, no limit but 64 beads. Off: relative to Γ, or to the straight line's maximum "
            "where Γ is the ends' own 0. What no sample sees no estimate can: a spike of a hundredth of the line's "
            "length is missed, and only a certificate tells.\n",
            table(("loss", "Γ", "straight line", "estimate", "off", "gradient steps"), rows),
        ]
    )


def _off(one: Mapping[str, Any]) -> str:
    scale = one["gamma"] if one["gamma"] > 1e-9 else one["line"]
    return f"{100 * (one['estimate'] - one['gamma']) / scale:+.2g} %"


def _is_harder(levels: Sequence[Mapping[str, Any]]) -> bool:
    connected = [level["connected"] for level in sorted(levels, key=lambda level: level["threshold"])]
    return connected != sorted(connected)


def _disconnection() -> str:
    """The campaign against proofs of disconnection, as far as it went."""
    path = FOLDER / "results" / "soundness_disconnection.jsonl"
    if not path.exists():
        return ""
    blocks = [json.loads(line) for line in path.read_text().splitlines()]
    named = {name for block in blocks for name in block["counts"]}
    kinds = sorted(name.removesuffix(": instances") for name in named if name.endswith(": instances"))

    def count(name: str) -> int:
        return sum(block["counts"].get(name, 0) for block in blocks)

    rows = [
        (
            kind,
            count(f"{kind}: instances"),
            count(f"{kind}: proved"),
            f"{min((b['closest'][kind] for b in blocks if kind in b['closest']), default=float('nan')):.9g}",
        )
        for kind in kinds
    ]
    return "\n".join(
        [
            "## Are proofs of disconnection ever contradicted?\n",
            f"`python experiments/soundness_disconnection.py`; {sum(block['instances'] for block in blocks):,} random "
            f"instances; contradictions: {count('contradictions')}, suspects: {count('suspects')}. The last "
            "column is the lowest height that any path reached, over the proved bound. Linear networks' Γ is a "
            "formula in floating point, and compared where it is over 1e-12 of the targets' mean square.\n",
            table(("kind", "instances", "proved", "least height / bound"), rows),
        ]
    )


def _room() -> str:
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
            _shown(row["connected"], 2),
            _shown(row["means"]["normalized_length"]),
            _shown(row["means"]["beads"], 1),
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


def _soundness() -> str:
    found = read("soundness_certificates")
    if found is None:
        return ""
    headings = ("what", "compared", "contradictions")
    rows = [
        ("outputs in their enclosures", f"{found['outputs']:,}", found["wrong outputs"]),
        ("outputs with 60 digits", f"{found['outputs with 60 digits']:,}", found["wrong with 60 digits"]),
        ("mean losses under bounds of `certify`", f"{found['losses'] // 2:,}", found["wrong certified"]),
        ("mean losses under bounds of `verify`", f"{found['losses'] // 2:,}", found["wrong verified"]),
    ]
    return (
        "## Certificates beside values in extended precision\n\n"
        f"`python experiments/soundness_certificates.py`; {found['draws']:,} draws of networks, losses, models and\n"
        "data of scales from 1e-150 to 1e150 and four dtypes, with subnormal numbers.\n\n" + table(headings, rows)
    )


def _kills() -> str:
    tried = read("kill_and_resume")
    if tried is None:
        return ""
    rows = []
    for name in dict.fromkeys(one["case"] for one in tried):
        own = [one for one in tried if one["case"] == name]
        same = sum(not one["different"] for one in own)
        rows.append((f"`{name}`", len(own), sum(one["kills"] for one in own), same))
    kills, others = sum(one["kills"] for one in tried), sum(bool(one["different"]) for one in tried)
    return "\n".join(
        [
            "## Killed and resumed\n",
            f"`python experiments/kill_and_resume.py`; {kills} times SIGKILL in {len(tried)} runs; {others} end",
            "otherwise than one that was never stopped: beads, journal, verdict, certificate, networks and table are",
            "compared bit for bit, but for clocks.\n",
            table(("command", "runs", "kills", "the same bits"), rows),
        ]
    )


if __name__ == "__main__":
    main()
