"""A two-layer LSTM on any plain text, in place of the paper's Penn Treebank: at its best perplexity, and on the way.

    python experiments/language.py --data FILE --store runs/language      # the paper's network; hours, in pieces
    python experiments/language.py --data FILE --store runs/panel --panel # the perplexities of the paper's figure
    python experiments/language.py --data FILE --small                    # 64 units, 2,000 words, minutes

Each end is the best state of a training that goes on until the evaluation loss has long risen again, or for
``--steps`` steps; what is known is kept after each pair. The original's script measured a loss of 0 on some strings:
here the loss is computed a second time, by the module itself and a plain sum, and must agree.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from figure_section import PAPER as FIGURE
from harness import described, keep, swept
from safetensors.torch import load_file, save_file
from torch import nn

import weightstring as ws
from weightstring.errors import LevelNotReached
from weightstring.problem import ModuleProblem
from weightstring.tasks import load_task
from weightstring.tasks.text import NextWord

PAPER = {"vocabulary": "10000", "hidden": "200", "layers": "2", "length": "20", "test_words": "20000"}
SMALL = {
    "vocabulary": "2000",
    "hidden": "64",
    "layers": "2",
    "length": "20",
    "train_words": "200000",
    "test_words": "20000",
}
MARGIN = 1.01
"""The threshold over the higher end's loss."""
STRATEGY = ws.Greedy(alpha=0.99)
"""Beads aim at the ends' own level: .95 of a loss of 4.8 nats would be a perplexity a fifth lower."""


def trained(problem: ModuleProblem, seed: int, steps: int, store: Path | None) -> torch.Tensor:
    """The best state of a training, kept in the store."""
    kept = None if store is None else store / f"end-{seed}.safetensors"
    if kept is not None and kept.exists():
        return load_file(kept)["theta"]
    try:
        theta = problem.fit(seed, until=0.0, max_steps=steps)  # which no cross-entropy reaches
    except LevelNotReached as best:
        theta = best.theta
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({"theta": theta}, kept)
    return theta


def apart(problem: ModuleProblem, setting: dict[str, str], theta: torch.Tensor) -> float:
    """The loss in nats a word, by a module of its own and a plain sum."""
    words = problem.unflatten(theta)["words.bias"].numel()
    net = NextWord(words, int(setting["hidden"]), int(setting["layers"]))
    net.load_state_dict(problem.unflatten(theta))
    examples, total = problem.observed(), 0.0
    with torch.no_grad():
        for inputs, targets in zip(examples.leaves[0].split(64), examples.targets.split(64), strict=True):
            logits = net(inputs).transpose(1, 2).reshape(-1, words).double()
            total += float(nn.functional.cross_entropy(logits, targets.reshape(-1), reduction="sum"))
    return total / examples.targets.numel()


def _row(search: str, own: ws.Result, threshold: float) -> dict[str, object]:
    return {
        "perplexity": math.exp(threshold),
        "search": search,
        "outcome": "connected" if own.connected else type(own.outcome).__name__.lower(),
        "beads": len(own.string),
        "length": own.string.normalized_length,
        "largest": math.exp(own.largest),
        "steps": own.steps,
    }


def pair(
    problem: ModuleProblem, setting: dict[str, str], number: int, steps: int, store: Path | None, as_given: bool
) -> dict[str, object]:
    """Train the two ends of a pair, and connect them as given and aligned."""
    ends = [trained(problem, seed, steps, store) for seed in (2 * number, 2 * number + 1)]
    losses = problem.measure(torch.stack(ends))["loss"].tolist()
    others = [apart(problem, setting, end) for end in ends]
    assert all(abs(one - two) < 1e-4 and one > 0 for one, two in zip(losses, others, strict=True)), (losses, others)
    print("perplexity of the ends", [round(math.exp(loss), 2) for loss in losses], flush=True)
    threshold = MARGIN * max(losses)
    run = None if store is None else store / f"run-{number}"
    align = False if as_given else "both"
    result = ws.connect(problem, *ends, threshold, strategy=STRATEGY, align=align, store=run)
    searches = {"as given": result} if as_given else {"as given": result.plain, "aligned": result}
    rows = [_row(name, own, threshold) for name, own in searches.items() if own is not None]
    print(*rows, sep="\n", flush=True)
    return {
        "ends": [math.exp(loss) for loss in losses],
        "apart": [math.exp(loss) for loss in others],
        "barrier": None if result.alignment is None else result.alignment.barrier_before,
        "barrier aligned": None if result.alignment is None else result.alignment.barrier,
        "rows": rows,
    }


def main() -> None:
    """Pairs near their best perplexity, one after the other; or a sweep over the paper's."""
    parser = described(__doc__ or "", pairs=2)
    parser.add_argument("--small", action="store_true", help="a small network and vocabulary")
    parser.add_argument("--panel", action="store_true", help="sweep the perplexities of the paper's figure")
    parser.add_argument("--steps", type=int, default=4000, help="gradient steps for an end (default: %(default)s)")
    parser.add_argument("--as-given", action="store_true", help="without alignment, whose barriers take longest")
    given = parser.parse_args()
    setting = SMALL if given.small or given.quick else PAPER
    problem = load_task("text", {**setting, "data": str(given.data)})
    if given.panel:
        levels = [math.log(perplexity) for perplexity in FIGURE["language"]]
        swept("language_panel", problem, levels, given, setting, True, strategy=STRATEGY, stop=ws.MaxBeads(64))
        return
    pairs: list[dict[str, object]] = []
    for number in range(given.pairs):
        pairs.append(pair(problem, setting, number, given.steps, given.store, given.as_given))
        if not given.quick:
            name = "language_small" if given.small else "language"
            keep(name, {"setting": setting, "parameters": problem.size, "pairs": pairs})


if __name__ == "__main__":
    main()
