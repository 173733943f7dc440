"""A two-layer LSTM on any plain text, in place of the paper's Penn Treebank, connected near its best perplexity.

    python experiments/language.py --data FILE            # the paper's network; hours on two cores
    python experiments/language.py --data FILE --small    # 64 units, 2,000 words, minutes

The original's script measured a loss of 0 on some strings. Here the loss is computed a second time, by the module
itself word by word, and must agree.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from harness import keep
from torch import nn

import weightstring as ws
from weightstring.problem import ModuleProblem
from weightstring.tasks import load_task
from weightstring.tasks.text import NextWord

PAPER = {"vocabulary": "10000", "hidden": "200", "layers": "2", "length": "20"}
SMALL = {
    "vocabulary": "2000",
    "hidden": "64",
    "layers": "2",
    "length": "20",
    "train_words": "200000",
    "test_words": "20000",
}


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


def main() -> None:
    """Train two ends, connect them with and without alignment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a plain text file")
    parser.add_argument("--small", action="store_true", help="a small network and vocabulary")
    parser.add_argument("--perplexity", type=float, default=None, help="of the ends (default: 120, small 150)")
    parser.add_argument("--store", type=Path, help="keep the run here, to resume and to look at")
    given = parser.parse_args()
    setting = SMALL if given.small else PAPER
    problem = load_task("text", {**setting, "data": str(given.data)})
    level = math.log(given.perplexity or (150 if given.small else 120))
    ends = [problem.fit(seed, until=level, max_steps=20_000) for seed in (0, 1)]
    losses = problem.measure(torch.stack(ends))["loss"].tolist()
    others = [apart(problem, setting, end) for end in ends]
    assert all(abs(one - two) < 1e-4 and one > 0 for one, two in zip(losses, others, strict=True)), (losses, others)
    threshold = 1.01 * max(losses)
    result = ws.connect(problem, *ends, threshold, align="both", store=given.store)
    assert result.alignment is not None
    rows = []
    for search, own in (("as given", result.plain), ("aligned", result)):
        if own is not None:
            rows.append(
                {
                    "perplexity": math.exp(threshold),
                    "search": search,
                    "outcome": "connected" if own.connected else type(own.outcome).__name__.lower(),
                    "beads": len(own.string),
                    "length": own.string.normalized_length,
                    "largest": math.exp(own.largest),
                    "steps": own.steps,
                }
            )
            print(rows[-1])
    keep(
        "language",
        {
            "setting": setting,
            "parameters": problem.size,
            "ends": [math.exp(loss) for loss in losses],
            "apart": [math.exp(loss) for loss in others],
            "barrier": result.alignment.barrier_before,
            "barrier aligned": result.alignment.barrier,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
