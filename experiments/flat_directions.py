"""Section IV: "most directions simply have no effect": the share of flat directions along strings.

    python experiments/flat_directions.py [--pairs 2] [--quick]

Networks of one hidden tanh layer on the first N of scikit-learn's digits, so that parameters per sample go from a third
to sixty; two trained to a loss of .1 and joined by a string under 1.05 times that. Every eigenvalue of the Hessian at
the two ends and at a quarter, half and three quarters of the string's length. Losses are those of the training set.
Each line is kept when it is done; a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import torch
from harness import RESULTS, keep
from sklearn.datasets import load_digits
from torch import nn

import weightstring as ws
from weightstring.path.flatness import hessian_spectrum

WIDTHS, SAMPLES = (4, 8, 16), (20, 60, 200, 600, 1797)
LEVEL, MARGIN = 0.1, 1.05
CUTS = (1e-2, 1e-4, 1e-6)
ZERO = 1e-12
"""Relative to the largest: eigenvalues that are 0 but for rounding."""
PLACES = (0.25, 0.5, 0.75)
OUTPUTS = 9
"""Directions of ten logits on which cross-entropy depends."""


def problem_of(width: int, samples: int) -> ws.ModuleProblem:
    """Cross-entropy on the first digits, in float64."""
    images, labels = load_digits(return_X_y=True)
    data = torch.tensor(images[:samples]) / 16, torch.tensor(labels[:samples])  # grey levels are 0 to 16
    net = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))
    recipe = ws.Recipe("adam", {"lr": 5e-3}, check_every=5, patience=100)
    return ws.ModuleProblem(net, nn.CrossEntropyLoss(), data, dtype=torch.float64, recipe=recipe)


def measured(width: int, samples: int, pairs: int) -> dict[str, Any]:
    """The spectra along the strings of some pairs: means over pairs and places."""
    problem = problem_of(width, samples)
    ends, inside, strings = [], [], []
    for pair in range(pairs):
        a, b = (problem.fit(seed=seed, until=LEVEL) for seed in (2 * pair, 2 * pair + 1))
        found = ws.connect(problem, a, b, MARGIN * LEVEL, seed=pair, progress=False)
        strings.append(found)
        ends += [hessian_spectrum(problem, end, exact=True) for end in (a, b)]
        inside += [hessian_spectrum(problem, found.string.at(s).to(a), exact=True) for s in PLACES]
    row: dict[str, Any] = {
        "width": width,
        "samples": samples,
        "parameters": problem.size,
        "pairs": pairs,
        "bound": max(0.0, 1 - OUTPUTS * samples / problem.size),
        "unseen": unseen(width, samples) / problem.size,
        "connected": sum(found.connected for found in strings),
        "length": statistics.fmean(found.string.normalized_length for found in strings),
        "beads": statistics.fmean(len(found.string) for found in strings),
    }
    for name, spectra in (("ends", ends), ("string", inside)):
        row[name] = {
            "zero": statistics.fmean(own.flat_share(ZERO) for own in spectra),
            **{f"{cut:g}": statistics.fmean(own.flat_share(cut) for own in spectra) for cut in CUTS},
            "down": statistics.fmean(own.negative_share(1e-4) for own in spectra),
            "largest": statistics.fmean(float(own.values[-1]) for own in spectra),
            "smallest": min(float(own.values[0]) for own in spectra),
        }
    return row


def unseen(width: int, samples: int) -> int:
    """Directions of weights that change no loss whatever θ: what no input reaches, and all logits raised alike."""
    images, _ = load_digits(return_X_y=True)
    inputs = torch.cat([torch.tensor(images[:samples]), torch.ones(samples, 1, dtype=torch.float64)], 1)
    return width * (65 - int(torch.linalg.matrix_rank(inputs))) + width + 1


def place(row: dict[str, Any]) -> tuple[int, int]:
    """Of a line in the table."""
    return row["width"], row["samples"]


def main() -> None:
    """Every width and number of samples; what is kept already is not computed again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2, help="for each network (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the smallest case alone, which is not kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        print(measured(WIDTHS[0], SAMPLES[0], 1))
        return
    path = RESULTS / "flat_directions.json"
    kept = json.loads(path.read_text()) if path.exists() else {"rows": []}
    rows = {(row["width"], row["samples"], row["pairs"]): row for row in kept["rows"]}
    for samples in SAMPLES:
        for width in WIDTHS:
            if (width, samples, given.pairs) not in rows:
                rows[width, samples, given.pairs] = measured(width, samples, given.pairs)
                print(rows[width, samples, given.pairs])
                done = [row for row in rows.values() if row["pairs"] == given.pairs]
                keep(
                    "flat_directions", {"level": LEVEL, "margin": MARGIN, "cuts": CUTS, "rows": sorted(done, key=place)}
                )


if __name__ == "__main__":
    main()
