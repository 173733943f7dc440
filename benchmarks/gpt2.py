"""GPT-2's layout in several sizes, with what trains and measures it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

EXAMPLES, TOKENS = 4, 32


class Size(NamedTuple):
    """Width, layers, heads and vocabulary."""

    width: int
    layers: int
    heads: int
    vocabulary: int
    context: int = 64


SIZES = {
    "1M": Size(128, 4, 4, 2048),
    "10M": Size(384, 5, 6, 2048),
    "30M": Size(512, 8, 8, 8192),
    "125M": Size(768, 12, 12, 50257, 1024),
    "350M": Size(1024, 24, 16, 50257, 1024),
}


class Block(nn.Module):
    """Attention and a hidden layer, each after a LayerNorm and added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attention, self.projection = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) → the same."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attention(self.ln_1(x)).split(width, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    """The layout of GPT-2, output weights tied to the embedding."""

    evaluated = 0

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(size.vocabulary, size.width), nn.Embedding(size.context, size.width)
        self.h = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.ln_f = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) → logits (B, T, vocabulary); sequences that are only evaluated are counted."""
        GPT2.evaluated += 0 if torch.is_grad_enabled() else len(tokens)
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return self.head(self.ln_f(x))


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """The mean over all tokens."""
    return functional.cross_entropy(output.flatten(0, 1), targets.flatten())


def initialise(net: nn.Module) -> None:
    """GPT-2's: normal with 0.02, biases 0."""
    for name, parameter in net.named_parameters():
        if "ln_" not in name:
            nn.init.zeros_(parameter) if parameter.ndim == 1 else nn.init.normal_(parameter, std=0.02)


def data(size: Size) -> tuple[Tensor, Tensor]:
    """Random tokens, each sequence's next ones as targets."""
    tokens = torch.randint(size.vocabulary, (EXAMPLES, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def net_of(size: Size) -> GPT2:
    torch.manual_seed(0)
    net = GPT2(size)
    initialise(net)
    return net
