"""Section IV: are permutations of hidden units continuous motions, and how curvature goes with width.

A network θ is trained on scikit-learn's digits to one loss at every width, and an even permutation turns it into
π(θ), which computes the same function. Three paths lead there: the rotation of the hidden units exp(s log π), the
straight line, and the string that a search finds below 1.1 times the loss of the ends. How high does the loss rise
on each? How large is κ, the largest eigenvalue of the loss's Hessian, at θ, at π(θ) and along the string? A
linear network is the control: it does not see a rotation.

python experiments/permutation_motion.py            writes experiments/results and docs/figures, in 5 minutes
python experiments/permutation_motion.py --quick    two widths and two seeds, writes nothing
python experiments/permutation_motion.py --out DIR  writes there

It needs matplotlib: pip install "weightstring[test]".
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from sklearn.datasets import load_digits
from torch import nn

import weightstring as ws
from weightstring.path.sharpness import sharpness
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import random_permutation
from weightstring.symmetry.rotation import RotationPath
from weightstring.tasks.networks import mlp

LINEAR = "linear, 2 hidden"
"""The control, whose κ along the string is left out: it takes the most time."""
NETWORKS = {"ReLU, 1 hidden": 1, "ReLU, 2 hidden": 2, LINEAR: 2}
WIDTHS, SEEDS = (8, 16, 32, 64, 128), 5
LEVEL = 0.1
"""Mean cross-entropy, in nats, to which every network is trained; chance is log 10 = 2.3."""
MARGIN = 1.1
"""How high the string may rise, in losses of the ends."""
POINTS = 65
"""Samples of a rotation."""
SHOWN = ("ReLU, 2 hidden", 32, 0)
"""Whose loss along the three paths the figure shows."""

COLOURS = {"rotation": "#7c3aed", "line": "#c2410c", "string": "#1d4ed8"}
NAMES = {"line": "straight line"}
ENDS = "#0f172a"
STYLES = {"ReLU, 1 hidden": ("-", "o", 0.96), "ReLU, 2 hidden": ("--", "s", 1.0), LINEAR: (":", "^", 1.04)}
"""Lines and markers of the figure, and by what they are moved so that their bars can be told apart."""


@dataclass(frozen=True)
class Row:
    """What was measured on one network: losses, κ, and lengths as multiples of ‖π(θ) − θ‖."""

    network: str
    width: int
    seed: int
    moved: int
    end: float
    rotation: float
    line: float
    string: float
    rotation_flat: float
    rotation_length: float
    string_length: float
    beads: int
    connected: bool
    connected_at_own_loss: bool
    beads_at_own_loss: int
    kappa: float
    kappa_permuted: float
    kappa_residual: float
    kappa_string: float | None


Profile = dict[str, tuple[list[float], list[float]]]
"""Shares of the way and losses there, by path."""


def problem_of(network: str, width: int) -> ws.ModuleProblem:
    """Cross-entropy on all 1,797 digits, in float64."""
    images, labels = load_digits(return_X_y=True)
    net = mlp([64, *[width] * NETWORKS[network], 10])
    if network == LINEAR:
        net = nn.Sequential(*(layer for layer in net if isinstance(layer, nn.Linear)))
    data = torch.tensor(images) / 16, torch.tensor(labels)  # grey levels are 0 to 16
    recipe = ws.Recipe("adam", {"lr": 2e-3}, check_every=5, patience=100)
    return ws.ModuleProblem(net, nn.CrossEntropyLoss(), data, dtype=torch.float64, recipe=recipe)


def measured(network: str, width: int, seed: int) -> tuple[Row, Profile]:
    """Train one network, permute it, and measure the three paths."""
    problem = problem_of(network, width)
    symmetry, theta = find(problem), problem.fit(seed, until=LEVEL)
    move = random_permutation(symmetry, seed, even=True)
    turning, permuted = RotationPath(symmetry, theta, move), move(theta)
    shares = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    turned = problem.measure(torch.stack([turning.at(s) for s in shares.tolist()]))["loss"]
    end = float(turned[0])
    found = ws.connect(problem, theta, permuted, MARGIN * end, seed=seed, progress=False)
    strict = ws.connect(problem, theta, permuted, seed=seed, progress=False)  # at the ends' own loss
    kappas = [sharpness(problem, model, seed) for model in (theta, permuted)]
    beads = found.string.beads
    along = [] if network == LINEAR else [*beads, *(beads[:-1] + beads[1:]) / 2]
    row = Row(
        network=network,
        width=width,
        seed=seed,
        moved=move.moved,
        end=end,
        rotation=float(turned.max()),
        line=ws.locate_maximum(problem, theta, permuted).value,
        string=found.string.max_loss,
        rotation_flat=float((turned - end).abs().max()),
        rotation_length=turning.length / found.string.distance,
        string_length=found.string.normalized_length,
        beads=len(beads),
        connected=found.connected,
        connected_at_own_loss=strict.connected,
        beads_at_own_loss=len(strict.string),
        kappa=kappas[0].kappa,
        kappa_permuted=kappas[1].kappa,
        kappa_residual=max(kappa.residual for kappa in kappas),
        kappa_string=max([sharpness(problem, bead, seed).kappa for bead in along], default=None),
    )
    curve = found.string.curve
    profile = {
        "rotation": (shares.tolist(), turned.tolist()),
        "line": (shares.tolist(), ws.loss_curve(problem, theta, permuted, shares).tolist()),
        "string": (list(curve.s), list(curve.values["loss"])),
    }
    return row, profile


def slopes_of(rows: list[Row]) -> dict[str, dict[str, float]]:
    """The exponents p of κ ~ width^p: least squares on logarithms over all seeds, and their standard errors."""
    xs = [math.log(row.width) for row in rows]
    found = {}
    for quantity in ("kappa", "kappa_string"):
        if getattr(rows[0], quantity) is not None:
            ys = [math.log(getattr(row, quantity)) for row in rows]
            fit = statistics.linear_regression(xs, ys)
            misfits = (y - fit.intercept - fit.slope * x for x, y in zip(xs, ys, strict=True))
            rest = math.fsum(misfit**2 for misfit in misfits) / (len(xs) - 2)
            spread = math.fsum((x - statistics.fmean(xs)) ** 2 for x in xs)
            found[quantity] = {"exponent": fit.slope, "standard_error": math.sqrt(rest / spread)}
    return found


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds."""
    found = list(values)
    return statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else 0.0


def summarised(rows: list[Row]) -> list[dict[str, Any]]:
    """One entry for each network and width; losses as multiples of the ends' loss."""
    found = []
    for network in NETWORKS:
        for width in sorted({row.width for row in rows}):
            own = [row for row in rows if (row.network, row.width) == (network, width)]
            entry: dict[str, Any] = {"network": network, "width": width, "seeds": len(own)}
            for path in ("rotation", "line", "string"):
                entry[f"{path}_over_ends"] = mean_and_spread(getattr(row, path) / row.end for row in own)
            for name in ("beads", "string_length", "rotation_length", "kappa"):
                entry[name] = mean_and_spread(getattr(row, name) for row in own)
            strings = [row.kappa_string for row in own if row.kappa_string is not None]
            entry["kappa_string"] = mean_and_spread(strings) if strings else None
            for name in ("connected", "connected_at_own_loss"):
                entry[name] = sum(getattr(row, name) for row in own)
            entry["kappa_mismatch"] = max(abs(row.kappa_permuted / row.kappa - 1) for row in own)
            entry["rotation_flat"] = max(row.rotation_flat for row in own)
            found.append(entry)
    return found


def answer(slopes: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Whether κ grows: at more than two standard errors."""
    lines = []
    for network, fits in slopes.items():
        for quantity, fit in fits.items():
            p, error = fit["exponent"], fit["standard_error"]
            verb = "grows" if p > 2 * error else "falls" if p < -2 * error else "no measurable growth"
            place = "along the string" if quantity == "kappa_string" else "at θ"
            lines.append(f"{network}, κ {place}: {verb}: width^({p:+.3f} ± {error:.3f})")
    return lines


def table(summary: list[dict[str, Any]]) -> str:
    """Both tables, at most 80 columns."""

    def cell(pair: tuple[float, float], digits: int) -> str:
        mean, spread = pair
        return f"{mean:.{digits}f} ±{spread:.{digits}f}"

    lines = ["highest loss over the ends' loss, mean ± standard deviation over seeds", ""]
    lines.append(f"{'network':<17}{'width':>5}{'rotation':>13}{'line':>14}{'string':>12}{'found':>7}{'at own':>8}")
    for e in summary:
        rotation, line, string = (cell(e[f"{path}_over_ends"], 2) for path in ("rotation", "line", "string"))
        own, strict = (f"{e[name]}/{e['seeds']}" for name in ("connected", "connected_at_own_loss"))
        lines.append(f"{e['network']:<17}{e['width']:>5}{rotation:>13}{line:>14}{string:>12}{own:>7}{strict:>8}")
    lines += ["", "beads with the ends; lengths over ‖π(θ) − θ‖; κ in nats per squared unit of θ", ""]
    lines.append(f"{'network':<17}{'width':>5}{'beads':>11}{'string':>8}{'rotation':>9}{'κ at θ':>14}{'on string':>15}")
    for e in summary:
        lengths = [e[name][0] for name in ("string_length", "rotation_length")]
        on = cell(e["kappa_string"], 2) if e["kappa_string"] else "–"
        lines.append(
            f"{e['network']:<17}{e['width']:>5}{cell(e['beads'], 1):>11}{lengths[0]:>8.2f}{lengths[1]:>9.2f}"
            f"{cell(e['kappa'], 2):>14}{on:>15}"
        )
    return "\n".join(lines)


def draw(found: dict[str, Any], to: Path) -> None:
    """Loss along the three paths of one network; the highest against width; κ against width."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "0",
            "axes.titlesize": 10,
        }
    )
    figure, (profile, heights, kappas) = plt.subplots(1, 3, figsize=(15, 5.2), layout="constrained")
    _draw_profile(profile, found["profile"], found["rows"])
    for network in NETWORKS:
        for path in COLOURS:
            _draw_range(heights, found["rows"], network, lambda row, path=path: row[path] / row["end"], COLOURS[path])
        _draw_range(kappas, found["rows"], network, lambda row: row["kappa"], ENDS)
        _draw_range(kappas, found["rows"], network, lambda row: row["kappa_string"], COLOURS["string"])
    summary = [entry for entry in found["summary"] if entry["network"] != LINEAR]
    turned, lines = ([entry[f"{path}_over_ends"][0] for entry in summary] for path in ("rotation", "line"))
    heights.set_title(
        f"ReLU: rotations ×{min(turned):.1f} to ×{max(turned):.1f}, lines ×{min(lines):.0f} to ×{max(lines):.0f},\n"
        f"strings at most ×{MARGIN}. Linear: rotations ×1"
    )
    fits = {network: fit["kappa"] for network, fit in found["slopes"].items()}
    grows = any(fit["exponent"] > 2 * fit["standard_error"] for fit in fits.values())
    kappas.set_title(
        f"κ at equal loss {'grows' if grows else 'does not measurably grow'} with width\n"
        "(κ at θ goes as w^p, with the p of the legend)"
    )
    _finish(heights, found["rows"], (1, 1.5, 2, 5, 10, 20, 50), "highest loss on the path / loss of the ends")
    _finish(kappas, found["rows"], (2, 3, 5, 10, 20), "κ, largest Hessian eigenvalue (nats per squared unit of θ)")
    powers = {n: f": p = {fit['exponent']:+.2f} ± {fit['standard_error']:.2f}" for n, fit in fits.items()}
    _legend(heights, COLOURS, dict.fromkeys(NETWORKS, ""))
    _legend(kappas, {"at θ and at π(θ)": ENDS, "largest on string": COLOURS["string"], "": "none"}, powers)
    figure.savefig(to.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(to.with_suffix(".png"), dpi=130)


def _draw_profile(axes: Axes, profile: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    for path, colour in COLOURS.items():
        axes.plot(*profile[path], color=colour, label=NAMES.get(path, path))
    row = next(r for r in rows if [r["network"], r["width"], r["seed"]] == list(profile["of"]))
    axes.axhline(MARGIN * row["end"], color="#475569", ls=":", linewidth=1, label=f"threshold, {MARGIN} × loss of θ")
    axes.set(yscale="log", xlabel="share of the way from θ to π(θ)", ylabel="mean cross-entropy on 1,797 digits (nats)")
    axes.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    axes.minorticks_off()
    rises = ", ".join(f"{NAMES.get(path, path)} ×{row[path] / row['end']:.2f}" for path in COLOURS)
    axes.set_title(f"Loss from θ to π(θ) of one network ({row['network']}, width {row['width']}):\n{rises}")
    axes.legend(frameon=False, fontsize=9, loc=(0.3, 0.35))


def _draw_range(axes: Axes, rows: list[dict[str, Any]], network: str, of: Callable[..., Any], colour: str) -> None:
    """Means over seeds against width; bars from the least to the largest."""
    known = [(row["width"], of(row)) for row in rows if row["network"] == network and of(row) is not None]
    line, marker, shift = STYLES[network]
    widths = sorted({width for width, _ in known})
    values = [[value for own, value in known if own == width] for width in widths]
    places = [width * shift for width in widths]
    axes.vlines(places, list(map(min, values)), list(map(max, values)), color=colour, linewidth=1)
    axes.plot(places, list(map(statistics.fmean, values)), color=colour, ls=line, marker=marker, markersize=5)


def _finish(axes: Axes, rows: list[dict[str, Any]], ticks: Iterable[float], label: str) -> None:
    """Logarithmic axes with plain numbers, and room for a legend."""
    axes.set(xscale="log", yscale="log", xlabel="width w, units of each hidden layer", ylabel=label)
    axes.set_xticks(widths := sorted({row["width"] for row in rows}), [str(width) for width in widths])
    axes.set_yticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(top=axes.get_ylim()[1] * 2.2)


def _legend(axes: Axes, colours: dict[str, str], notes: dict[str, str]) -> None:
    lines = [Line2D([], [], color=colour, label=NAMES.get(name, name)) for name, colour in colours.items()]
    lines += [Line2D([], [], color="#64748b", ls=s, marker=m, label=n + notes[n]) for n, (s, m, _) in STYLES.items()]
    axes.legend(handles=lines, frameon=False, fontsize=9, ncols=2, loc="upper right", columnspacing=1)


def main() -> None:
    """Measure every network, print the tables, and keep results and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two widths and two seeds; writes nothing without --out")
    parser.add_argument("--out", type=Path, help="a folder for results and figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun, rows, shown = time.perf_counter(), [], Profile()
    widths, seeds = ((8, 32), 2) if options.quick else (WIDTHS, SEEDS)
    for network in NETWORKS:
        for width in widths:
            for seed in range(seeds):
                row, profile = measured(network, width, seed)
                rows.append(row)
                shown = profile if (network, width, seed) == SHOWN else shown
    slopes = {network: slopes_of([row for row in rows if row.network == network]) for network in NETWORKS}
    summary = summarised(rows)
    seconds = time.perf_counter() - begun
    print(table(summary), "", *answer(slopes), f"{seconds:.0f} seconds", sep="\n")
    if options.quick and options.out is None:
        return
    here = Path(__file__).parent
    results, figures = options.out or here / "results", options.out or here.parent / "docs/figures"
    found = {
        "settings": {
            "level": LEVEL,
            "margin": MARGIN,
            "points": POINTS,
            "torch": torch.__version__,
            "seconds": seconds,
        },
        "summary": summary,
        "slopes": slopes,
        "answer": answer(slopes),
        "rows": [asdict(row) for row in rows],
        "profile": {"of": SHOWN, **shown},
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / "permutation_motion.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    figures.mkdir(parents=True, exist_ok=True)
    draw(found, figures / "permutation_motion")


if __name__ == "__main__":
    main()
