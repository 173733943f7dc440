"""The sections of EXPERIMENTS.md on answers that are known, proofs, and interruptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tables import lines_of, read, table


def appendix() -> str:
    """Two hidden units swapped."""
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


def motion() -> str:
    """Where permutations are written about."""
    return (
        "## Permutations as motions, curvature against width\n\n"
        "`python experiments/permutation_motion.py`: [what was found](docs/symmetry-motion.md).\n"
    )


def known_answers() -> str:
    """How near estimates of Γ come, and whether a higher threshold is ever harder."""
    found = lines_of("known_answers")
    if not found:
        return ""
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


def disconnection() -> str:
    """The campaign against proofs of disconnection, as far as it went."""
    blocks = lines_of("soundness_disconnection")
    if not blocks:
        return ""
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


def certificates() -> str:
    """Certificates beside 60 digits."""
    found = read("soundness_certificates")
    if found is None:
        return ""
    headings = ("what", "compared", "contradictions")
    rows = [
        ("outputs in their enclosures", f"{found['outputs']:,}", found["wrong outputs"]),
        ("outputs with 60 digits", f"{found['outputs with 60 digits']:,}", found["wrong with 60 digits"]),
        ("mean losses under bounds of `certify`", f"{found['losses certified']:,}", found["wrong certified"]),
        ("mean losses under bounds of `verify`", f"{found['losses verified']:,}", found["wrong verified"]),
    ]
    compiled, whole = read("soundness_compiled"), read("soundness_refining")
    if compiled is not None:
        of = (
            "mean losses under bounds of compiled code, without and with generators, "
            f"{compiled['draws']:,} draws (`--cases relu wide deep 'one hidden'`)"
        )
        rows.append((of, f"{compiled['losses under compiled bounds']:,}", compiled["wrong compiled"]))
    if whole is not None:
        of = f"samples in intervals of {whole['certificates']:,} whole proofs (`soundness_refining.py`)"
        rows.append((of, f"{whole['samples']:,}", whole["false"]))
    finite = [f"{found[f'finite {how}']:,}" for how in ("certified", "verified")]
    return "\n".join(
        [
            "## Certificates beside values in extended precision\n",
            f"`python experiments/soundness_certificates.py`; {found['draws']:,} draws of {found['kinds']} kinds of "
            "networks and losses, models and data of scales from 1e-150 to 1e150 and four dtypes, with subnormal "
            f"numbers. They go by {len(found['certified by'])} of `certify`'s rules, all but those that torch "
            f"calls on constants alone, and {len(found['verified by'])} of `verify`'s. What overflows has an infinite "
            f"bound, which nothing contradicts: {finite[0]} and {finite[1]} of the bounds are finite.\n",
            table(headings, rows),
        ]
    )


def kills() -> str:
    """Runs that were killed."""
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
