"""Two GPT-2s trained apart on Tiny Shakespeare: the barrier of the line between them, as given and by each symmetry.

    python experiments/aligned_transformers.py --data FILE --store runs/gpt2    # 2 blocks of width 64
    python experiments/aligned_transformers.py --data FILE --store runs/gpt2 --layers 6 --width 256 --steps 3000

Learned matching sees the training text alone; lines and strings are measured on held-out text. A string is searched for
from each copy of the second network, its threshold 1 % over the higher end.

The layout of Theus et al. 2025, whose numbers are for 6 blocks of width 256: GPT-2's, its output layer not tied, so
that the weights of the last norm can be folded into it. Ends are kept every fifty steps and each row as soon as it is
known; started again, it goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import resumable
import torch
from harness import keep
from resumable import barrier
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws

NAME = "aligned_transformers"
"""Of the results, before the size."""

LENGTH = 64
"""Characters of an example."""

HELD_OUT = 512
"""Examples of the last tenth of the text, on which barriers are measured."""

BATCH = 32
WARMUP = 100
"""Steps in which the rate rises."""

WAYS: dict[str, dict[str, Any]] = {
    "permutations": {"methods": ["weights", "activations"], "maps": False},
    "permutations and linear maps": {"methods": ["weights"], "maps": True},
    "learned from these": {"methods": ["weights", "learned"], "maps": True},
}

MARGIN = 1.01
"""The threshold of a string over the higher end's loss."""

MOST = ws.MaxBeads(16)
"""Where a search is given up."""


def parts(path: Path) -> tuple[Tensor, Tensor, int]:
    """Examples of a text in characters: for training, held out, and how many characters there are."""
    text = path.read_text()
    known = {letter: index for index, letter in enumerate(sorted(set(text)))}
    tokens = torch.tensor([known[letter] for letter in text])
    rows = tokens[: len(tokens) // LENGTH * LENGTH].view(-1, LENGTH)
    cut = len(rows) * 9 // 10
    return rows[:cut], rows[cut:][:HELD_OUT], len(known)


def loss(output: Any, tokens: Tensor) -> Tensor:
    """Cross-entropy of the next character, in nats."""
    return F.cross_entropy(output.logits[:, :-1].transpose(1, 2), tokens[:, 1:])


def network(letters: int, layers: int, width: int) -> torch.nn.Module:
    """GPT-2's layout."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=letters, n_positions=LENGTH, n_embd=width, n_layer=layers, n_head=max(2, width // 32),
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False, use_cache=False,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def trained(size: tuple[int, int, int], tokens: Tensor, seed: int, steps: int, store: Path) -> dict[str, Tensor]:
    """A network after so many steps of AdamW, from its own seed, order and all; it goes on where it was interrupted."""
    import transformers

    torch.manual_seed(seed)
    net = network(*size)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    rate = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP, steps)

    def batch_loss(draw: torch.Generator) -> Tensor:
        batch = tokens[torch.randint(len(tokens), (BATCH,), generator=draw)]
        return loss(net(batch), batch)

    return resumable.trained(net, optimizer, rate, batch_loss, seed, steps, store / f"end-{seed}-{steps}.safetensors")


def heights(problem: ws.ModuleProblem, a: Tensor, b: Tensor, points: int) -> list[float]:
    """Held-out losses at even distances on the line from one model to the other, its ends among them."""
    lines = (torch.lerp(a, b, t) for t in torch.linspace(0, 1, points).tolist())
    return [float(problem.measure(theta[None])["loss"]) for theta in lines]


def main() -> None:
    """Train two ends, then measure the line as given and by each way to align."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare.txt, or any plain text")
    parser.add_argument("--store", type=Path, required=True, help="keep the ends here, and go on from there")
    parser.add_argument("--layers", type=int, default=2, help="blocks (default: %(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of the stream (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="of a training (default: %(default)s)")
    parser.add_argument("--points", type=int, default=11, help="of a line (default: %(default)s)")
    given = parser.parse_args()
    given.store.mkdir(parents=True, exist_ok=True)
    train, held, letters = parts(given.data)
    size = letters, given.layers, given.width
    weights = [trained(size, train, seed, given.steps, given.store) for seed in (0, 1)]
    net = network(*size)
    problem = ws.ModuleProblem(
        net.eval(), loss, ({"input_ids": train}, train), ({"input_ids": held}, held), batch_size=BATCH, engine="loop",
        train_curves=False,
    )  # fmt: skip
    a, b = (problem.flatten(state) for state in weights)
    threshold = MARGIN * float(problem.measure(torch.stack([a, b]))["loss"].max())
    setting = {"layers": given.layers, "width": given.width, "steps": given.steps, "parameters": problem.size}
    result = {"setting": setting, "held out": len(held), "threshold": threshold}
    rows: list[dict[str, Any]] = []
    others: list[Tensor] = []
    for name, how in {"as given": None, **WAYS}.items():  # lines first: strings take long
        started = time.process_time()
        found = None if how is None else ws.align(problem, a, b, **how)
        others.append(b if found is None else found.theta)
        losses = heights(problem, a, others[-1], given.points)
        rows.append(
            {
                "line": name,
                "losses": losses,
                "barrier": barrier(losses),
                "distance": float((a - others[-1]).norm()),
                "by": None if found is None else repr(found.chosen),
                "evaluations": 0.0 if found is None else found.evaluations,
                "gradients": 0 if found is None else found.gradients,
                "CPU seconds": round(time.process_time() - started, 1),
                "string": None,
            }
        )
        print(rows[-1], flush=True)
        keep(f"{NAME}_{given.layers}_{given.width}", result | {"rows": rows})
    for row, other in reversed(list(zip(rows, others, strict=True))):  # the shortest searches first
        run = given.store / f"string-{row['line'].replace(' ', '-')}"
        string = ws.connect(problem, a, other, threshold, stop=MOST, align=False, store=run, progress=False)
        row["string"] = {
            "connected": string.connected,
            "beads": len(string.string),
            "length": string.string.normalized_length,
            "largest": string.largest,
            "gradients": string.steps,
        }
        print(row, flush=True)
        keep(f"{NAME}_{given.layers}_{given.width}", result | {"rows": rows})


if __name__ == "__main__":
    main()
