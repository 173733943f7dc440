"""An atlas of minima on CIFAR-10: how small networks are connected, before and after alignment, and how sharp ways are.

    python experiments/atlas.py --data DIR --store runs/atlas       # an hour on one core; interrupt and repeat at will
    python experiments/atlas.py --data DIR --quick                  # four networks, minutes, nothing is kept
    python experiments/atlas_page.py                                # docs/atlas.md and its figure, of what is kept

Twelve networks of the paper's form, an eighth as wide, are trained on 2,000 images to one evaluation loss. All straight
lines are measured, and along the spanning tree of their lowest maxima strings are sought that are as low as they get
(`ws.atlas`), so that the height between any two networks is bounded by the highest string on the tree's way between
them. The same again with the units of each network permuted to those of the first. κ is the largest
eigenvalue of the Hessian of the training loss on 100 training images, at the networks and in the middle of each string.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from harness import keep
from safetensors.torch import load_file, save_file
from torch import Tensor

import weightstring as ws
from weightstring.errors import LevelNotReached
from weightstring.path.sharpness import sharpness
from weightstring.problem import ModuleProblem
from weightstring.tasks import load_task

SETTING = {
    "net": "cnn", "width": "0.125", "train_size": "2000", "test_size": "500", "optimizer": "adam", "lr": "0.001",
}  # fmt: skip
NETWORKS, LEVEL = 12, 1.7
CURVED = 100
"""Training images of which curvature is measured."""
STEPS = 300
STOP = ws.MaxSteps(STEPS) | ws.MaxBeads(16)
KINDS = ("as trained", "aligned")


class Atlas:
    """What is known of some networks, kept in a directory.

    Args:
        options: of the task.
        folder: where what is found is kept.
        networks: how many.
        level: the evaluation loss that they are trained to.
    """

    def __init__(self, options: dict[str, str], folder: Path, networks: int, level: float) -> None:
        self.problem: ModuleProblem = load_task("cifar10", options)
        self.curved: ModuleProblem = load_task("cifar10", options | {"train_size": str(CURVED)})
        self.folder, self.count, self.level = folder, networks, level
        folder.mkdir(parents=True, exist_ok=True)

    def _known(self, name: str, made: Any) -> dict[str, Tensor]:
        """Tensors of an earlier call, or those that ``made`` returns."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            save_file(made(), path)
        return load_file(path)

    def networks(self, kind: str) -> list[Tensor]:
        """All networks, as trained or each aligned with the first; a seed that does not get there is passed over."""
        ends = (self._known(f"end-{seed}", partial(self._trained, seed)) for seed in count())
        trained = [end["theta"] for end in islice((end for end in ends if end["loss"] <= self.level), self.count)]
        if kind == KINDS[0]:
            return trained
        return trained[:1] + [
            self._known(f"aligned-{seed}", partial(self._aligned, trained[0], theta))["theta"]
            for seed, theta in enumerate(trained[1:], 1)
        ]

    def _trained(self, seed: int) -> dict[str, Tensor]:
        """The network of a seed, or the best state where its training does not get to the level; with its loss."""
        try:
            theta = self.problem.fit(seed, self.level)
        except LevelNotReached as best:
            theta = best.theta
        return {"theta": theta, "loss": self.problem.measure(theta[None])["loss"]}

    def _aligned(self, first: Tensor, theta: Tensor) -> dict[str, Tensor]:
        """Permuted only: what that leaves as it was is κ, too, which rescaling would change."""
        return {"theta": ws.align(self.problem, first, theta, rescale=False).theta.contiguous()}

    def chart(self, kind: str) -> ws.Atlas:
        """Lines, the spanning tree, and the strings along it."""
        thetas, store = self.networks(kind), self.folder / f"atlas {kind}"
        return ws.atlas(self.problem, thetas, stop=STOP, store=store, progress=False)

    def kind(self, kind: str) -> dict[str, Any]:
        """The numbers of that."""
        found = self.chart(kind)
        tops = found.lines.barriers("max")
        return {
            "lines": tops.tolist(),
            "barriers": found.lines.barriers("over_mean").tolist(),
            "distances": found.lines.lengths().tolist(),
            "tree": [
                {
                    "edge": edge,
                    "line": float(tops[edge]),
                    "height": own.level,
                    "length": own.result.string.normalized_length,
                    "beads": len(own.result.string),
                    "gradients": own.result.steps,
                    "resolved": own.result.connected,
                }
                for edge, own in sorted(found.searched.items(), key=lambda each: float(tops[each[0]]))
            ],
            "heights": found.bounds.above.tolist(),
            "joins": [join._asdict() for join in found.bounds.joins],
        }

    def curvature(self, kind: str, edges: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """κ at the networks, which permuting leaves as it is, and half way along each string."""
        strings = self.chart(kind).searched
        return {
            "ends": [self._kappa(f"end {i}", theta) for i, theta in enumerate(self.networks(KINDS[0]))],
            "middles": [self._middle(kind, edge, strings[edge[0], edge[1]].result) for edge in edges],
        }

    def _kappa(self, name: str, theta: Tensor) -> float:
        """κ of the training loss at a model."""
        found = self._known(
            f"kappa-{CURVED} {name}",
            lambda: {"kappa": torch.tensor(sharpness(self.curved, theta).kappa, dtype=torch.float64)},
        )
        print(f"κ {name}: {float(found['kappa']):.4g}", flush=True)
        return float(found["kappa"])

    def _middle(self, kind: str, edge: tuple[int, int], found: ws.Result) -> dict[str, Any]:
        """κ and the evaluation loss half way along a string."""
        theta = half_way(found.string.beads)
        loss = float(self.problem.measure(theta[None])["loss"])
        return {"edge": edge, "kappa": self._kappa(f"{kind} {edge[0]}-{edge[1]}", theta), "loss": loss}


def half_way(beads: Tensor) -> Tensor:
    """The model half way along a polygon (n, P), by its length."""
    steps = (beads[1:] - beads[:-1]).norm(dim=1)
    passed = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    segment = min(int((passed[1:] < passed[-1] / 2).sum()), len(steps) - 1)
    return torch.lerp(beads[segment], beads[segment + 1], float((passed[-1] / 2 - passed[segment]) / steps[segment]))


def main() -> None:
    """Make the atlas, and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="directory of the task's data")
    parser.add_argument("--store", type=Path, default=Path("runs/atlas"), help="keep everything here, to resume")
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--quick", action="store_true", help="four networks, whose results are not kept")
    given = parser.parse_args()
    options = SETTING | ({"data": str(given.data)} if given.data else {})
    networks, level = (4, 1.8) if given.quick else (given.networks, LEVEL)
    folder = given.store.with_name(f"{given.store.name}-quick") if given.quick else given.store
    atlas = Atlas(options, folder, networks, level)
    kept: dict[str, Any] = {"setting": SETTING, "networks": networks, "level": level, "curved": CURVED}
    kept |= {"parameters": atlas.problem.size, "steps": STEPS}
    for kind in KINDS:
        kept[kind] = atlas.kind(kind)
        if not given.quick:
            keep("atlas", kept)
    for kind in KINDS:
        kept[kind] |= atlas.curvature(kind, [own["edge"] for own in kept[kind]["tree"]])
        if not given.quick:
            keep("atlas", kept)


if __name__ == "__main__":
    main()
