"""What certificates of transformers cost beside a 25-point grid: char-GPTs of 1, 2 and 4 blocks.

python -m benchmarks attention [--blocks 1 2 4] [--rounds 3]

Width 32, 4 heads, windows of 16 characters of Tiny Shakespeare ($WEIGHTSTRING_DATA/text/tinyshakespeare.txt).
Fine-tunes are of one base, on either half of the text; independent ones differ in their seeds. The loss is that of 16
windows that none was trained on, to 1 % of the largest sample.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

import weightstring as ws
from benchmarks.measuring import alternating, asked, keep, parser

LENGTH, WIDTH, WINDOWS, TOLERANCE = 16, 32, 16, 0.01
GRID = torch.linspace(0, 1, 25, dtype=torch.float64)


class Block(nn.Module):
    """Attention and a layer of four times the width, each behind a LayerNorm and beside an identity."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, WIDTH), as it came."""
        q, k, v = (part.unflatten(2, (4, -1)).transpose(1, 2) for part in self.qkv(self.before(x)).chunk(3, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.after(x))))


class Model(nn.Module):
    """A char-GPT whose last layer is its embedding."""

    def __init__(self, blocks: int, words: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, WIDTH), nn.Embedding(LENGTH, WIDTH)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) → (n, T, words)."""
        return self.head(self.norm(self.blocks(self.words(tokens) + self.places.weight)))


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats a character."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def windows(text: Tensor, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces of a text, and each character's next."""
    starts = torch.randint(len(text) - LENGTH - 1, (count,), generator=draw).tolist()
    return tuple(torch.stack([text[at + k : at + k + LENGTH] for at in starts]) for k in (0, 1))  # type: ignore[return-value]


def train(net: nn.Module, text: Tensor, steps: int, rate: float, seed: int) -> nn.Module:
    """AdamW, 32 windows a step, the rate warmed up and brought down to 0."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (1 - step / steps)
        tokens, targets = windows(text, 32, draw)
        optimizer.zero_grad()
        loss(net(tokens), targets).backward()
        optimizer.step()
    return net


def row(problem: ws.ModuleProblem, pair: tuple[nn.Module, nn.Module], rounds: int) -> dict[str, object]:
    """A proof of the line between two models, beside a grid of the same."""
    held = [dict(net.named_parameters()) for net in pair]
    ends = [torch.cat([of[e.names[0]].detach().flatten().double() for e in problem.layout.entries]) for of in held]
    string = ws.WeightString(problem, torch.stack(ends))
    thetas, found = torch.lerp(ends[0], ends[1], GRID.unsqueeze(1)), list[ws.Certificate]()
    sides: dict[str, Callable[[], object]] = {
        "grid": lambda: problem.measure(thetas),
        "certificate": lambda: found.append(ws.certify(problem, string, tol=TOLERANCE)),
    }
    sides["grid"]()  # which traces the module, once
    costs = alternating(sides, rounds, warm=False)
    return {
        "intervals": found[0].intervals,
        "largest sample": found[0].largest_sample,
        "bound": found[0].upper_bound,
        **{f"{name}, CPU seconds": cost.cpu for name, cost in costs.items()},
    }


def main(arguments: Sequence[str]) -> None:
    """Train and certify all."""
    options = parser(__doc__)
    options.add_argument("--blocks", type=int, nargs="*", default=[1, 2, 4])
    options.add_argument("--rounds", type=int, default=3, help="of each side, taking turns")
    chosen = asked(options, arguments)
    content = (Path(os.environ["WEIGHTSTRING_DATA"]) / "text" / "tinyshakespeare.txt").read_text()
    alphabet = {letter: index for index, letter in enumerate(sorted(set(content)))}
    text = torch.tensor([alphabet[letter] for letter in content])
    train_part, test_part = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    steps = 60 if chosen.quick else 800
    data = windows(test_part, 2 if chosen.quick else WINDOWS, torch.Generator().manual_seed(5))
    rows: list[dict[str, object]] = []
    for blocks in [1] if chosen.quick else chosen.blocks:
        nets = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            nets.append(train(Model(blocks, len(alphabet)), train_part, steps, 3e-3, seed))
        halves = train_part.chunk(2)
        tuned = [train(copy.deepcopy(nets[0]), half, steps // 4, 1e-3, 10 + k) for k, half in enumerate(halves)]
        problem = ws.ModuleProblem(copy.deepcopy(nets[0]), loss, data, dtype=torch.float64)
        for name, pair in (("fine-tunes", tuned), ("independent", nets)):
            if blocks > 2 and name == "independent":
                continue
            rows.append({"blocks": blocks, "pair": name, **row(problem, (pair[0], pair[1]), chosen.rounds)})
            print(rows[-1], flush=True)
    keep("attention", {"tolerance": TOLERANCE, "certificates": rows}, chosen.quick)
