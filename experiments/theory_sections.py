"""The sections of EXPERIMENTS.md on what the paper's Sections II.B, II.C and IV leave to theory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tables import read, table

CLOSING = """S(θ1, θ2, α, d) exactly as in the paper, the same pairs for each α. *Said to close*: halves of which the
[lemma](docs/theory/alpha.md), from their ends' losses, length and curvature on 33 samples, says that they must close;
of them *open*: were over the threshold all the same, which no correct lemma allows. *Before*: the same from the
curvature of the segment that was split, before a half has been measured. *α needed*: 1 − cℓ²/(2 L0) and the like,
median.
"""

ALPHA_ANSWER = """**What α does.** The lemma accounts for most halves that close, and is never contradicted. It asks
for a depth under L0 of half the curvature times the squared length, so that a lower α lets longer halves close: fewer
beads. It does so with diminishing returns, as the lemma's (1 − α)^(−1/2) says and more weakly, because descents that
aim at L0 overshoot it by their last steps, which is the 1 − α that they have. What it costs is gradients, and length,
for a bead that sinks further moves further away. The paper's rule that a bead counts at α L0 alone adds a risk: on
digits no descent gets to .8 L0, and nothing is connected. So α a little below 1 is right, .9 to .95 with the
condition L0 itself, and α = 1 works in practice only by overshooting: on a ring it can fail at every depth.
"""

FLAT = """The share of eigenvalues |λ| of the Hessian of the training loss that are at most r times the largest, for
three r; *zero*: 1e-12, rounding. One hidden tanh layer on the first N digits, trained to a loss of .1; means over two
pairs, at their ends | at a quarter, half and three quarters of the string. *Unseen*: directions that change no loss
whatever θ is, counted: weights of what no input reaches (the rank of the inputs), and all logits raised alike. *Fit*:
1 − 9N/P, the share that has no effect to second order where the fit is perfect (a Hessian JᵀJ of rank at most 9N).
*Down*: λ < −1e-4 of the largest.
"""

FLAT_ANSWER = """**Is it so that most directions have no effect?** Next to none in the sense of a hundredth of the
largest curvature: yes, at every ratio of parameters to samples, at ends and along strings alike. None at all, to
second order: only those that the data never see, a share set by the number of samples and not by parameters per
sample. What a perfect fit would leave free (*fit*) is not free at a loss of .1, where residuals curve the loss too.
By this measure wider networks have no larger share of flat directions, though their strings are shorter, and a larger
share that curves down: flatness at a point does not explain their room alone.
"""

DEPTH = """Digits networks trained to a loss of .1; κ is the largest eigenvalue of the Hessian. *Exchanges*: the
highest loss on the straight segments between θ and its copies with two hidden units exchanged, over a spanning tree
of every layer's units, as a multiple of θ's loss: a bound for *every* permutation of all layers
([why](docs/symmetry-motion.md)). *Longest*: of these segments. Means over seeds.
"""

SOONER = """Thresholds h + s (Γ − h) on pairs with known Γ, h the larger end: no string can be found for s < 1.
Median gradients until the search gives up (s < 1) or connects (s > 1; *–*: never).
"""


def all_sections() -> list[str]:
    """Those whose results are there."""
    return [_closing(), _flat(), _depth(), _sooner()]


def _closing() -> str:
    result = read("closing")
    if result is None:
        return ""
    rows = [
        (
            row["task"],
            f"{row['threshold']:g}",
            f"{row['alpha']:g}",
            f"{row['connected']} of {row['pairs']}",
            f"{row['beads']:.1f}",
            f"{row['length']:.3f}",
            f"{row['gradients']:.0f}",
            f"{row['closed']} of {row['halves']}",
            f"{row['said to close']} ({row['of them open']})",
            f"{row['said before']} ({row['of those open']})",
            _number(row["required alpha"]),
        )
        for row in result["rows"]
    ]
    headings = ("task", "L0", "α", "connected", "beads", "length", "gradients", "halves closed")
    headings += ("said to close (open)", "before (open)", "α needed")
    return "\n".join(
        [
            "## Why α < 1: which halves close\n",
            "`python experiments/closing.py`\n",
            CLOSING,
            table(headings, rows),
            ALPHA_ANSWER,
        ]
    )


def _flat() -> str:
    result = read("flat_directions")
    if result is None:
        return ""

    def both(row: dict[str, Any], name: str) -> str:
        return f"{row['ends'][name]:.3f} \\| {row['string'][name]:.3f}"

    cuts = [f"{cut:g}" for cut in result["cuts"]]
    rows = [
        (
            row["width"],
            row["samples"],
            f"{row['parameters'] / row['samples']:.3g}",
            *(both(row, cut) for cut in cuts),
            both(row, "zero"),
            f"{row['unseen']:.3f}",
            f"{row['bound']:.3f}",
            both(row, "down"),
            f"{row['length']:.3f}",
        )
        for row in result["rows"]
    ]
    headings = (
        "width",
        "N",
        "P/N",
        *(f"r = {cut}" for cut in cuts),
        "zero",
        "unseen",
        "fit",
        "down",
        "string's length",
    )
    return "\n".join(
        [
            "## Do most directions have no effect?\n",
            "`python experiments/flat_directions.py`\n",
            FLAT,
            table(headings, rows),
            FLAT_ANSWER,
        ]
    )


def _depth() -> str:
    result = read("depth")
    if result is None:
        return ""
    forms = sorted({(row["activation"], row["depth"], row["width"]) for row in result["rows"]})
    rows = []
    for form in forms:
        own = [row for row in result["rows"] if (row["activation"], row["depth"], row["width"]) == form]
        searched = next((row for row in own if row["searched"]), None)
        rows.append(
            (
                *form,
                len(own),
                f"{statistics.fmean(row['kappa'] for row in own):.2f}",
                f"{statistics.fmean(row['height'] / row['loss'] for row in own):.2f}",
                f"{statistics.fmean(row['longest'] for row in own):.2f}",
                f"10^{own[0]['log10 copies']:.0f}",
                f"{searched['searched']['connected']} of {searched['exchanges']}" if searched else "–",
            )
        )
    headings = ("activation", "hidden layers", "width", "seeds", "κ", "exchanges", "longest", "copies", "searched")
    laws = [
        f"{activation}: κ ~ width^({_power(fit['kappa']['width'])}) · layers^({_power(fit['kappa']['depth'])}), the "
        f"exchanges' excess over the loss ~ width^({_power(fit['excess']['width'])}) · "
        f"layers^({_power(fit['excess']['depth'])}), the longest ~ width^({_power(fit['longest']['width'])}) "
        f"({fit['networks']} networks, ± standard errors)."
        for activation, fit in result["fits"].items()
    ]
    note = "*Searched*: exchanges for which a search finds a path under the network's own loss.\n"
    return "\n".join(
        [
            "## κ and the cost of permutations, against depth and width\n",
            "`python experiments/depth.py`\n",
            DEPTH,
            table(headings, rows),
            note if any(row["searched"] for row in result["rows"]) else "",
            "\n".join(laws) + "\n",
            _depth_answer(result["fits"]),
        ]
    )


def _depth_answer(fits: dict[str, Any]) -> str:
    """What the exponents say, at two standard errors."""

    def verb(law: Sequence[float]) -> str:
        return "grows" if law[0] > 2 * law[1] else "falls" if law[0] < -2 * law[1] else "does not measurably change"

    said = [
        f"{name}: κ {verb(fit['kappa']['depth'])} with depth and {verb(fit['kappa']['width'])} with width; what "
        f"permutations cost {verb(fit['excess']['depth'])} with depth and {verb(fit['excess']['width'])} with width."
        for name, fit in fits.items()
    ]
    return (
        "**Does κ scale too poorly?** "
        + " ".join(said)
        + " Section IV's hope, that neighbourhoods of permutations can "
        "be glued the more easily the more neurons there are, holds for neurons in a layer, whose units come to lie "
        "closer together; more layers work against it.\n"
    )


def _sooner() -> str:
    result = read("sooner")
    if result is None:
        return ""
    rows: list[Sequence[str]] = []
    ratios: dict[str, list[float]] = {}
    names = dict.fromkeys(row["search"] for row in result["rows"])
    for family, share in dict.fromkeys((row["family"], row["share"]) for row in result["rows"]):
        own = {row["search"]: row for row in result["rows"] if (row["family"], row["share"]) == (family, share)}
        kind = "gradients to give up" if share < 1 else "gradients to connect"
        spent = {name: statistics.median(row[kind]) for name, row in own.items() if row[kind]}
        cells = [
            f"{spent[name]:.0f}" + (f" ({own[name]['connected']} of {own[name]['pairs']})" if share > 1 else "")
            if name in spent
            else "–"
            for name in names
        ]
        rows.append((family, f"{share:g}", *cells))
        for name in ("greedy", "as in the paper"):
            if share < 1 and spent.get(name) and spent.get("breadth-first"):
                ratios.setdefault(name, []).append(spent[name] / spent["breadth-first"])
    said = [
        f"than {name} in {sum(ratio > 1 for ratio in own)} of {len(own)} lines, {name} taking "
        f"{min(own):.2g} to {max(own):.2g} times as many"
        for name, own in ratios.items()
    ]
    answer = (
        f"**Sooner?** Below Γ breadth-first gives up after fewer gradients {', and '.join(said)}. Greedy search tries "
        "again where a descent fails, which the paper's own recursion does not. What is counted is patience: giving up "
        "shows a disconnection to nobody, only a proof does.\n"
    )
    return "\n".join(
        [
            "## Does breadth-first show a disconnection sooner?\n",
            "`python experiments/sooner.py`\n",
            SOONER,
            table(("pairs", "s", *names), rows),
            answer,
        ]
    )


def _power(law: Sequence[float]) -> str:
    return f"{law[0]:+.2f} ± {law[1]:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
